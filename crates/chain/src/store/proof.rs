//! Merkle proofs of accounts and storage slots (EIP-1186), for what is there and for what is not.

use std::sync::Arc;

use alloy::consensus::{EMPTY_ROOT_HASH, TrieAccount};
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use eth_trie::{DB, EthTrie, Trie};

use super::error::StoreError;
use super::snapshot::Snapshot;

/// An account with the nodes that prove it, and some of its slots with theirs. Nodes lead from the root towards the leaf; the
/// last one is where the key is, or where it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountProof {
    /// The account; empty if there is none.
    pub account: TrieAccount,
    /// Its proof in the state trie.
    pub nodes: Vec<Bytes>,
    /// The slots that were asked for, in that order: value, and proof in the account's storage trie.
    pub slots: Vec<(U256, Vec<Bytes>)>,
}

/// The stored nodes of one trie. Nothing is ever written.
#[derive(Debug)]
struct StoredNodes {
    snapshot: Arc<Snapshot>,
    owner: B256,
}

impl DB for StoredNodes {
    type Error = StoreError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let hash = B256::try_from(key).map_err(|_| StoreError::damaged("a trie node is asked for by no hash"))?;
        self.snapshot.node(self.owner, hash)
    }

    fn insert(&self, _: &[u8], _: Vec<u8>) -> Result<(), StoreError> {
        Err(StoreError::damaged("a proof writes nothing"))
    }

    fn remove(&self, _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::damaged("a proof removes nothing"))
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl AccountProof {
    /// Proves an account and slots of it against the state root of `snapshot`'s block.
    pub fn of(snapshot: &Arc<Snapshot>, address: Address, slots: &[B256]) -> Result<Self, StoreError> {
        let account = snapshot.account(address)?.unwrap_or_default();
        let state = nodes(
            snapshot,
            B256::ZERO,
            snapshot.header().state_root,
            &[address.as_slice()],
        )?;
        let keys: Vec<&[u8]> = slots.iter().map(B256::as_slice).collect();
        let storage = nodes(snapshot, keccak256(address), account.storage_root, &keys)?;
        let slots = slots
            .iter()
            .zip(storage)
            .map(|(slot, nodes)| Ok((snapshot.storage_value(address, (*slot).into())?, nodes)))
            .collect::<Result<_, StoreError>>()?;
        Ok(Self {
            account,
            nodes: state.into_iter().next().unwrap_or_default(),
            slots,
        })
    }
}

/// For each key the nodes on the way to its hash. An empty trie has none.
fn nodes(snapshot: &Arc<Snapshot>, owner: B256, root: B256, keys: &[&[u8]]) -> Result<Vec<Vec<Bytes>>, StoreError> {
    if root == EMPTY_ROOT_HASH {
        return Ok(vec![Vec::new(); keys.len()]);
    }
    let damaged = |error| StoreError::damaged(format!("trie {owner}: {error}"));
    let stored = Arc::new(StoredNodes {
        snapshot: snapshot.clone(),
        owner,
    });
    let mut trie = EthTrie::from(stored, root).map_err(damaged)?;
    keys.iter()
        .map(|key| {
            let nodes = trie.get_proof(keccak256(key).as_slice()).map_err(damaged)?;
            Ok(nodes.into_iter().map(Bytes::from).collect())
        })
        .collect()
}
