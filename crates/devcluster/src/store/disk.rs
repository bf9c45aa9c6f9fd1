//! Durable objects in redb.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use super::OpenError;
use super::history::{Event, EventKind};
use super::state::{Key, State};

/// `storage NUL namespace NUL name` to JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// `revision`: the last one, 8 bytes big endian; `secret`: 32 random bytes.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// More would only cost memory: the objects are held in memory anyway.
const CACHE_BYTES: usize = 1 << 20;

/// The file.
pub(super) struct Disk {
    database: Database,
}

impl Disk {
    /// Opens the file and reads everything.
    pub(super) fn open(folder: &Path) -> Result<(Self, State, [u8; 32]), OpenError> {
        std::fs::create_dir_all(folder).map_err(|source| OpenError::Folder {
            path: folder.into(),
            source,
        })?;
        let path = folder.join("objects.redb");
        let database =
            hanse_database::open_or_make(Database::builder().set_cache_size(CACHE_BYTES), &path).map_err(|error| {
                match error {
                    DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.clone() },
                    other => damaged(&path, other),
                }
            })?;
        let (state, secret) = load(&database).map_err(|error| damaged(&path, error))?;
        Ok((Self { database }, state, secret))
    }

    /// Writes the changes and flushes them.
    pub(super) fn commit(&self, events: &[Arc<Event>]) -> Result<(), redb::Error> {
        let Some(last) = events.last() else { return Ok(()) };
        let transaction = self.database.begin_write()?;
        {
            let mut objects = transaction.open_table(OBJECTS)?;
            for event in events {
                let key = encode(&event.key);
                if event.kind == EventKind::Deleted {
                    objects.remove(key.as_str())?;
                } else {
                    objects.insert(key.as_str(), event.object.to_string().as_bytes())?;
                }
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert("revision", last.revision.to_be_bytes().as_slice())?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> OpenError {
    OpenError::Damaged {
        path: PathBuf::from(path),
        message: error.to_string(),
    }
}

fn encode(key: &Key) -> String {
    format!("{}\0{}\0{}", key.storage, key.namespace, key.name)
}

fn decode(text: &str) -> Option<Key> {
    let mut parts = text.splitn(3, '\0').map(str::to_string);
    Some(Key {
        storage: parts.next()?,
        namespace: parts.next()?,
        name: parts.next()?,
    })
}

fn load(database: &Database) -> Result<(State, [u8; 32]), Box<dyn std::error::Error>> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(OBJECTS)?;
        let mut meta = transaction.open_table(META)?;
        if meta.get("secret")?.is_none() {
            meta.insert("secret", rand::random::<[u8; 32]>().as_slice())?;
        }
    }
    transaction.commit()?;
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let bytes =
        |name: &str| -> Result<Option<Vec<u8>>, redb::Error> { Ok(meta.get(name)?.map(|v| v.value().to_vec())) };
    let secret = bytes("secret")?
        .unwrap_or_default()
        .try_into()
        .map_err(|_| "the secret is not 32 bytes")?;
    let revision = match bytes("revision")? {
        Some(bytes) => u64::from_be_bytes(bytes.try_into().map_err(|_| "the revision is not 8 bytes")?),
        None => 0,
    };
    let mut objects = BTreeMap::new();
    for entry in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = entry?;
        let key = decode(key.value()).ok_or("a key is not well formed")?;
        objects.insert(key, Arc::new(serde_json::from_slice(value.value())?));
    }
    Ok((State::restore(objects, revision), secret))
}
