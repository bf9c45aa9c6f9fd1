//! What makes a stored block, and a stored state, whole.

use std::sync::Arc;

use alloy::consensus::TrieAccount;
use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::Nibbles;
use alloy_trie::proof::verify_proof;
use redb::{ReadableTable, ReadableTableMetadata};

use super::commit::log_keys;
use super::error::StoreError;
use super::snapshot::Snapshot;
use super::tables;
use super::trie::{self, Count};

/// Checks that a block is linked to its parent and has all that its header binds, its index entries and a certificate.
pub fn block(snapshot: &Snapshot, height: u64) -> Result<(), StoreError> {
    let missing = |what: &str| StoreError::damaged(format!("{what} of block {height} is missing"));
    let block = snapshot.block_at(height)?.ok_or_else(|| missing("the header"))?;
    if snapshot.height_of(block.hash)? != Some(height) {
        return Err(missing("the index entry"));
    }
    if calculate_transaction_root(&block.body.transactions) != block.header.transactions_root {
        return Err(missing("a transaction"));
    }
    let receipts = snapshot.receipts_at(height)?;
    if calculate_receipt_root(&receipts) != block.header.receipts_root {
        return Err(missing("a receipt"));
    }
    for key in log_keys(height, &receipts) {
        if snapshot.logs.get(&key)?.is_none() {
            return Err(missing("the index entry of a log"));
        }
    }
    for (index, transaction) in (0..).zip(&block.body.transactions) {
        if snapshot.transaction_position(*transaction.tx_hash())? != Some((height, index)) {
            return Err(missing("the index entry of a transaction"));
        }
    }
    if height > 0 {
        let parent = snapshot.header_at(height - 1)?.ok_or_else(|| missing("the parent"))?;
        if parent.1 != block.header.parent_hash {
            let parent = height - 1;
            return Err(StoreError::damaged(format!(
                "block {height} does not follow block {parent}"
            )));
        }
        snapshot
            .certificate_at(height)?
            .ok_or_else(|| missing("the certificate"))?;
    }
    Ok(())
}

/// Checks the whole state against the state root of the newest header: every trie node is what its hash says, what the EVM
/// reads (accounts, slots, code) is exactly what the tries prove, and nothing else is stored. Takes time in proportion to the
/// state.
pub fn state(snapshot: &Arc<Snapshot>) -> Result<(), StoreError> {
    for entry in snapshot.codes.iter()? {
        let (hash, code) = entry?;
        if keccak256(code.value()) != hash.value() {
            let hash = B256::from(*hash.value());
            return Err(StoreError::damaged(format!("code {hash} is not what its hash says")));
        }
    }
    let trie = StoredTrie::new(snapshot, B256::ZERO, snapshot.header().state_root);
    let (mut accounts, mut nodes, mut slots) = (0_u64, 0_u64, 0_u64);
    for entry in snapshot.accounts.iter()? {
        let (address, encoded) = entry?;
        let address = Address::from(*address.value());
        trie.expect(address.as_slice(), encoded.value())
            .map_err(|error| StoreError::damaged(format!("account {address}: {error}")))?;
        let account: TrieAccount = alloy::rlp::decode_exact(encoded.value())
            .map_err(|error| StoreError::damaged(format!("account {address} does not decode: {error}")))?;
        if account.code_hash != KECCAK256_EMPTY && snapshot.codes.get(&account.code_hash.0)?.is_none() {
            return Err(StoreError::damaged(format!("the code of account {address} is missing")));
        }
        let storage = storage(snapshot, address, account.storage_root)?;
        nodes += storage.nodes;
        slots += storage.values;
        accounts += 1;
    }
    nodes += trie.expect_values(accounts, "accounts")?.nodes;
    for (what, belonging, stored) in [
        ("slots", slots, snapshot.storage.len()?),
        ("trie nodes", nodes, snapshot.nodes.len()?),
    ] {
        if belonging != stored {
            return Err(StoreError::damaged(format!(
                "{stored} {what} are stored, {belonging} belong to an account"
            )));
        }
    }
    Ok(())
}

fn storage(snapshot: &Arc<Snapshot>, address: Address, root: B256) -> Result<Count, StoreError> {
    let trie = StoredTrie::new(snapshot, keccak256(address), root);
    let first = tables::storage_key(&address.0.0, &[0; 32]);
    let last = tables::storage_key(&address.0.0, &[0xff; 32]);
    let mut slots = 0;
    for entry in snapshot.storage.range::<&[u8; 52]>(&first..=&last)? {
        let (key, value) = entry?;
        let (_, slot) = key.value().split_at(20);
        trie.expect(slot, &alloy::rlp::encode(U256::from_be_bytes(*value.value())))
            .map_err(|error| StoreError::damaged(format!("storage of {address}: {error}")))?;
        slots += 1;
    }
    trie.expect_values(slots, &format!("slots of {address}"))
}

/// One trie as it is stored.
struct StoredTrie<'a> {
    snapshot: &'a Arc<Snapshot>,
    owner: B256,
    root: B256,
}

impl<'a> StoredTrie<'a> {
    fn new(snapshot: &'a Arc<Snapshot>, owner: B256, root: B256) -> Self {
        Self { snapshot, owner, root }
    }

    /// The trie must have this value under the hash of `key`.
    fn expect(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let key = keccak256(key);
        let way = trie::way_to(self.snapshot.clone(), self.owner, self.root, key).map_err(|error| error.to_string())?;
        verify_proof(self.root, Nibbles::unpack(key), Some(value.to_vec()), &way)
            .map_err(|_| "the state trie proves another value".into())
    }

    /// The trie must have as many values as were found outside of it; with [`Self::expect`] for each, both are the same.
    fn expect_values(&self, wanted: u64, what: &str) -> Result<Count, StoreError> {
        let count = trie::walk(self.snapshot.clone(), self.owner, self.root)?;
        if count.values == wanted {
            Ok(count)
        } else {
            Err(StoreError::damaged(format!(
                "{wanted} {what} are stored, the state trie has {}",
                count.values
            )))
        }
    }
}
