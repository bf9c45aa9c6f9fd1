//! Hashing what an edit left: each changed node once, from the leaves up.

use alloy::primitives::{B256, keccak256};
use alloy_trie::nodes::{BranchNode, ExtensionNode, LeafNode, RlpNode};
use alloy_trie::{Nibbles, TrieMask};

use super::NodeChanges;
use super::edit::{Child, Node};

/// The hash of the root, and what is written: `changes` are the nodes that the edit took away.
pub(super) fn seal(root: Node, changes: NodeChanges) -> (B256, NodeChanges) {
    let mut seal = Seal { changes };
    let path = Nibbles::new();
    let encoded = seal.encode(root, &path);
    let hash = keccak256(&encoded);
    // The root has a hash however small it is.
    seal.changes.insert(path, Some(encoded));
    (hash, seal.changes)
}

/// Hashes everything but the way to the last key, which stays in memory. Returns what is written.
pub(super) fn settle(root: &mut Node) -> NodeChanges {
    let mut seal = Seal {
        changes: NodeChanges::new(),
    };
    seal.settle(root, Nibbles::new());
    seal.changes
}

struct Seal {
    changes: NodeChanges,
}

impl Seal {
    fn encode(&mut self, node: Node, path: &Nibbles) -> Vec<u8> {
        match node {
            Node::Leaf { key, value } => alloy_rlp::encode(LeafNode::new(key, value)),
            Node::Extension { key, child } => {
                let child = self.child(child, path.join(&key));
                alloy_rlp::encode(ExtensionNode::new(key, child))
            }
            Node::Branch(children) => {
                let mut branch = BranchNode::new(Vec::with_capacity(children.len()), TrieMask::default());
                for (nibble, child) in (0..).zip(*children) {
                    let Some(child) = child else { continue };
                    let mut at = *path;
                    at.push(nibble);
                    branch.stack.push(self.child(child, at));
                    branch.state_mask.set_bit(nibble);
                }
                alloy_rlp::encode(branch)
            }
        }
    }

    fn child(&mut self, child: Child, path: Nibbles) -> RlpNode {
        match child {
            Child::Stored(stored) => stored,
            Child::New(node) => {
                let encoded = self.encode(*node, &path);
                let sealed = RlpNode::from_rlp(&encoded);
                // Smaller ones lie within the node above.
                if sealed.is_hash() {
                    self.changes.insert(path, Some(encoded));
                }
                sealed
            }
        }
    }

    fn settle(&mut self, node: &mut Node, path: Nibbles) {
        match node {
            Node::Leaf { .. } => {}
            Node::Extension { key, child } => {
                if let Child::New(node) = child {
                    self.settle(node, path.join(key));
                }
            }
            Node::Branch(children) => {
                let last = children.iter().rposition(Option::is_some);
                for (nibble, place) in children.iter_mut().enumerate() {
                    let mut at = path;
                    at.push(nibble as u8);
                    match place {
                        Some(Child::New(node)) if Some(nibble) == last => self.settle(node, at),
                        _ => *place = place.take().map(|child| Child::Stored(self.child(child, at))),
                    }
                }
            }
        }
    }
}
