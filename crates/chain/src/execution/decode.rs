//! Reading a block that somebody else made.

use alloy::consensus::proofs::calculate_transaction_root;
use alloy::consensus::{Block, BlockBody, Header, TxEnvelope};
use alloy::primitives::B256;

use crate::application::{InvalidBlock, MAX_BLOCK_BYTES};

/// A block whose form is right: its bytes are the only encoding of its content, and its hash binds all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedBlock {
    /// What it claims.
    pub header: Header,
    /// Keccak-256 of the header.
    pub hash: B256,
    /// What it brings.
    pub body: BlockBody<TxEnvelope>,
}

/// Decodes a block and checks its form. Consensus votes on the hash of the header alone, so nothing may be in the bytes
/// that the header does not bind.
pub fn decode_block(bytes: &[u8]) -> Result<DecodedBlock, InvalidBlock> {
    let invalid = |reason: String| Err(InvalidBlock(reason));
    if bytes.len() > MAX_BLOCK_BYTES {
        return invalid(format!("{} bytes, at most {MAX_BLOCK_BYTES} are allowed", bytes.len()));
    }
    let mut rest = bytes;
    let block = match Block::<TxEnvelope, Header>::decode_sealed(&mut rest) {
        Ok(block) => block,
        Err(error) => return invalid(format!("does not decode: {error}")),
    };
    if !rest.is_empty() {
        return invalid(format!("{} bytes follow the block", rest.len()));
    }
    let (Block { header, body }, hash) = block.into_parts();
    if !body.ommers.is_empty() {
        return invalid("has ommers".into());
    }
    if !body
        .withdrawals
        .as_ref()
        .is_some_and(|withdrawals| withdrawals.is_empty())
    {
        return invalid("must have an empty list of withdrawals".into());
    }
    if calculate_transaction_root(&body.transactions) != header.transactions_root {
        return invalid("the transactions are not those of the header".into());
    }
    if Block::rlp_encoded_from_parts(&header, &body) != bytes {
        return invalid("is not encoded canonically".into());
    }
    Ok(DecodedBlock { header, hash, body })
}
