//! Blobs: bytes of any kind, known by their content.
//!
//! A blob of up to a mebibyte is one block, and its CID (version 1, `raw`, SHA2-256) has the SHA-256 of its bytes in it. A larger
//! one is cut into blocks of a mebibyte, and its CID is that of a UnixFS file node (`dag-pb`) which lists them. This is what
//! IPFS makes of a file with raw leaves, blocks of a mebibyte and up to 1024 links, so stock tools give the same CID
//! (`ipfs add --cid-version 1 --raw-leaves --chunker size-1048576 --max-file-links 1024`); see docs/adr/0015.

mod cut;
mod fetch;
mod holders;
mod id;
mod node;

#[cfg(test)]
mod tests;

pub use cut::Layout;
pub use fetch::{Effect, Fetch, FetchError};
pub use id::{BlockId, CidError, Codec};
pub use node::{FileNode, Leaf, NodeError};

/// The largest block, in bytes. IPFS members take blocks of up to two mebibytes.
pub const LARGEST_BLOCK: usize = 1 << 20;

/// The largest blob, in bytes: one node lists all of its blocks.
pub const LARGEST_BLOB: u64 = (node::MOST_LEAVES * LARGEST_BLOCK) as u64;
