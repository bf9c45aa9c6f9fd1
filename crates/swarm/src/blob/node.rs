//! The UnixFS file node that lists the blocks of a large blob: `dag-pb` around UnixFS's own protobuf.
//!
//! Of the many forms that UnixFS allows one is read: a file of raw leaves, no mode, no time, nothing inline. Two nodes for the
//! same content would give it two names.

use prost::Message;

use super::id::{BlockId, Codec};
use super::{LARGEST_BLOB, LARGEST_BLOCK};

/// How many blocks one node lists.
pub(super) const MOST_LEAVES: usize = 1024;

/// UnixFS `DataType` "File".
const FILE: i32 = 2;

/// A block of a large blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Which block.
    pub id: BlockId,
    /// Its size in bytes.
    pub size: u64,
}

/// The blocks of a large blob, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNode(Vec<Leaf>);

/// Why a block is no file node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Something else than what is written here.
    #[error("the blob's root is no list of raw blocks: {0}")]
    Form(String),
    /// The sizes are not those of a blob that was cut as this crate cuts.
    #[error("the blob's root lists blocks of sizes that no blob has")]
    Sizes,
}

/// `PBNode` of dag-pb. On the wire its links come before its data, though their number is higher; so both parts are written
/// one after the other, which protobuf reads as one message.
#[derive(Clone, PartialEq, Message)]
struct PbNode {
    #[prost(bytes = "vec", optional, tag = "1")]
    data: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    links: Vec<PbLink>,
}

#[derive(Clone, PartialEq, Message)]
struct PbLink {
    #[prost(bytes = "vec", optional, tag = "1")]
    hash: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    total_size: Option<u64>,
}

/// `Data` of UnixFS, without the fields that are refused.
#[derive(Clone, PartialEq, Message)]
struct UnixFs {
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(uint64, optional, tag = "3")]
    file_size: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    block_sizes: Vec<u64>,
}

impl FileNode {
    /// A node of these leaves.
    ///
    /// # Errors
    /// [`NodeError::Sizes`] unless there are 2 to 1024 raw leaves, all but the last of [`LARGEST_BLOCK`] bytes and the last not empty.
    pub fn new(leaves: Vec<Leaf>) -> Result<Self, NodeError> {
        const FULL: u64 = LARGEST_BLOCK as u64;
        let right = (2..=MOST_LEAVES).contains(&leaves.len())
            && leaves.iter().all(|leaf| leaf.id.codec() == Codec::Raw)
            && leaves.split_last().is_some_and(|(last, others)| {
                (1..=FULL).contains(&last.size) && others.iter().all(|leaf| leaf.size == FULL)
            });
        right.then_some(Self(leaves)).ok_or(NodeError::Sizes)
    }

    /// The blocks, in the order of their bytes.
    pub fn leaves(&self) -> &[Leaf] {
        &self.0
    }

    /// The blob's size in bytes; at most [`LARGEST_BLOB`].
    pub fn size(&self) -> u64 {
        let size = self.0.iter().map(|leaf| leaf.size).sum();
        debug_assert!(size <= LARGEST_BLOB);
        size
    }

    /// The block.
    pub fn encode(&self) -> Vec<u8> {
        let unixfs = UnixFs {
            kind: Some(FILE),
            file_size: Some(self.size()),
            block_sizes: self.0.iter().map(|leaf| leaf.size).collect(),
        };
        let links = self.0.iter().map(|leaf| PbLink {
            hash: Some(leaf.id.to_bytes()),
            name: Some(String::new()),
            total_size: Some(leaf.size),
        });
        let links = PbNode {
            data: None,
            links: links.collect(),
        };
        let data = PbNode {
            data: Some(unixfs.encode_to_vec()),
            links: Vec::new(),
        };
        [links.encode_to_vec(), data.encode_to_vec()].concat()
    }

    /// Reads a block.
    ///
    /// # Errors
    /// For everything that [`Self::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        let form = |reason: &dyn std::fmt::Display| NodeError::Form(reason.to_string());
        let node = PbNode::decode(bytes).map_err(|error| form(&error))?;
        let unixfs = UnixFs::decode(node.data.unwrap_or_default().as_slice()).map_err(|error| form(&error))?;
        if node.links.len() != unixfs.block_sizes.len() {
            return Err(form(&"it has not one size for each link"));
        }
        let mut leaves = Vec::with_capacity(node.links.len());
        for (link, size) in node.links.into_iter().zip(unixfs.block_sizes) {
            let id = BlockId::from_bytes(&link.hash.unwrap_or_default()).map_err(|error| form(&error))?;
            leaves.push(Leaf { id, size });
        }
        let read = Self::new(leaves)?;
        match read.encode() == bytes {
            true => Ok(read),
            false => Err(form(&"it holds more than that")),
        }
    }
}
