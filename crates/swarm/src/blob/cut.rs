//! How a blob is cut into blocks.

use bytes::Bytes;

use super::id::{BlockId, Codec};
use super::node::{FileNode, Leaf};
use super::{LARGEST_BLOB, LARGEST_BLOCK};

/// A blob as blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: BlockId,
    blocks: Vec<(BlockId, Bytes)>,
}

impl Layout {
    /// Cuts `blob`; the blocks share its memory. `None` if it has more than [`LARGEST_BLOB`] bytes.
    pub fn of(blob: &Bytes) -> Option<Self> {
        if blob.len() as u64 > LARGEST_BLOB {
            return None;
        }
        if blob.len() <= LARGEST_BLOCK {
            let root = BlockId::of(Codec::Raw, blob);
            let blocks = vec![(root, blob.clone())];
            return Some(Self { root, blocks });
        }
        let cuts = (0..blob.len()).step_by(LARGEST_BLOCK);
        let mut blocks: Vec<_> = cuts
            .map(|start| blob.slice(start..blob.len().min(start + LARGEST_BLOCK)))
            .map(|bytes| (BlockId::of(Codec::Raw, &bytes), bytes))
            .collect();
        let leaves = blocks.iter().map(|(id, bytes)| Leaf {
            id: *id,
            size: bytes.len() as u64,
        });
        let node = FileNode::new(leaves.collect())
            .expect("a blob of this size has 2 to 1024 blocks")
            .encode();
        let root = BlockId::of(Codec::DagPb, &node);
        blocks.insert(0, (root, node.into()));
        Some(Self { root, blocks })
    }

    /// The blob's CID.
    pub fn root(&self) -> BlockId {
        self.root
    }

    /// Every block, the root first. The same block may be there more than once.
    pub fn blocks(&self) -> &[(BlockId, Bytes)] {
        &self.blocks
    }
}
