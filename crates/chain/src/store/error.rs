//! What can go wrong in the store, kept apart by what an operator would do about it.

use std::io::ErrorKind;

/// A failure to read or write the store. None of them is mended by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or the quota used up.
    #[error("no space left for the ledger: {0}; free some and start again")]
    Full(String),
    /// The system refused to read or write.
    #[error("the ledger's file can't be used: {0}")]
    Io(String),
    /// What was read is not what was written.
    #[error("the ledger's store is damaged: {0}")]
    Damaged(String),
    /// The transactions of that block are being fetched. The store is all right.
    #[error(
        "history is still being fetched: this node has the transactions of blocks below {next} and from {floor} on, not yet of \
         block {height}; try again in a moment"
    )]
    Awaited {
        /// The block asked for.
        height: u64,
        /// The lowest height whose transactions are still to come.
        next: u64,
        /// The lowest height above whose transactions are there.
        floor: u64,
    },
    /// The transactions of that block were pruned, or never fetched. The store is all right.
    #[error(
        "pruned history unavailable: this node has the transactions of blocks from {floor} on, not of block {height}; ask a \
         node that keeps all of them"
    )]
    Pruned {
        /// The block asked for.
        height: u64,
        /// The lowest height whose transactions are there.
        floor: u64,
    },
}

impl StoreError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

impl revm::database_interface::DBErrorMarker for StoreError {}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full(error.to_string())
            }
            // The file is shorter than it says, or is no redb file.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::Io(error.to_string()),
        }
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::Corrupted(reason) => Self::Damaged(reason),
            redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::UpgradeRequired(_) => Self::Damaged(error.to_string()),
            // After a failed write redb refuses everything; the first error was already reported.
            other => Self::Io(other.to_string()),
        }
    }
}

/// Each operation of redb has its own error type; all of them are [`redb::Error`] in the end.
macro_rules! from_redb {
    ($($kind:ident),*) => {$(
        impl From<redb::$kind> for StoreError {
            fn from(error: redb::$kind) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}
from_redb!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    SetDurabilityError
);
