//! Backups of a ledger, and ledgers from backups.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::B256;

use super::Ledger;
use super::headers::{Certificates, HeaderChain};
use crate::consensus::Abstention;
use crate::execution::genesis::GenesisBlock;
use crate::genesis::{Genesis, GenesisError};
use crate::store::{self, BackupError, BackupHead, FILE_NAME, OpenError, Store, StoreError, unpack_backup};

/// Where a store is put together before it is known to be good.
const UNFINISHED: &str = "ledger.redb.restoring";

/// Why a backup was not restored. The data folder is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Nothing is overwritten.
    #[error("{0} is there already; restore into an empty data folder, or move it aside with `hanse ledger resync`")]
    Occupied(PathBuf),
    /// The backup can't be read, or is not whole.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// What was in it is no store of this ledger.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its newest block or its state is not what it should be.
    #[error("the backup is of no use: {0}")]
    Content(String),
    /// The genesis document can't start a ledger.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The system refuses.
    #[error("{path} can't be made or written")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Ledger {
    /// Writes everything up to the newest block into `sink`, while the ledger goes on.
    pub fn back_up(&self, sink: impl Write) -> Result<BackupHead, BackupError> {
        self.store.back_up(sink)
    }
}

/// Makes a data folder from a backup of the ledger of `genesis`. The store gets its name when its checksum, the headers from
/// block 0 on, the newest block with its certificate, and the whole state were found right, and everything is on disk. Unless the write-ahead log
/// is there, which knows what this validator signed, the node will not vote before that can't matter any more; see
/// [`Abstention`].
pub fn restore(backup: impl Read, data_dir: &Path, genesis: &Genesis) -> Result<BackupHead, RestoreError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| RestoreError::Io { path, source }
    };
    let (target, unfinished) = (data_dir.join(FILE_NAME), data_dir.join(UNFINISHED));
    if target.exists() {
        return Err(RestoreError::Occupied(target));
    }
    std::fs::create_dir_all(data_dir).map_err(io(data_dir))?;
    // Of an attempt that was killed.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&unfinished)(error)),
        _ => {}
    }
    let checked = unpack_backup(backup, &unfinished)
        .map_err(RestoreError::from)
        .and_then(|head| check(&unfinished, genesis, &head).map(|()| head));
    let head = match checked {
        Ok(head) => head,
        Err(error) => {
            let _ = std::fs::remove_file(&unfinished);
            return Err(error);
        }
    };
    // Before the store is there: a node must never run with it and vote.
    Abstention::begin(data_dir).map_err(io(data_dir))?;
    std::fs::rename(&unfinished, &target).map_err(io(&target))?;
    File::open(data_dir)
        .and_then(|folder| folder.sync_all())
        .map_err(io(data_dir))?;
    Ok(head)
}

fn check(file: &Path, genesis: &Genesis, head: &BackupHead) -> Result<(), RestoreError> {
    let origin = GenesisBlock::build(genesis)?;
    let store = Store::inspect(file, origin.hash)?;
    check_content(&store, genesis, origin.hash, head).map_err(RestoreError::Content)
}

fn check_content(store: &Store, genesis: &Genesis, ledger: B256, head: &BackupHead) -> Result<(), String> {
    let words = |error: StoreError| error.to_string();
    let snapshot = Arc::new(store.snapshot().map_err(words)?);
    if (snapshot.height(), snapshot.hash()) != (head.height, head.hash) {
        return Err("its newest block is not the one that it names".into());
    }
    store::check::block(&snapshot, snapshot.height()).map_err(words)?;
    store::check::state(&snapshot).map_err(words)?;
    let mut chain = HeaderChain::new(&snapshot, genesis, ledger);
    for height in 1..=head.height {
        let certificates = match height == head.height {
            true => Certificates::Every,
            false => Certificates::Handovers,
        };
        chain
            .advance(certificates)
            .map_err(|reason| format!("block {height}: {reason}"))?;
    }
    Ok(())
}
