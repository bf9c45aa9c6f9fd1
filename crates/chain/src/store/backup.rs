//! A store as one stream: every table of one read transaction, and a checksum at the end.
//!
//! Form: the magic bytes, the length (u32 LE) and JSON of [`BackupHead`], then entries, then [`END`], the number of entries
//! (u64 LE) and the Keccak-256 hash of all bytes before it. An entry is its table's number (u8), the lengths of key and value
//! (u32 LE each), key and value as redb stores them; entries of one table follow each other.

use std::io::{Read, Write};
use std::panic::AssertUnwindSafe;
use std::path::Path;

use alloy::primitives::{B256, Keccak256};
use redb::{Database, Durability, Key, ReadTransaction, ReadableDatabase, TableDefinition, Value, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::snapshot::Snapshot;
use super::tables::{self, TableVisitor};
use super::{Store, panicked};

const MAGIC: &[u8; 8] = b"hansebk1";
const END: u8 = 0xff;

/// Bounds of what is read, so that a file that is none of ours can't take all memory.
const MOST_HEAD: u32 = 4096;
const MOST_KEY: u32 = 4096;
const MOST_VALUE: u32 = 256 * 1024 * 1024;

/// Bytes that are written to the new store in one transaction.
const BATCH: usize = 16 * 1024 * 1024;

/// What a backup is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupHead {
    /// Format of the tables.
    pub schema: u32,
    /// Hash of block 0: names the ledger.
    pub genesis: B256,
    /// Height of the newest block in it.
    pub height: u64,
    /// Its hash.
    pub hash: B256,
    /// The root of its state.
    pub state_root: B256,
}

/// Why a backup can't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the backup goes to, or comes from, failed.
    #[error("{0}")]
    Stream(#[from] std::io::Error),
    /// It is no backup, or it is not whole.
    #[error("not a whole backup: {0}")]
    Form(String),
}

impl Store {
    /// Writes everything of the newest block and before into `sink`. Blocks may be committed meanwhile; they are not in it.
    pub fn back_up(&self, sink: impl Write) -> Result<BackupHead, BackupError> {
        let transaction = self.database.begin_read().map_err(StoreError::from)?;
        let snapshot = Snapshot::open(&transaction, self.codes.clone())?;
        let origin = snapshot.header_at(0)?;
        let head = BackupHead {
            schema: tables::SCHEMA,
            genesis: origin.ok_or_else(|| StoreError::damaged("block 0 is missing"))?.1,
            height: snapshot.height(),
            hash: snapshot.hash(),
            state_root: snapshot.header().state_root,
        };
        let mut export = Export {
            transaction,
            sink: Hashed::new(sink),
            entries: 0,
        };
        let text = serde_json::to_vec(&head).map_err(|error| BackupError::Form(error.to_string()))?;
        export.sink.put(MAGIC)?;
        export.sink.put(&(text.len() as u32).to_le_bytes())?;
        export.sink.put(&text)?;
        tables::visit_all(&mut export)?;
        let entries = export.entries;
        export.sink.put(&[END])?;
        export.sink.put(&entries.to_le_bytes())?;
        export.sink.finish()?;
        Ok(head)
    }
}

/// What passed through so far, hashed.
struct Hashed<S> {
    stream: S,
    hash: Keccak256,
}

impl<S> Hashed<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            hash: Keccak256::new(),
        }
    }
}

impl<S: Write> Hashed<S> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.stream.write_all(bytes)
    }

    fn finish(mut self) -> std::io::Result<()> {
        let hash = self.hash.finalize();
        self.stream.write_all(hash.as_slice())?;
        self.stream.flush()
    }
}

impl<S: Read> Hashed<S> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn take_vec(&mut self, length: u32, most: u32) -> Result<Vec<u8>, BackupError> {
        if length > most {
            return Err(BackupError::Form(format!(
                "a part of {length} bytes, at most {most} are possible"
            )));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        self.stream.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => BackupError::Form("it ends too early".into()),
            _ => BackupError::Stream(error),
        })?;
        self.hash.update(&*bytes);
        Ok(())
    }

    /// The checksum must follow, and nothing after it.
    fn expect_end(mut self) -> Result<(), BackupError> {
        let expected = self.hash.clone().finalize();
        let found: [u8; 32] = self.take()?;
        if found != expected {
            return Err(BackupError::Form("its checksum is not that of its content".into()));
        }
        match self.stream.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(BackupError::Form("something follows its end".into())),
        }
    }
}

struct Export<S> {
    transaction: ReadTransaction,
    sink: Hashed<S>,
    entries: u64,
}

impl<S: Write> TableVisitor for Export<S> {
    type Error = BackupError;

    fn visit<K: Key + 'static, V: Value + 'static>(
        &mut self,
        number: u8,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), BackupError> {
        use redb::ReadableTable;
        let table = self.transaction.open_table(table).map_err(StoreError::from)?;
        for entry in table.iter().map_err(StoreError::from)? {
            let (key, value) = entry.map_err(StoreError::from)?;
            let (key, value) = (key.value(), value.value());
            let (key, value) = (K::as_bytes(&key), V::as_bytes(&value));
            let (key, value): (&[u8], &[u8]) = (key.as_ref(), value.as_ref());
            self.sink.put(&[number])?;
            self.sink.put(&(key.len() as u32).to_le_bytes())?;
            self.sink.put(&(value.len() as u32).to_le_bytes())?;
            self.sink.put(key)?;
            self.sink.put(value)?;
            self.entries += 1;
        }
        Ok(())
    }
}

fn head(source: &mut Hashed<impl Read>) -> Result<BackupHead, BackupError> {
    if &source.take()? != MAGIC {
        return Err(BackupError::Form("it does not begin like one".into()));
    }
    let length = u32::from_le_bytes(source.take()?);
    let text = source.take_vec(length, MOST_HEAD)?;
    let head: BackupHead =
        serde_json::from_slice(&text).map_err(|error| BackupError::Form(format!("its head: {error}")))?;
    match head.schema {
        tables::SCHEMA => Ok(head),
        found => Err(BackupError::Form(format!(
            "it has store format {found}, this program writes {}",
            tables::SCHEMA
        ))),
    }
}

/// Reads a whole backup and gives each entry (table, key, value) to `take`. What it was given counts for nothing if this
/// fails in the end.
fn scan(
    source: impl Read,
    mut take: impl FnMut(u8, Vec<u8>, Vec<u8>) -> Result<(), BackupError>,
) -> Result<BackupHead, BackupError> {
    let mut source = Hashed::new(source);
    let head = head(&mut source)?;
    let mut entries = 0_u64;
    loop {
        let [number] = source.take()?;
        if number == END {
            break;
        }
        let key = u32::from_le_bytes(source.take()?);
        let value = u32::from_le_bytes(source.take()?);
        let (key, value) = (source.take_vec(key, MOST_KEY)?, source.take_vec(value, MOST_VALUE)?);
        take(number, key, value)?;
        entries += 1;
    }
    if u64::from_le_bytes(source.take()?) != entries {
        return Err(BackupError::Form("entries are missing".into()));
    }
    source.expect_end()?;
    Ok(head)
}

/// Reads a backup to its end and checks its form and checksum.
pub fn check(source: impl Read) -> Result<BackupHead, BackupError> {
    scan(source, |_, _, _| Ok(()))
}

/// Writes a backup into a new store file, which is on disk when this returns. If it fails, the file is of no use.
pub fn unpack(source: impl Read, file: &Path) -> Result<BackupHead, BackupError> {
    // A key or value that has not its table's form makes redb panic.
    let unpacked = std::panic::catch_unwind(AssertUnwindSafe(|| unpack_unguarded(source, file)));
    unpacked.unwrap_or_else(|panic| Err(BackupError::Form(panicked(&*panic).to_owned())))
}

fn unpack_unguarded(source: impl Read, file: &Path) -> Result<BackupHead, BackupError> {
    let database = super::builder()
        .create(file)
        .map_err(|error| StoreError::from(redb::Error::from(error)))?;
    let mut batch = Batch::default();
    let head = scan(source, |number, key, value| {
        if number != batch.number || batch.bytes > BATCH {
            batch.write(&database, Durability::None)?;
            batch.number = number;
        }
        batch.bytes += key.len() + value.len();
        batch.entries.push((key, value));
        Ok(())
    })?;
    // With this transaction all before it is durable.
    batch.write(&database, Durability::Immediate)?;
    Ok(head)
}

/// Entries of one table.
#[derive(Default)]
struct Batch {
    number: u8,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

impl Batch {
    /// Writes the entries, and leaves none.
    fn write(&mut self, database: &Database, durability: Durability) -> Result<(), BackupError> {
        let mut transaction = database.begin_write().map_err(StoreError::from)?;
        transaction.set_durability(durability).map_err(StoreError::from)?;
        let mut insert = Insert {
            transaction: &transaction,
            batch: self,
            found: false,
        };
        tables::visit_all(&mut insert)?;
        if !insert.found {
            return Err(BackupError::Form(format!("there is no table {}", self.number)));
        }
        transaction.commit().map_err(StoreError::from)?;
        self.entries.clear();
        self.bytes = 0;
        Ok(())
    }
}

struct Insert<'a> {
    transaction: &'a WriteTransaction,
    batch: &'a Batch,
    found: bool,
}

impl TableVisitor for Insert<'_> {
    type Error = BackupError;

    fn visit<K: Key + 'static, V: Value + 'static>(
        &mut self,
        number: u8,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), BackupError> {
        // Readers expect every table, also one without entries.
        let mut table = self.transaction.open_table(table).map_err(StoreError::from)?;
        if number != self.batch.number {
            return Ok(());
        }
        self.found = true;
        for (key, value) in &self.batch.entries {
            let fits = |width: Option<usize>, bytes: &[u8]| width.is_none_or(|width| width == bytes.len());
            if !fits(K::fixed_width(), key) || !fits(V::fixed_width(), value) {
                return Err(BackupError::Form(format!(
                    "an entry of table {number} has the wrong length"
                )));
            }
            table
                .insert(K::from_bytes(key), V::from_bytes(value))
                .map_err(StoreError::from)?;
        }
        Ok(())
    }
}
