//! The Merkle-Patricia tries of state and storage, kept node by node so that a block costs what it changes.
//!
//! `eth_trie` does the work; here are its node source and the rules that keep deletion right: a trie has its own name
//! space, [`TrieUpdate::remove`] is only called for keys that exist (for others eth_trie would report nodes as replaced that
//! are still used), and the old root, which eth_trie never reports, is reported here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy::consensus::EMPTY_ROOT_HASH;
use alloy::primitives::{B256, keccak256};
use eth_trie::{DB, EthTrie, Trie, TrieError};

use super::error::StoreError;
use super::snapshot::Snapshot;

/// What a block does to the nodes of one trie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeChanges {
    /// New nodes by hash.
    pub added: Vec<(B256, Vec<u8>)>,
    /// Nodes that the trie no longer has.
    pub removed: Vec<B256>,
}

/// One trie, being changed on top of a snapshot.
pub struct TrieUpdate {
    trie: EthTrie<Nodes>,
    nodes: Arc<Nodes>,
    old_root: B256,
}

/// The nodes of one trie: those of the snapshot, and above them those of this update.
#[derive(Debug)]
struct Nodes {
    snapshot: Option<Arc<Snapshot>>,
    owner: B256,
    changes: Mutex<Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    added: HashMap<B256, Vec<u8>>,
    removed: Vec<B256>,
}

impl Nodes {
    fn changes(&self) -> std::sync::MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DB for Nodes {
    type Error = StoreError;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let hash = B256::try_from(key).map_err(|_| StoreError::damaged("a trie node is asked for by no hash"))?;
        if let Some(node) = self.changes().added.get(&hash) {
            return Ok(Some(node.clone()));
        }
        match &self.snapshot {
            Some(snapshot) => snapshot.node(self.owner, hash),
            None => Ok(None),
        }
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        self.changes().added.insert(B256::from_slice(key), value);
        Ok(())
    }

    fn insert_batch(&self, keys: Vec<Vec<u8>>, values: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let hashes = keys.iter().map(|key| B256::from_slice(key));
        self.changes().added.extend(hashes.zip(values));
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.changes().removed.push(B256::from_slice(key));
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn damaged(error: TrieError) -> StoreError {
    StoreError::damaged(format!("state trie: {error}"))
}

impl TrieUpdate {
    /// The trie of `owner` (a hashed address, or zero for the state trie) with this root. `snapshot` is `None` for the
    /// genesis state, which stands on nothing.
    pub fn open(snapshot: Option<Arc<Snapshot>>, owner: B256, root: B256) -> Result<Self, StoreError> {
        let nodes = Arc::new(Nodes {
            snapshot,
            owner,
            changes: Mutex::default(),
        });
        let trie = if root == EMPTY_ROOT_HASH {
            EthTrie::new(nodes.clone())
        } else {
            EthTrie::from(nodes.clone(), root).map_err(|error| match error {
                TrieError::InvalidStateRoot => StoreError::damaged(format!("root {root} of trie {owner} is missing")),
                other => damaged(other),
            })?
        };
        Ok(Self {
            trie,
            nodes,
            old_root: root,
        })
    }

    /// Sets the value under the hash of `key`.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.trie.insert(keccak256(key).as_slice(), value).map_err(damaged)
    }

    /// Removes the value under the hash of `key`, which must exist.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let existed = self.trie.remove(keccak256(key).as_slice()).map_err(damaged)?;
        if existed {
            Ok(())
        } else {
            Err(StoreError::damaged("a value to remove is not in the state trie"))
        }
    }

    /// The new root, and the nodes that came and went.
    pub fn finish(mut self) -> Result<(B256, NodeChanges), StoreError> {
        let root = self.trie.root_hash().map_err(damaged)?;
        let Changes { mut added, mut removed } = std::mem::take(&mut *self.nodes.changes());
        // The empty trie is known without being stored.
        added.remove(&EMPTY_ROOT_HASH);
        if self.old_root != root && self.old_root != EMPTY_ROOT_HASH {
            removed.push(self.old_root);
        }
        let added = added.into_iter().collect();
        Ok((root, NodeChanges { added, removed }))
    }
}
