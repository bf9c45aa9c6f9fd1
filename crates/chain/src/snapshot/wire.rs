//! What members send a newcomer, Borsh-encoded. Whatever arrives is bounded before it is decoded and hostile until checked.

use borsh::{BorshDeserialize, BorshSerialize};

/// Largest answer of any kind (bytes).
pub const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Largest chunk (bytes).
pub const MAX_CHUNK: usize = 1024 * 1024;

/// Chunks of one state, at most.
pub const MAX_CHUNKS: usize = 65_536;

/// Headers of one page, at most.
pub const MAX_HEADERS: u64 = 512;

/// The state that a member can give, with the block that left it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Offer {
    /// The encoded block after which the state was taken.
    pub block: Vec<u8>,
    /// RLP list of its receipts.
    pub receipts: Vec<u8>,
    /// Keccak-256 of each chunk of the state, in order.
    pub chunks: Vec<[u8; 32]>,
}

/// Consecutive headers, the last of which is certified.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HeaderPage {
    /// RLP of each header, in order of height.
    pub headers: Vec<Vec<u8>>,
    /// What changed the validator set, in order of height: one for each header whose bloom filter says that it may have.
    pub handovers: Vec<Handover>,
    /// Commit certificate of the last header.
    pub certificate: Vec<u8>,
}

/// Proof of what a block changed in the validator set.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Handover {
    /// Height of the block.
    pub height: u64,
    /// Its commit certificate, by the validators before the change.
    pub certificate: Vec<u8>,
    /// RLP list of its receipts.
    pub receipts: Vec<u8>,
}

/// Consecutive blocks, without their headers.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockPage {
    /// In order of height.
    pub blocks: Vec<BlockParts>,
}

/// A block without its header.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockParts {
    /// Its commit certificate.
    pub certificate: Vec<u8>,
    /// RLP list of its transactions.
    pub transactions: Vec<u8>,
    /// RLP list of its receipts.
    pub receipts: Vec<u8>,
}
