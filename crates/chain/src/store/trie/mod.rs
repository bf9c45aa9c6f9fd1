//! The Merkle-Patricia tries of state and storage, kept node by node so that a block costs what it changes.
//!
//! A node is stored under its path from the root, not under its hash: changing a value overwrites the nodes above it instead
//! of adding some and deleting others, and what lies close together in the trie lies close together in the file. All changes
//! of a block are applied to a trie at once: [`edit`] makes the new tree, reading what is on the way, and [`seal`] hashes
//! what changed, each node once.

mod edit;
mod ordered;
mod seal;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::consensus::EMPTY_ROOT_HASH;
use alloy::primitives::{B256, Bytes, keccak256};
use alloy_trie::Nibbles;

use super::error::StoreError;
use super::snapshot::Snapshot;
use edit::{Child, Edit, Node};
pub(super) use ordered::OrderedTrie;
pub(super) use walk::{Count, walk};

/// What a block does to the nodes of one trie, by path: the new RLP encoding, or `None` for a node that is gone.
pub type NodeChanges = BTreeMap<Nibbles, Option<Vec<u8>>>;

/// A key (which is a hash) with its new value, or `None` to remove it.
type Change = (Nibbles, Option<Vec<u8>>);

/// Where the nodes of one trie are: in a snapshot, which is `None` while there is no state yet.
#[derive(Debug, Clone)]
struct Source {
    snapshot: Option<Arc<Snapshot>>,
    owner: B256,
}

impl Source {
    fn node(&self, path: &Nibbles) -> Result<Vec<u8>, StoreError> {
        let stored = match &self.snapshot {
            Some(snapshot) => snapshot.node(self.owner, path)?,
            None => None,
        };
        stored.ok_or_else(|| self.damaged(format!("has no node {path:?}")))
    }

    /// The root node, checked against its hash.
    fn root(&self, root: B256) -> Result<Vec<u8>, StoreError> {
        let node = self.node(&Nibbles::new())?;
        if keccak256(&node) == root {
            Ok(node)
        } else {
            Err(self.damaged(format!("has not the root {root}")))
        }
    }

    fn damaged(&self, what: impl std::fmt::Display) -> StoreError {
        StoreError::damaged(format!("trie {} {what}", self.owner))
    }
}

/// Checks that a stored trie has this root node.
pub(super) fn check_root(snapshot: Arc<Snapshot>, owner: B256, root: B256) -> Result<(), StoreError> {
    let source = Source {
        snapshot: Some(snapshot),
        owner,
    };
    if root == EMPTY_ROOT_HASH {
        return Ok(());
    }
    source.root(root).map(drop)
}

/// The stored nodes on the way from the root to `key`, or to where it would be.
pub(super) fn way_to(snapshot: Arc<Snapshot>, owner: B256, root: B256, key: B256) -> Result<Vec<Bytes>, StoreError> {
    if root == EMPTY_ROOT_HASH {
        return Ok(Vec::new());
    }
    let source = Source {
        snapshot: Some(snapshot),
        owner,
    };
    let key = Nibbles::unpack(key);
    let mut path = Nibbles::new();
    let mut encoded = source.root(root)?;
    let mut way = Vec::new();
    loop {
        let mut node = Node::decode(&source, &path, &encoded)?;
        way.push(encoded.into());
        // Small nodes lie within the one above.
        encoded = loop {
            let below = match node {
                Node::Leaf { .. } => None,
                Node::Extension { key, child } => Some((path.join(&key), Some(child))),
                Node::Branch(mut children) => {
                    let nibble = key.get_unchecked(path.len());
                    let mut at = path;
                    at.push(nibble);
                    Some((at, children[usize::from(nibble)].take()))
                }
            };
            let Some((at, Some(Child::Stored(child)))) = below else {
                return Ok(way);
            };
            if !key.starts_with(&at) {
                return Ok(way);
            }
            path = at;
            if child.is_hash() {
                break source.node(&path)?;
            }
            node = Node::decode(&source, &path, &child)?;
        };
    }
}

/// One trie, being changed on top of a snapshot.
#[derive(Debug)]
pub struct TrieUpdate {
    source: Source,
    root: B256,
    changes: Vec<Change>,
}

impl TrieUpdate {
    /// The trie of `owner` (a hashed address, or zero for the state trie) with this root. `snapshot` is `None` for the
    /// genesis state, which stands on nothing.
    pub fn new(snapshot: Option<Arc<Snapshot>>, owner: B256, root: B256) -> Self {
        Self {
            source: Source { snapshot, owner },
            root,
            changes: Vec::new(),
        }
    }

    /// Sets the value under a key, which is a hash. Each key is set or removed once.
    pub fn insert(&mut self, key: B256, value: Vec<u8>) {
        self.changes.push((Nibbles::unpack(key), Some(value)));
    }

    /// Removes the value under a key, which must exist.
    pub fn remove(&mut self, key: B256) {
        self.changes.push((Nibbles::unpack(key), None));
    }

    /// The new root, and what came and went.
    ///
    /// # Errors
    /// When the store fails, or has not the nodes that the root asks for.
    pub fn finish(mut self) -> Result<(B256, NodeChanges), StoreError> {
        if self.changes.is_empty() {
            return Ok((self.root, NodeChanges::new()));
        }
        self.changes.sort_unstable_by_key(|(key, _)| *key);
        let mut edit = Edit::new(&self.source);
        let before = match self.root {
            EMPTY_ROOT_HASH => None,
            root => Some(edit.take_root(root)?),
        };
        let after = edit.apply(before, Nibbles::new(), &self.changes)?;
        Ok(match after {
            Some(root) => seal::seal(root, edit.gone),
            None => (EMPTY_ROOT_HASH, edit.gone),
        })
    }
}
