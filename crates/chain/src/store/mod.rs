//! The store: blocks, receipts, indices and the newest state in one redb file.
//!
//! Promises: a block is either there with all that it brings, or not at all, whatever kills the process or the machine
//! (an immediate [`Store::commit`] returns after fsync). One process has the file at a time. State is kept for the newest block;
//! [`Snapshot`]s that are still held see it as it was at theirs. Damage is reported, never repaired.

mod backup;
pub(crate) mod check;
mod codes;
mod commit;
mod error;
mod export;
mod gap;
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

pub use backup::{BackupError, BackupHead, check as check_backup, unpack as unpack_backup};
pub use commit::{BlockWrite, StateChanges};
pub use error::StoreError;
pub use export::{ChunkStart, Rows};
pub use gap::{Gap, PassedBlock};
pub use install::{Base, InstallError, Newest};
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
         genesis.json, or move the store aside with `hanse ledger resync`"
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
        "{path} is damaged: {reason}; {good}. `hanse ledger resync` moves it aside, and the node then fetches the ledger from \
         the other members; `hanse ledger restore` takes a backup instead"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
        /// What of it is whole.
        good: Good,
    },
    /// The store was written by another version.
    #[error(
        "{path} has store format {found}, this program writes {expected}; use the program that wrote it, or fetch the ledger anew from the other members with `hanse ledger resync`"
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
    /// There is no store.
    #[error("there is no {path}; name the data folder of an agent that has run")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The genesis document can't start a ledger.
    #[error(transparent)]
    Genesis(#[from] crate::genesis::GenesisError),
}

/// What of a damaged store is whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Good {
    /// Height of the newest block that is whole, if any is.
    pub block: Option<u64>,
    /// Height of the block whose state is stored and whole, if it is. There is never more than one.
    pub state: Option<u64>,
}

impl std::fmt::Display for Good {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.block {
            Some(height) => write!(f, "block {height} is the newest that is whole")?,
            None => write!(f, "no block of it can be read")?,
        }
        match self.state {
            Some(height) => write!(f, ", and the state after block {height} is whole"),
            None => write!(f, ", and no state is whole"),
        }
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
        guarded(&path, || {
            std::fs::create_dir_all(data_dir).map_err(|error| open_error(&path, error.into(), Good::default()))?;
            let mut store = Self::of(hanse_database::open_or_make(&builder(), &path), &path)?;
            history::compact(&mut store.database, history::WORTH_COMPACTING)
                .map_err(|error| open_error(&path, error, Good::default()))?;
            store.initialise(genesis)?;
            Ok(store)
        })
    }

    /// Opens an existing store of the ledger with this block 0 to look at it, whether or not what is in it is whole.
    pub fn inspect(path: &Path, genesis: B256) -> Result<Self, OpenError> {
        if !path.exists() {
            return Err(OpenError::Missing { path: path.into() });
        }
        guarded(path, || {
            let store = Self::of(builder().open(path), path)?;
            match store.check_origin(genesis)? {
                true => Ok(store),
                false => Err(open_error(
                    path,
                    StoreError::damaged("there is no block at all"),
                    Good::default(),
                )),
            }
        })
    }

    fn of(opened: Result<Database, DatabaseError>, path: &Path) -> Result<Self, OpenError> {
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Locked { path: path.into() },
            other => open_error(path, redb::Error::from(other).into(), Good::default()),
        })?;
        Ok(Self {
            database,
            path: path.into(),
            codes: Arc::default(),
            unflushed: AtomicBool::new(false),
        })
    }

    /// Writes the genesis block into an empty store, or checks that the store is of that ledger, and whole.
    fn initialise(&self, genesis: &BlockWrite<'_>) -> Result<(), OpenError> {
        if !self.check_origin(genesis.hash)? {
            self.create(genesis)
                .map_err(|error| open_error(&self.path, error, Good::default()))?;
        }
        self.check_tip().map_err(|error| {
            tracing::error!(%error, "the store is damaged; looking for what of it is whole, which takes long if it is large");
            open_error(&self.path, error, self.good())
        })
    }

    /// Checks that the store is of the ledger with this block 0; `false` if there is nothing in it.
    fn check_origin(&self, expected: B256) -> Result<bool, OpenError> {
        let path = self.path.clone();
        match self
            .origin()
            .map_err(|error| open_error(&path, error, Good::default()))?
        {
            None => Ok(false),
            Some((found, _)) if found != tables::SCHEMA => {
                let expected = tables::SCHEMA;
                Err(OpenError::Schema { path, found, expected })
            }
            Some((_, found)) if found != expected => Err(OpenError::Foreign { path, found, expected }),
            Some(_) => Ok(true),
        }
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
        check::block(&tip, tip.height())?;
        trie::check_root(tip.clone(), B256::ZERO, tip.header().state_root)?;
        Ok(())
    }

    /// What of a damaged store is whole, for its operator. Reads the whole state.
    pub fn good(&self) -> Good {
        let unless_panicked = |look: &dyn Fn() -> Option<u64>| {
            // redb panics on some kinds of damage; nothing of what it was doing is used after that.
            std::panic::catch_unwind(AssertUnwindSafe(look)).ok().flatten()
        };
        let Ok(tip) = self.snapshot().map(Arc::new) else {
            return Good::default();
        };
        let whole = |height: &u64| unless_panicked(&|| check::block(&tip, *height).ok().map(|()| *height)).is_some();
        Good {
            block: (tip.floor()..=tip.height()).rev().find(whole),
            state: unless_panicked(&|| check::state(&tip).ok().map(|()| tip.height())),
        }
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

/// redb panics on some kinds of damage; nothing of what it was doing is used after that.
fn guarded<T>(path: &Path, open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    std::panic::catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
        let reason = format!("reading it failed: {}", panicked(&*panic));
        Err(open_error(path, StoreError::Damaged(reason), Good::default()))
    })
}

/// What a panic says.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown reason")
}

fn open_error(path: &Path, error: StoreError, good: Good) -> OpenError {
    let path = path.to_path_buf();
    match error {
        StoreError::Full(reason) => OpenError::Full { path, reason },
        StoreError::Io(reason) => OpenError::Io { path, reason },
        StoreError::Damaged(reason) => OpenError::Damaged { path, reason, good },
        missing @ (StoreError::Pruned { .. } | StoreError::Awaited { .. }) => OpenError::Damaged {
            path,
            reason: missing.to_string(),
            good,
        },
    }
}
