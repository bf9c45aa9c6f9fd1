//! What survives a crash: one redb file.
//!
//! The own record and blocks are on the disk before anybody hears of them. What others said of themselves is kept so that a
//! restarted agent knows whom to call; losing it costs a comparison with a neighbour.

use std::path::Path;
use std::sync::Arc;

use libp2p::PeerId;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::blob::{BlockId, Codec};

mod blocks;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const OWN: Table = TableDefinition::new("own");
const PEERS: Table = TableDefinition::new("peers");
/// Where the others were reached.
const PLACES: Table = TableDefinition::new("places");
const BLOCKS: Table = TableDefinition::new("blocks");

/// The only key of the table of the own record.
const RECORD: &[u8] = b"record";

/// redb's own default would let its cache grow to a gigabyte.
const CACHE_BYTES: usize = 1 << 20;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Opening failed.
    #[error("could not open {path}: {source}; is another agent using this folder?")]
    Open {
        /// The file.
        path: String,
        /// What redb says.
        source: Box<redb::DatabaseError>,
    },
    /// The folder can't be made.
    #[error("could not create {path}: {source}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Blobs take all the room there is.
    #[error(
        "there is no room for the blob: with it, this domain's blobs and those that arrive would have {needed} bytes, and at \
         most {most} are allowed ({own} are of this domain's own); allow more, or remove blobs of its own"
    )]
    Full {
        /// How many bytes there would be.
        needed: u64,
        /// How many of them are of this domain's own blobs.
        own: u64,
        /// How many are allowed.
        most: u64,
    },
    /// Reading or writing failed.
    #[error("the swarm's store failed: {0}; free disk space or check the disk, then restart the agent")]
    Io(#[from] Box<redb::Error>),
}

fn io(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Io(Box::new(error.into()))
}

/// Handle of the file; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    database: Arc<Database>,
    /// How many bytes all blocks may have.
    most: u64,
}

fn block_key(id: &BlockId) -> [u8; 33] {
    let mut key = [0; 33];
    key[0] = match id.codec() {
        Codec::Raw => 0,
        Codec::DagPb => 1,
    };
    key[1..].copy_from_slice(id.digest());
    key
}

impl Store {
    /// Opens or creates the file in `folder`. Blocks are not bounded: see [`Self::bounded`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
            path: folder.display().to_string(),
            source,
        })?;
        let path = folder.join("swarm.redb");
        let opened = hanse_database::open_or_make(Database::builder().set_cache_size(CACHE_BYTES), &path);
        let database = opened.map_err(|source| StoreError::Open {
            path: path.display().to_string(),
            source: Box::new(source),
        })?;
        let transaction = database.begin_write().map_err(io)?;
        for table in [OWN, PEERS, PLACES] {
            transaction.open_table(table).map_err(io)?;
        }
        blocks::create(&transaction)?;
        transaction.commit().map_err(io)?;
        Ok(Self {
            database: Arc::new(database),
            most: u64::MAX,
        })
    }

    /// The record that this domain signed last.
    pub fn own_record(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.get(OWN, RECORD)
    }

    /// Writes it, before anybody is given it.
    pub fn keep_own_record(&self, record: &[u8]) -> Result<(), StoreError> {
        self.put(OWN, [(RECORD, record)])
    }

    /// What others said of themselves.
    pub fn peers(&self) -> Result<Vec<(PeerId, Vec<u8>)>, StoreError> {
        self.by_peer(PEERS)
    }

    /// Where the others were reached: multiaddrs in their text form, one a line.
    pub fn places(&self) -> Result<Vec<(PeerId, String)>, StoreError> {
        let places = self.by_peer(PLACES)?.into_iter();
        Ok(places
            .filter_map(|(name, places)| Some((name, String::from_utf8(places).ok()?)))
            .collect())
    }

    fn by_peer(&self, table: Table) -> Result<Vec<(PeerId, Vec<u8>)>, StoreError> {
        let transaction = self.database.begin_read().map_err(io)?;
        let table = transaction.open_table(table).map_err(io)?;
        let mut peers = Vec::new();
        for entry in table.iter().map_err(io)? {
            let (name, record) = entry.map_err(io)?;
            if let Ok(name) = PeerId::from_bytes(name.value()) {
                peers.push((name, record.value().to_vec()));
            }
        }
        Ok(peers)
    }

    /// Replaces what is kept of others: what they said, and where they were reached.
    pub fn keep_peers(&self, peers: &[(PeerId, Vec<u8>)], places: &[(PeerId, String)]) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(io)?;
        {
            let mut table = transaction.open_table(PEERS).map_err(io)?;
            table.retain(|_, _| false).map_err(io)?;
            for (name, record) in peers {
                table
                    .insert(name.to_bytes().as_slice(), record.as_slice())
                    .map_err(io)?;
            }
            let mut table = transaction.open_table(PLACES).map_err(io)?;
            table.retain(|_, _| false).map_err(io)?;
            for (name, places) in places {
                table
                    .insert(name.to_bytes().as_slice(), places.as_bytes())
                    .map_err(io)?;
            }
        }
        transaction.commit().map_err(io)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let transaction = self.database.begin_read().map_err(io)?;
        let opened = transaction.open_table(table).map_err(io)?;
        let value = opened.get(key).map_err(io)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn put<'a>(&self, table: Table, entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<(), StoreError> {
        let transaction = self.database.begin_write().map_err(io)?;
        {
            let mut opened = transaction.open_table(table).map_err(io)?;
            for (key, value) in entries {
                opened.insert(key, value).map_err(io)?;
            }
        }
        transaction.commit().map_err(io)
    }
}
