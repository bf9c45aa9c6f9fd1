//! Writing a block: everything that it brings, in one transaction, fsynced before it counts.

use std::collections::BTreeSet;

use alloy::consensus::{BlockBody, Header, ReceiptEnvelope, TrieAccount, TxEnvelope, TxReceipt};
use alloy::primitives::{Address, B256, Bytes, U256};
use redb::{Table, WriteTransaction};

use super::error::StoreError;
use super::tables;
use super::trie::NodeChanges;

/// What a block does to the state.
#[derive(Debug, Clone, Default)]
pub struct StateChanges {
    /// New value of each changed account; `None` removes it.
    pub accounts: Vec<(Address, Option<TrieAccount>)>,
    /// New value of each changed slot; zero removes it.
    pub storage: Vec<(Address, U256, U256)>,
    /// Code that did not exist before, by its hash.
    pub codes: Vec<(B256, Bytes)>,
    /// Changed nodes of each trie, by owner.
    pub nodes: Vec<(B256, NodeChanges)>,
}

/// A block with all that is stored of it.
#[derive(Debug, Clone, Copy)]
pub struct BlockWrite<'a> {
    /// Its header.
    pub header: &'a Header,
    /// Keccak-256 of the header.
    pub hash: B256,
    /// Its transactions.
    pub body: &'a BlockBody<TxEnvelope>,
    /// One for each transaction.
    pub senders: &'a [Address],
    /// One for each transaction.
    pub receipts: &'a [ReceiptEnvelope],
    /// Commit certificate; none for genesis.
    pub certificate: Option<&'a [u8]>,
    /// What executing it changes.
    pub changes: &'a StateChanges,
}

/// Writes a block into an open transaction.
///
/// Within each table keys are written in their order, so that each page is visited once: hashes lie all over a table.
pub(super) fn write_block(transaction: &WriteTransaction, block: &BlockWrite<'_>) -> Result<(), StoreError> {
    let height = block.header.number;
    transaction
        .open_table(tables::HEADERS)?
        .insert(height, alloy::rlp::encode(block.header).as_slice())?;
    transaction.open_table(tables::HEIGHTS)?.insert(&block.hash.0, height)?;
    if let Some(certificate) = block.certificate {
        transaction
            .open_table(tables::CERTIFICATES)?
            .insert(height, certificate)?;
    }
    if !block.body.transactions.is_empty() {
        write_transactions(transaction, height, block)?;
    }
    write_state(transaction, block.changes)
}

/// Writes the transactions of a block that has any, with what is found by them.
pub(super) fn write_transactions(
    transaction: &WriteTransaction,
    height: u64,
    block: &BlockWrite<'_>,
) -> Result<(), StoreError> {
    transaction
        .open_table(tables::BODIES)?
        .insert(height, alloy::rlp::encode(block.body).as_slice())?;
    let senders: Vec<u8> = block.senders.iter().flat_map(|sender| sender.0.0).collect();
    transaction
        .open_table(tables::SENDERS)?
        .insert(height, senders.as_slice())?;
    let receipts = alloy::rlp::encode(block.receipts.to_vec());
    transaction
        .open_table(tables::RECEIPTS)?
        .insert(height, receipts.as_slice())?;

    let mut positions = transaction.open_table(tables::TRANSACTIONS)?;
    let mut hashes: Vec<(B256, u32)> = block
        .body
        .transactions
        .iter()
        .map(|tx| *tx.tx_hash())
        .zip(0..)
        .collect();
    hashes.sort_unstable();
    for (hash, index) in hashes {
        positions.insert(&hash.0, (height, index))?;
    }
    let mut logs = transaction.open_table(tables::LOGS)?;
    for key in &log_keys(height, block.receipts) {
        logs.insert(key, ())?;
    }
    Ok(())
}

/// Under which keys the index has the logs of a block.
pub(super) fn log_keys(height: u64, receipts: &[ReceiptEnvelope]) -> BTreeSet<[u8; 41]> {
    let mut keys = BTreeSet::new();
    for log in receipts.iter().flat_map(TxReceipt::logs) {
        keys.insert(tables::log_key(0, &log.address.into_word().0, height));
        keys.extend(
            (1..)
                .zip(log.topics())
                .map(|(position, topic)| tables::log_key(position, &topic.0, height)),
        );
    }
    keys
}

fn write_state(transaction: &WriteTransaction, changes: &StateChanges) -> Result<(), StoreError> {
    let mut accounts = transaction.open_table(tables::ACCOUNTS)?;
    for (address, account) in &changes.accounts {
        match account {
            Some(account) => accounts.insert(&address.0.0, alloy::rlp::encode(account).as_slice())?,
            None => accounts.remove(&address.0.0)?,
        };
    }
    let mut storage = transaction.open_table(tables::STORAGE)?;
    let mut slots: Vec<_> = changes.storage.iter().collect();
    slots.sort_unstable_by_key(|(address, slot, _)| (*address, *slot));
    for (address, slot, value) in slots {
        let key = tables::storage_key(&address.0.0, &slot.to_be_bytes());
        if value.is_zero() {
            storage.remove(&key)?;
        } else {
            storage.insert(&key, &value.to_be_bytes())?;
        }
    }
    let mut codes = transaction.open_table(tables::CODES)?;
    for (hash, code) in &changes.codes {
        codes.insert(&hash.0, code.as_ref())?;
    }
    let mut nodes = transaction.open_table(tables::NODES)?;
    let mut tries: Vec<_> = changes.nodes.iter().collect();
    tries.sort_unstable_by_key(|(owner, _)| *owner);
    for (owner, changes) in tries {
        write_nodes(&mut nodes, *owner, changes)?;
    }
    Ok(())
}

/// Writes what changed in the trie of this owner.
pub(super) fn write_nodes(
    nodes: &mut Table<'_, &'static [u8], &'static [u8]>,
    owner: B256,
    changes: &NodeChanges,
) -> Result<(), StoreError> {
    for (path, node) in changes {
        let key = tables::node_key(&owner.0, path);
        match node {
            Some(node) => drop(nodes.insert(key.as_slice(), node.as_slice())?),
            None => drop(nodes.remove(key.as_slice())?),
        }
    }
    Ok(())
}
