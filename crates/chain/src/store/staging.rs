//! What a newcomer has fetched so far of a snapshot: proven headers, and chunks that a member vouched for. A file of its own,
//! which is removed when the store is made of it; nothing of it is used as a ledger before.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use alloy::consensus::Header;
use alloy::primitives::{Address, B256};
use borsh::{BorshDeserialize, BorshSerialize};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::error::StoreError;
use super::tables;
use crate::membership::Membership;
use crate::snapshot::follow::Follower;
use crate::snapshot::wire::HeaderPage;

/// Name of the file in the data folder.
const FILE: &str = "snapshot.redb";

/// Memory for pages.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Chunk hash → chunk.
const CHUNKS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("chunks");

/// Key in [`tables::META`]: how far the headers are.
const REACHED: &str = "reached";

#[derive(BorshSerialize, BorshDeserialize)]
struct Reached {
    ledger: [u8; 32],
    /// The headers begin above this height.
    first: u64,
    height: u64,
    hash: [u8; 32],
    members: Vec<([u8; 20], [u8; 32])>,
}

/// The open staging file. What a method has written is on disk when it returns.
#[derive(Debug)]
pub struct Staging {
    pub(super) database: Database,
    path: PathBuf,
}

impl Staging {
    /// Opens the file in `data_dir`. What is damaged, or does not go on from `start`, is thrown away: all of it can be fetched
    /// again. Returns how far the headers are, `start` if there are none.
    pub fn open(data_dir: &Path, start: &Follower) -> Result<(Self, Follower), StoreError> {
        std::fs::create_dir_all(data_dir)?;
        let path = data_dir.join(FILE);
        if let Some((staging, reached)) = Self::open_file(path.clone())
            && staging.goes_on(&reached, start)?
        {
            let members = reached.members.into_iter();
            let members = members.map(|(account, key)| (Address::from(account), B256::from(key)));
            let (height, hash) = (reached.height, reached.hash.into());
            let follower = Follower::resume(start.ledger(), height, hash, Membership::new(members));
            return Ok((staging, follower));
        }
        Self::remove(data_dir)?;
        let staging = Self {
            database: builder()
                .create(&path)
                .map_err(|error| StoreError::from(redb::Error::from(error)))?,
            path,
        };
        let transaction = staging.database.begin_write()?;
        transaction.open_table(tables::HEADERS)?;
        transaction.open_table(tables::CERTIFICATES)?;
        transaction.open_table(tables::RECEIPTS)?;
        transaction.open_table(CHUNKS)?;
        write_reached(&transaction, start.height(), start)?;
        transaction.commit()?;
        Ok((staging, start.clone()))
    }

    /// Whether the headers lead from `start` on to where they end.
    fn goes_on(&self, reached: &Reached, start: &Follower) -> Result<bool, StoreError> {
        let (from, to) = (start.height(), reached.height);
        if reached.ledger != start.ledger() || from < reached.first || from > to {
            return Ok(false);
        }
        if from == to {
            return Ok(reached.hash == start.hash());
        }
        let next = self.header(from + 1)?;
        let next = next.and_then(|header| alloy::rlp::decode_exact::<Header>(header).ok());
        Ok(next.is_some_and(|next| next.parent_hash == start.hash()))
    }

    /// The file with what it says of itself, if it can be read.
    fn open_file(path: PathBuf) -> Option<(Self, Reached)> {
        if !path.exists() {
            return None;
        }
        let read = move || {
            let database = builder().open(&path).ok()?;
            let reached: Reached = {
                let transaction = database.begin_read().ok()?;
                let meta = transaction.open_table(tables::META).ok()?;
                let reached = meta.get(REACHED).ok()??;
                borsh::from_slice(reached.value()).ok()?
            };
            Some((Self { database, path }, reached))
        };
        // redb panics on some kinds of damage.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).ok()?
    }

    /// Removes the file, if there is one.
    pub fn remove(data_dir: &Path) -> Result<(), StoreError> {
        match std::fs::remove_file(data_dir.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Keeps the headers of a page that `follower` has just followed.
    pub fn keep_page(&self, page: &HeaderPage, follower: &Follower) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let first = follower.height() + 1 - page.headers.len() as u64;
            let mut headers = transaction.open_table(tables::HEADERS)?;
            for (height, header) in (first..).zip(&page.headers) {
                headers.insert(height, header.as_slice())?;
            }
            let mut certificates = transaction.open_table(tables::CERTIFICATES)?;
            let mut receipts = transaction.open_table(tables::RECEIPTS)?;
            for handover in &page.handovers {
                certificates.insert(handover.height, handover.certificate.as_slice())?;
                receipts.insert(handover.height, handover.receipts.as_slice())?;
            }
            certificates.insert(follower.height(), page.certificate.as_slice())?;
        }
        let first = first_of(&transaction)?;
        write_reached(&transaction, first, follower)?;
        transaction.commit()?;
        Ok(())
    }

    /// RLP of a proven header.
    pub fn header(&self, height: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let transaction = self.database.begin_read()?;
        let headers = transaction.open_table(tables::HEADERS)?;
        Ok(headers.get(height)?.map(|header| header.value().to_vec()))
    }

    /// Keeps a chunk.
    pub fn keep_chunk(&self, hash: B256, chunk: &[u8]) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        transaction.open_table(CHUNKS)?.insert(&hash.0, chunk)?;
        transaction.commit()?;
        Ok(())
    }

    /// A chunk, if it is there.
    pub(super) fn chunk(&self, hash: B256) -> Result<Option<Vec<u8>>, StoreError> {
        let transaction = self.database.begin_read()?;
        let chunks = transaction.open_table(CHUNKS)?;
        Ok(chunks.get(&hash.0)?.map(|chunk| chunk.value().to_vec()))
    }

    /// Forgets all chunks but these, and returns which of these are there.
    pub fn keep_only(&self, wanted: &HashSet<B256>) -> Result<HashSet<B256>, StoreError> {
        let transaction = self.database.begin_write()?;
        let mut there = HashSet::new();
        {
            let mut chunks = transaction.open_table(CHUNKS)?;
            let mut others = Vec::new();
            for entry in chunks.iter()? {
                let hash = B256::from(entry?.0.value());
                if wanted.contains(&hash) {
                    there.insert(hash);
                } else {
                    others.push(hash);
                }
            }
            for hash in others {
                chunks.remove(&hash.0)?;
            }
        }
        transaction.commit()?;
        Ok(there)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn first_of(transaction: &redb::WriteTransaction) -> Result<u64, StoreError> {
    let damaged = || StoreError::damaged("the staging file does not say where it begins");
    let meta = transaction.open_table(tables::META)?;
    let reached = meta.get(REACHED)?.ok_or_else(damaged)?;
    let reached: Reached = borsh::from_slice(reached.value()).map_err(|_| damaged())?;
    Ok(reached.first)
}

fn write_reached(transaction: &redb::WriteTransaction, first: u64, follower: &Follower) -> Result<(), StoreError> {
    let members = follower.membership().iter();
    let reached = Reached {
        ledger: follower.ledger().0,
        first,
        height: follower.height(),
        hash: follower.hash().0,
        members: members.map(|(account, key)| (account.0.0, key.0)).collect(),
    };
    let bytes = borsh::to_vec(&reached).expect("writing to a vector does not fail");
    transaction
        .open_table(tables::META)?
        .insert(REACHED, bytes.as_slice())?;
    Ok(())
}
