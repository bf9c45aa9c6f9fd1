//! Building a whole trie from keys in their order, with a bounded part of it in memory.

use alloy::consensus::EMPTY_ROOT_HASH;
use alloy::primitives::B256;
use alloy_trie::Nibbles;

use super::super::error::StoreError;
use super::edit::{Edit, Node};
use super::{Change, NodeChanges, Source, seal};

/// Keys that wait in memory, at most.
const BATCH: usize = 4096;

/// A trie under construction.
///
/// A key that follows all others changes only what is on the way to the last one. So after each batch everything else is
/// sealed, and forgotten but for its hash.
#[derive(Debug)]
pub(in crate::store) struct OrderedTrie {
    source: Source,
    root: Option<Node>,
    waiting: Vec<Change>,
    /// Keys after which nodes are handed out.
    pub(super) batch: usize,
}

impl OrderedTrie {
    /// An empty trie of `owner` (a hashed address, or zero for the state trie).
    pub(in crate::store) fn new(owner: B256) -> Self {
        Self {
            source: Source { snapshot: None, owner },
            root: None,
            waiting: Vec::new(),
            batch: BATCH,
        }
    }

    /// Sets the value under `key`, which is a hash and larger than all before. Returns the nodes to write, now and then.
    pub(in crate::store) fn insert(&mut self, key: B256, value: Vec<u8>) -> Result<Option<NodeChanges>, StoreError> {
        self.waiting.push((Nibbles::unpack(key), Some(value)));
        if self.waiting.len() < self.batch {
            return Ok(None);
        }
        self.apply()?;
        Ok(self.root.as_mut().map(seal::settle))
    }

    fn apply(&mut self) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut edit = Edit::new(&self.source);
        self.root = edit.apply(self.root.take(), Nibbles::new(), &self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    /// The root, and the nodes that are left to write.
    pub(in crate::store) fn finish(mut self) -> Result<(B256, NodeChanges), StoreError> {
        self.apply()?;
        Ok(match self.root {
            Some(root) => seal::seal(root, NodeChanges::new()),
            None => (EMPTY_ROOT_HASH, NodeChanges::new()),
        })
    }
}
