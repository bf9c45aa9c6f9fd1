//! The tables of the store, and what their keys and values are. Integers in composite keys are big-endian, so that byte
//! order is number order.

use alloy_trie::Nibbles;
use redb::{Key, TableDefinition, Value};

/// Name → value: `schema` (u32 LE), `genesis` (hash of block 0), [`FLOOR`], [`GAP`] and [`FREED`].
pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// Key in [`META`]: lowest height from which on blocks have all their transactions (u64 LE); 0 if it is missing.
pub const FLOOR: &str = "floor";
/// Key in [`META`]: blocks below the floor that are still to be fetched (Borsh); there are none if it is missing.
pub const GAP: &str = "gap";
/// Key in [`META`]: bytes that pruning has freed since the file was compacted (u64 LE).
pub const FREED: &str = "freed";

/// Height → RLP header. The highest key is the tip.
pub const HEADERS: TableDefinition<u64, &[u8]> = TableDefinition::new("headers");
/// Block hash → height.
pub const HEIGHTS: TableDefinition<&[u8; 32], u64> = TableDefinition::new("heights");
/// Height → RLP block body. Blocks without transactions have none.
pub const BODIES: TableDefinition<u64, &[u8]> = TableDefinition::new("bodies");
/// Height → the senders of the body's transactions, 20 bytes each, so that readers need not recover signatures.
pub const SENDERS: TableDefinition<u64, &[u8]> = TableDefinition::new("senders");
/// Height → RLP list of receipts. Blocks without transactions have none. Below the floor only those are left of blocks that
/// may have changed the validator set.
pub const RECEIPTS: TableDefinition<u64, &[u8]> = TableDefinition::new("receipts");
/// Height → the commit certificate of consensus; opaque here.
pub const CERTIFICATES: TableDefinition<u64, &[u8]> = TableDefinition::new("certificates");
/// Transaction hash → (height, index in the block).
pub const TRANSACTIONS: TableDefinition<&[u8; 32], (u64, u32)> = TableDefinition::new("transactions");
/// (position, value, height): some log of the block has this value there. Position 0 is the address, 1 to 4 are the topics.
pub const LOGS: TableDefinition<&[u8; 41], ()> = TableDefinition::new("logs");

/// Address → RLP account: nonce, balance, storage root, code hash (the value in the state trie).
pub const ACCOUNTS: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("accounts");
/// (address, slot) → value, big-endian; no entry is zero.
pub const STORAGE: TableDefinition<&[u8; 52], &[u8; 32]> = TableDefinition::new("storage");
/// Code hash → code.
pub const CODES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("codes");
/// (owner, path) → RLP trie node. The owner is the hashed address of a storage trie, zero for the state trie; the path has
/// a byte for each nibble.
pub const NODES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("nodes");

/// Version of everything above; another one can't be read.
pub const SCHEMA: u32 = 2;

/// Key of [`STORAGE`].
pub fn storage_key(address: &[u8; 20], slot: &[u8; 32]) -> [u8; 52] {
    let mut key = [0; 52];
    key[..20].copy_from_slice(address);
    key[20..].copy_from_slice(slot);
    key
}

/// Key of [`NODES`].
pub fn node_key(owner: &[u8; 32], path: &Nibbles) -> Vec<u8> {
    let mut key = Vec::with_capacity(owner.len() + path.len());
    key.extend_from_slice(owner);
    key.extend(path.iter());
    key
}

/// Key of [`LOGS`].
pub fn log_key(position: u8, value: &[u8; 32], height: u64) -> [u8; 41] {
    let mut key = [0; 41];
    key[0] = position;
    key[1..33].copy_from_slice(value);
    key[33..].copy_from_slice(&height.to_be_bytes());
    key
}

/// What is done to each table in turn.
pub trait TableVisitor {
    /// Why it failed.
    type Error;

    /// One table, and its number, which never changes.
    fn visit<K: Key + 'static, V: Value + 'static>(
        &mut self,
        number: u8,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), Self::Error>;
}

/// Visits every table. A new table gets a new number, at the end.
pub fn visit_all<T: TableVisitor>(visitor: &mut T) -> Result<(), T::Error> {
    visitor.visit(0, META)?;
    visitor.visit(1, HEADERS)?;
    visitor.visit(2, HEIGHTS)?;
    visitor.visit(3, BODIES)?;
    visitor.visit(4, SENDERS)?;
    visitor.visit(5, RECEIPTS)?;
    visitor.visit(6, CERTIFICATES)?;
    visitor.visit(7, TRANSACTIONS)?;
    visitor.visit(8, LOGS)?;
    visitor.visit(9, ACCOUNTS)?;
    visitor.visit(10, STORAGE)?;
    visitor.visit(11, CODES)?;
    visitor.visit(12, NODES)
}
