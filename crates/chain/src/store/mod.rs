//! The store: blocks, receipts, indices and the newest state in one redb file.
//!
//! Promises: a block is either there with all that it brings, or not at all, whatever kills the process or the machine
//! (an immediate [`Store::commit`] returns after fsync). One process has the file at a time. State is kept for the newest block;
//! [`Snapshot`]s that are still held see it as it was at theirs. Damage is reported, never repaired.

mod codes;
mod commit;
mod error;
mod export;
mod history;
#[cfg(test)]
mod history_tests;
mod install;
#[cfg(test)]
mod install_tests;
mod logs;
#[cfg(test)]
mod oracle_tests;
mod proof;
#[cfg(test)]
mod proof_tests;
mod snapshot;
mod staging;
mod tables;
mod trie;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy::primitives::B256;
use redb::{Database, DatabaseError, ReadableDatabase};

pub use commit::{BlockWrite, StateChanges};
pub use error::StoreError;
pub use export::{ChunkStart, Rows};
pub use install::{InstallError, Newest};
pub use logs::{BlockPlace, FoundLog, LogQuery, LogQueryError, MAX_LOGS, logs_of};
pub use proof::AccountProof;
pub use snapshot::{Snapshot, StoredBlock};
pub use staging::Staging;
pub use trie::{NodeChanges, TrieUpdate};

use crate::application::Durability;
use codes::CodeCache;

/// Memory for pages. The system's page cache holds the rest.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Name of the store's file in the data folder.
pub const FILE_NAME: &str = "ledger.redb";

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Why a ledger can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another node runs on the same folder.
    #[error("{path} is used by another process; stop it, or give this node its own data folder")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The folder holds another ledger.
    #[error(
        "{path} holds another ledger: its block 0 is {found}, the genesis document makes {expected}; use the right \
         genesis.json, or an empty data folder"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Hash of its block 0.
        found: B256,
        /// Hash of block 0 of the genesis document.
        expected: B256,
    },
    /// The store can't be trusted.
    #[error(
        "{path} is damaged: {reason}; {}; remove the file to fetch the ledger from the other members",
        good_height(.last_good)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
        /// Height of the newest block that is whole, if any block is.
        last_good: Option<u64>,
    },
    /// The store was written by another version.
    #[error(
        "{path} has store format {found}, this program writes {expected}; use the program that wrote it, or remove the file to fetch the ledger from the other members"
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this program.
        expected: u32,
    },
    /// The disk is full.
    #[error("no space left for {path}: {reason}")]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The system refuses.
    #[error("{path} can't be opened: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The genesis document can't start a ledger.
    #[error(transparent)]
    Genesis(#[from] crate::genesis::GenesisError),
}

fn good_height(last_good: &Option<u64>) -> String {
    match last_good {
        Some(height) => format!("block {height} is the newest that is whole"),
        None => "no block is whole".into(),
    }
}

/// The open store.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
    codes: Arc<CodeCache>,
    /// Whether a deferred commit waits to be made durable.
    unflushed: AtomicBool,
}

impl Store {
    /// Opens the store in `data_dir`, creating folder and file if they are missing, and writing `genesis` into a new one.
    pub fn open(data_dir: &Path, genesis: &BlockWrite<'_>) -> Result<Self, OpenError> {
        let path = data_dir.join(FILE_NAME);
        // redb panics on some kinds of damage; nothing of what it was doing is used after that.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| Self::open_file(data_dir, path.clone(), genesis)));
        opened.unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
            let reason = format!("reading it failed: {}", message.unwrap_or("unknown reason"));
            Err(open_error(&path, StoreError::Damaged(reason), None))
        })
    }

    fn open_file(data_dir: &Path, path: PathBuf, genesis: &BlockWrite<'_>) -> Result<Self, OpenError> {
        let io = |error: std::io::Error| open_error(&path, error.into(), None);
        std::fs::create_dir_all(data_dir).map_err(io)?;
        let mut database = builder().create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Locked { path: path.clone() },
            // What redb says about a file that is no redb file.
            DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() == std::io::ErrorKind::InvalidData =>
            {
                let reason = error.to_string();
                open_error(&path, StoreError::Damaged(reason), None)
            }
            other => open_error(&path, redb::Error::from(other).into(), None),
        })?;
        history::compact(&mut database, history::WORTH_COMPACTING).map_err(|error| open_error(&path, error, None))?;
        let store = Self {
            database,
            path,
            codes: Arc::default(),
            unflushed: AtomicBool::new(false),
        };
        store.initialise(genesis)?;
        Ok(store)
    }

    /// Writes the genesis block into an empty store, or checks that the store is of that ledger, and whole.
    fn initialise(&self, genesis: &BlockWrite<'_>) -> Result<(), OpenError> {
        let failed = |error: StoreError| open_error(&self.path, error, None);
        match self.origin().map_err(failed)? {
            None => self.create(genesis).map_err(failed)?,
            Some((schema, _)) if schema != tables::SCHEMA => {
                return Err(OpenError::Schema {
                    path: self.path.clone(),
                    found: schema,
                    expected: tables::SCHEMA,
                });
            }
            Some((_, found)) if found != genesis.hash => {
                return Err(OpenError::Foreign {
                    path: self.path.clone(),
                    found,
                    expected: genesis.hash,
                });
            }
            Some(_) => {}
        }
        self.check_tip().map_err(|error| {
            let last_good = self.last_good().unwrap_or(None);
            open_error(&self.path, error, last_good)
        })
    }

    /// Format and block 0 of the store; `None` if it is new.
    fn origin(&self) -> Result<Option<(u32, B256)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let meta = match transaction.open_table(tables::META) {
            Ok(meta) => meta,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (Some(schema), Some(genesis)) = (meta.get("schema")?, meta.get("genesis")?) else {
            return Err(StoreError::damaged("it does not say which ledger it is"));
        };
        let schema = <[u8; 4]>::try_from(schema.value());
        let genesis = B256::try_from(genesis.value());
        match (schema, genesis) {
            (Ok(schema), Ok(genesis)) => Ok(Some((u32::from_le_bytes(schema), genesis))),
            _ => Err(StoreError::damaged("it does not say which ledger it is")),
        }
    }

    fn create(&self, genesis: &BlockWrite<'_>) -> Result<(), StoreError> {
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(tables::META)?;
            meta.insert("schema", tables::SCHEMA.to_le_bytes().as_slice())?;
            meta.insert("genesis", genesis.hash.as_slice())?;
            // Readers expect every table.
            transaction.open_table(tables::BODIES)?;
            transaction.open_table(tables::SENDERS)?;
            transaction.open_table(tables::RECEIPTS)?;
            transaction.open_table(tables::CERTIFICATES)?;
            transaction.open_table(tables::TRANSACTIONS)?;
            transaction.open_table(tables::LOGS)?;
        }
        commit::write_block(&transaction, genesis)?;
        transaction.commit()?;
        Ok(())
    }

    /// The newest block must be whole: linked to its parent, with its body and certificate, and its state's root there.
    fn check_tip(&self) -> Result<(), StoreError> {
        let tip = Arc::new(self.snapshot()?);
        check_block(&tip, tip.height())?;
        trie::check_root(tip.clone(), B256::ZERO, tip.header().state_root)?;
        Ok(())
    }

    /// The newest block that is whole, for the operator.
    fn last_good(&self) -> Result<Option<u64>, StoreError> {
        let tip = self.snapshot()?;
        Ok((tip.floor()..=tip.height())
            .rev()
            .find(|height| check_block(&tip, *height).is_ok()))
    }

    /// The store as the newest committed block left it.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Snapshot::open(&self.database.begin_read()?, self.codes.clone())
    }

    /// Writes a block. The caller sees to it that the block follows the newest one, and that there is one writer.
    pub fn commit(&self, block: &BlockWrite<'_>, durability: Durability) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(match durability {
            Durability::Immediate => redb::Durability::Immediate,
            Durability::Deferred => redb::Durability::None,
        })?;
        commit::write_block(&transaction, block)?;
        transaction.commit()?;
        // An immediate commit carries all deferred ones before it.
        self.unflushed
            .store(durability == Durability::Deferred, Ordering::SeqCst);
        Ok(())
    }

    /// Makes all that was committed durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        if !self.unflushed.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(redb::Durability::Immediate)?;
        transaction.commit()?;
        self.unflushed.store(false, Ordering::SeqCst);
        Ok(())
    }
}

fn check_block(snapshot: &Snapshot, height: u64) -> Result<(), StoreError> {
    let missing = |what: &str| StoreError::damaged(format!("{what} of block {height} is missing"));
    let block = snapshot.block_at(height)?.ok_or_else(|| missing("the header"))?;
    if snapshot.height_of(block.hash)? != Some(height) {
        return Err(missing("the index entry"));
    }
    if alloy::consensus::proofs::calculate_transaction_root(&block.body.transactions) != block.header.transactions_root
    {
        return Err(missing("a transaction"));
    }
    if height > 0 {
        let parent = snapshot.header_at(height - 1)?.ok_or_else(|| missing("the parent"))?;
        if parent.1 != block.header.parent_hash {
            return Err(StoreError::damaged(format!(
                "block {height} does not follow block {}",
                height - 1
            )));
        }
        snapshot
            .certificate_at(height)?
            .ok_or_else(|| missing("the certificate"))?;
    }
    Ok(())
}

fn open_error(path: &Path, error: StoreError, last_good: Option<u64>) -> OpenError {
    let path = path.to_path_buf();
    match error {
        StoreError::Full(reason) => OpenError::Full { path, reason },
        StoreError::Io(reason) => OpenError::Io { path, reason },
        StoreError::Damaged(reason) => OpenError::Damaged {
            path,
            reason,
            last_good,
        },
        pruned @ StoreError::Pruned { .. } => OpenError::Damaged {
            path,
            reason: pruned.to_string(),
            last_good,
        },
    }
}
