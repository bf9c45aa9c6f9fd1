//! The tree that a block's changes make of the stored one. Nothing is hashed here.

use alloy_rlp::Decodable;
use alloy_trie::Nibbles;
use alloy_trie::nodes::{RlpNode, TrieNode};

use super::super::error::StoreError;
use super::{Change, NodeChanges, Source};

/// Nibbles of a key.
const KEY_LENGTH: usize = 64;

/// A node in memory.
#[derive(Debug)]
pub(super) enum Node {
    /// The rest of a key, and its value.
    Leaf { key: Nibbles, value: Vec<u8> },
    /// What all keys below have in common; the child is a branch.
    Extension { key: Nibbles, child: Child },
    /// One child for each next nibble.
    Branch(Box<Children>),
}

/// The children of a branch: at least two.
pub(super) type Children = [Option<Child>; 16];

/// What is below a node.
#[derive(Debug)]
pub(super) enum Child {
    /// As it was: its hash, or all of it if it is small.
    Stored(RlpNode),
    /// Changed, and not hashed yet.
    New(Box<Node>),
}

impl Node {
    pub(super) fn decode(source: &Source, path: &Nibbles, mut encoded: &[u8]) -> Result<Self, StoreError> {
        let damaged = |reason: &str| source.damaged(format!("has a wrong node {path:?}: {reason}"));
        let node = TrieNode::decode(&mut encoded).map_err(|error| damaged(&error.to_string()))?;
        match node {
            TrieNode::Leaf(leaf) if path.len() + leaf.key.len() == KEY_LENGTH => Ok(Self::Leaf {
                key: leaf.key,
                value: leaf.value,
            }),
            TrieNode::Extension(extension) if path.len() + extension.key.len() < KEY_LENGTH => Ok(Self::Extension {
                key: extension.key,
                child: Child::Stored(extension.child),
            }),
            TrieNode::Branch(branch) if path.len() < KEY_LENGTH => {
                let mut children = Box::<Children>::default();
                for (nibble, child) in branch.as_ref().children() {
                    children[usize::from(nibble)] = child.cloned().map(Child::Stored);
                }
                Ok(Self::Branch(children))
            }
            _ => Err(damaged("it can't be there")),
        }
    }

    /// This node, moved up by `prefix`.
    fn below(self, prefix: Nibbles) -> Self {
        if prefix.is_empty() {
            return self;
        }
        match self {
            Self::Leaf { key, value } => Self::Leaf {
                key: prefix.join(&key),
                value,
            },
            Self::Extension { key, child } => Self::Extension {
                key: prefix.join(&key),
                child,
            },
            branch @ Self::Branch(_) => Self::Extension {
                key: prefix,
                child: Child::New(Box::new(branch)),
            },
        }
    }
}

/// The edit of one trie.
pub(super) struct Edit<'a> {
    source: &'a Source,
    /// Stored nodes that were taken into memory: gone, unless they are written again.
    pub(super) gone: NodeChanges,
}

impl<'a> Edit<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            gone: NodeChanges::new(),
        }
    }

    pub(super) fn take_root(&mut self, root: alloy::primitives::B256) -> Result<Node, StoreError> {
        let path = Nibbles::new();
        self.gone.insert(path, None);
        Node::decode(self.source, &path, &self.source.root(root)?)
    }

    fn read(&self, path: &Nibbles, stored: &RlpNode) -> Result<Node, StoreError> {
        if stored.is_hash() {
            Node::decode(self.source, path, &self.source.node(path)?)
        } else {
            Node::decode(self.source, path, stored)
        }
    }

    fn take(&mut self, path: &Nibbles, child: Child) -> Result<Node, StoreError> {
        match child {
            Child::New(node) => Ok(*node),
            Child::Stored(stored) => {
                if stored.is_hash() {
                    self.gone.insert(*path, None);
                }
                self.read(path, &stored)
            }
        }
    }

    /// What the node at `path` becomes. `changes` are in the order of their keys, all of which begin with `path`.
    pub(super) fn apply(
        &mut self,
        node: Option<Node>,
        path: Nibbles,
        changes: &[Change],
    ) -> Result<Option<Node>, StoreError> {
        match node {
            None => Ok(build(path.len(), &self.values(changes, None)?)),
            Some(Node::Leaf { key, value }) => {
                let key = path.join(&key);
                Ok(build(path.len(), &self.values(changes, Some((&key, &value)))?))
            }
            Some(Node::Branch(children)) => self.branch(children, path, changes),
            Some(Node::Extension { key, child }) => {
                let shared = |change: Option<&Change>| {
                    change.map_or(key.len(), |(changed, _)| {
                        changed.slice(path.len()..).common_prefix_length(&key)
                    })
                };
                // In a sorted list who has the least in common with the key is first or last.
                let shared = shared(changes.first()).min(shared(changes.last()));
                let prefix = key.slice(..shared);
                let at = path.join(&prefix);
                let node = if shared == key.len() {
                    let node = self.take(&at, child)?;
                    self.apply(Some(node), at, changes)?
                } else {
                    let mut children = Box::<Children>::default();
                    let rest = key.slice(shared + 1..);
                    children[usize::from(key.get_unchecked(shared))] = Some(if rest.is_empty() {
                        child
                    } else {
                        Child::New(Box::new(Node::Extension { key: rest, child }))
                    });
                    self.branch(children, at, changes)?
                };
                Ok(node.map(|node| node.below(prefix)))
            }
        }
    }

    fn branch(
        &mut self,
        mut children: Box<Children>,
        path: Nibbles,
        changes: &[Change],
    ) -> Result<Option<Node>, StoreError> {
        let nibble = |(key, _): &Change| key.get_unchecked(path.len());
        for changes in changes.chunk_by(|one, other| nibble(one) == nibble(other)) {
            let nibble = nibble(&changes[0]);
            let mut at = path;
            at.push(nibble);
            let place = &mut children[usize::from(nibble)];
            let child = match place.take() {
                Some(child) => Some(self.take(&at, child)?),
                None => None,
            };
            *place = self.apply(child, at, changes)?.map(|node| Child::New(Box::new(node)));
        }
        let mut left = (0..).zip(children.iter_mut()).filter(|(_, child)| child.is_some());
        match (left.next(), left.next()) {
            (None, _) => Ok(None),
            (Some((nibble, only)), None) => {
                let only = only.take();
                self.alone(path, nibble, only).map(Some)
            }
            _ => Ok(Some(Node::Branch(children))),
        }
    }

    /// What a branch becomes that has one child left.
    fn alone(&mut self, path: Nibbles, nibble: u8, child: Option<Child>) -> Result<Node, StoreError> {
        let prefix = Nibbles::from_nibbles([nibble]);
        let at = path.join(&prefix);
        let node = match child {
            Some(Child::New(node)) => *node,
            Some(Child::Stored(stored)) => match self.read(&at, &stored)? {
                // It stays where it is, as it is.
                Node::Branch(_) => {
                    return Ok(Node::Extension {
                        key: prefix,
                        child: Child::Stored(stored),
                    });
                }
                node => {
                    if stored.is_hash() {
                        self.gone.insert(at, None);
                    }
                    node
                }
            },
            None => return Err(self.source.damaged("lost a node")),
        };
        Ok(node.below(prefix))
    }

    /// The values there are after the changes, with the one there is before them, in order.
    fn values<'b>(
        &self,
        changes: &'b [Change],
        before: Option<(&'b Nibbles, &'b Vec<u8>)>,
    ) -> Result<Vec<Entry<'b>>, StoreError> {
        let mut values = Vec::with_capacity(changes.len() + 1);
        for (key, value) in changes {
            match value {
                Some(value) => values.push((key, value)),
                None if before.is_some_and(|(old, _)| old == key) => {}
                None => return Err(self.source.damaged(format!("has no value {key:?} to remove"))),
            }
        }
        if let Some(before) = before
            && let Err(place) = changes.binary_search_by_key(&before.0, |(key, _)| key)
        {
            // All changes are values then, or removing them would have failed.
            values.insert(place, before);
        }
        Ok(values)
    }
}

type Entry<'a> = (&'a Nibbles, &'a Vec<u8>);

/// The node above all these values, whose keys have the first `depth` nibbles in common and are in order.
fn build(depth: usize, values: &[Entry<'_>]) -> Option<Node> {
    let ((first, value), (last, _)) = (values.first()?, values.last()?);
    if values.len() == 1 {
        return Some(Node::Leaf {
            key: first.slice(depth..),
            value: (*value).clone(),
        });
    }
    let fork = first.common_prefix_length(last);
    let nibble = |(key, _): &Entry<'_>| key.get_unchecked(fork);
    let mut children = Box::<Children>::default();
    for values in values.chunk_by(|one, other| nibble(one) == nibble(other)) {
        let child = build(fork + 1, values);
        children[usize::from(nibble(&values[0]))] = child.map(|node| Child::New(Box::new(node)));
    }
    Some(Node::Branch(children).below(first.slice(depth..fork)))
}
