//! A whole stored trie, looked at node by node.

use std::sync::Arc;

use alloy::consensus::EMPTY_ROOT_HASH;
use alloy::primitives::{B256, keccak256};
use alloy_trie::Nibbles;
use alloy_trie::nodes::RlpNode;

use super::super::error::StoreError;
use super::super::snapshot::Snapshot;
use super::Source;
use super::edit::{Child, Node};

/// What a trie is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Count {
    /// Nodes that are stored on their own.
    pub nodes: u64,
    /// Values.
    pub values: u64,
}

/// Goes through all of the trie with this root, checking that each node is what the one above it says, and counts.
pub(in super::super) fn walk(snapshot: Arc<Snapshot>, owner: B256, root: B256) -> Result<Count, StoreError> {
    let mut walk = Walk {
        source: Source {
            snapshot: Some(snapshot),
            owner,
        },
        count: Count::default(),
    };
    if root != EMPTY_ROOT_HASH {
        walk.below(&Nibbles::new(), &RlpNode::word_rlp(&root))?;
    }
    Ok(walk.count)
}

struct Walk {
    source: Source,
    count: Count,
}

impl Walk {
    /// The node at `path`, which the one above says is `stored`, and all below it. No path is longer than 64 nibbles, so that
    /// this ends.
    fn below(&mut self, path: &Nibbles, stored: &RlpNode) -> Result<(), StoreError> {
        let node = match stored.as_hash() {
            // Small nodes lie within the one above.
            None => Node::decode(&self.source, path, stored)?,
            Some(hash) => {
                let encoded = self.source.node(path)?;
                if keccak256(&encoded) != hash {
                    let reason = format!("has another node than {hash} at {path:?}");
                    return Err(self.source.damaged(reason));
                }
                self.count.nodes += 1;
                Node::decode(&self.source, path, &encoded)?
            }
        };
        match node {
            Node::Leaf { .. } => self.count.values += 1,
            Node::Extension { key, child } => self.child(&path.join(&key), &child)?,
            Node::Branch(children) => {
                for (nibble, child) in (0..).zip(children.iter()) {
                    let Some(child) = child else { continue };
                    let mut at = *path;
                    at.push(nibble);
                    self.child(&at, child)?;
                }
            }
        }
        Ok(())
    }

    fn child(&mut self, path: &Nibbles, child: &Child) -> Result<(), StoreError> {
        match child {
            Child::Stored(stored) => self.below(path, stored),
            // A decoded node has stored children only.
            Child::New(_) => Err(self.source.damaged("has a node that is not stored")),
        }
    }
}
