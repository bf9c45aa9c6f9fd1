//! The state in chunks, for others who want to have it.
//!
//! Where a chunk ends depends on its own last key (content-defined chunking), so that a state that changed a little has mostly
//! the same chunks: whoever has begun to fetch one state goes on with a newer one.

use alloy::primitives::{B256, keccak256};
use borsh::{BorshDeserialize, BorshSerialize};

use super::error::StoreError;
use super::snapshot::Snapshot;

/// A chunk ends after a key with this many low bits of its hash zero: after 2048 rows on average.
const BOUNDARY: u16 = 0x7ff;

/// It also ends when it has so many bytes.
const LARGE: usize = 512 * 1024;

/// The rows of one chunk, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Rows {
    /// Address, and the RLP of the account in the state trie.
    Accounts(Vec<([u8; 20], Vec<u8>)>),
    /// Address, slot and value; both big-endian.
    Storage(Vec<([u8; 20], [u8; 32], [u8; 32])>),
    /// Contract code, in the order of its hash.
    Codes(Vec<Vec<u8>>),
}

/// The first key of a chunk. The smallest of a kind need not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkStart {
    /// Of accounts.
    Account([u8; 20]),
    /// Of storage slots.
    Slot([u8; 52]),
    /// Of codes.
    Code([u8; 32]),
}

impl ChunkStart {
    /// The first chunk of a state.
    pub const FIRST: Self = Self::Account([0; 20]);
}

/// Decides where a chunk ends.
#[derive(Default)]
struct Cut {
    bytes: usize,
    after: bool,
}

impl Cut {
    /// Counts a row; false if it belongs to the next chunk.
    fn takes(&mut self, key: &[u8], row: usize) -> bool {
        if self.after {
            return false;
        }
        self.bytes += row;
        let hash = keccak256(key);
        let low = u16::from_be_bytes([hash[30], hash[31]]);
        self.after = self.bytes >= LARGE || low & BOUNDARY == 0;
        true
    }
}

impl Snapshot {
    /// The chunk that begins at `start`, and where the next one does. Every state has one of each kind at least.
    pub fn chunk(&self, start: ChunkStart) -> Result<(Rows, Option<ChunkStart>), StoreError> {
        let mut cut = Cut::default();
        match start {
            ChunkStart::Account(first) => {
                let mut rows = Vec::new();
                for entry in self.accounts.range::<&[u8; 20]>(&first..)? {
                    let (key, account) = entry?;
                    if !cut.takes(key.value(), 24 + account.value().len()) {
                        return Ok((Rows::Accounts(rows), Some(ChunkStart::Account(*key.value()))));
                    }
                    rows.push((*key.value(), account.value().to_vec()));
                }
                Ok((Rows::Accounts(rows), Some(ChunkStart::Slot([0; 52]))))
            }
            ChunkStart::Slot(first) => {
                let mut rows = Vec::new();
                for entry in self.storage.range::<&[u8; 52]>(&first..)? {
                    let (key, value) = entry?;
                    if !cut.takes(key.value(), 84) {
                        return Ok((Rows::Storage(rows), Some(ChunkStart::Slot(*key.value()))));
                    }
                    let (address, slot) = key.value().split_at(20);
                    let halves = address.try_into().ok().zip(slot.try_into().ok());
                    let (address, slot) = halves.ok_or_else(|| StoreError::damaged("a slot's key is too short"))?;
                    rows.push((address, slot, *value.value()));
                }
                Ok((Rows::Storage(rows), Some(ChunkStart::Code([0; 32]))))
            }
            ChunkStart::Code(first) => {
                let mut rows = Vec::new();
                for entry in self.codes.range::<&[u8; 32]>(&first..)? {
                    let (key, code) = entry?;
                    if !cut.takes(key.value(), 4 + code.value().len()) {
                        return Ok((Rows::Codes(rows), Some(ChunkStart::Code(*key.value()))));
                    }
                    rows.push(code.value().to_vec());
                }
                Ok((Rows::Codes(rows), None))
            }
        }
    }
}

impl Rows {
    /// The bytes that are sent, and their hash, which names the chunk.
    pub fn encode(&self) -> (B256, Vec<u8>) {
        let bytes = borsh::to_vec(self).expect("writing to a vector does not fail");
        (keccak256(&bytes), bytes)
    }
}
