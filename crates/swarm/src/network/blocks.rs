//! Blocks by their CID: the protocol `/hanse/blocks/1`.
//!
//! The question is a binary CID. The answer is the byte 1 and the block, or the byte 0: has it not.

use std::io;

use bytes::Bytes;

use super::wire::{Wire, invalid};
use crate::blob::{BlockId, LARGEST_BLOCK};

pub(super) const PROTOCOL: &str = "/hanse/blocks/1";

/// Asks for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockQuestion(pub BlockId);

/// What a holder says. Nothing was checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlockAnswer {
    Block(Bytes),
    HasNot,
}

impl Wire for BlockQuestion {
    const MOST: usize = 64;

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        BlockId::from_bytes(&bytes).map(Self).map_err(invalid)
    }
}

impl Wire for BlockAnswer {
    const MOST: usize = LARGEST_BLOCK + 1;

    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Block(bytes) => [[1].as_slice(), bytes].concat(),
            Self::HasNot => vec![0],
        }
    }

    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        match bytes.split_first() {
            Some((1, _)) => Ok(Self::Block(Bytes::from(bytes).slice(1..))),
            Some((0, [])) => Ok(Self::HasNot),
            _ => Err(invalid("this is no answer of /hanse/blocks/1")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_one_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80), tag in 0..3_u8) {
            if let Ok(question) = BlockQuestion::from_bytes(bytes.clone()) {
                prop_assert_eq!(question.to_bytes(), bytes.clone());
            }
            let bytes = [vec![tag], bytes].concat();
            if let Ok(answer) = BlockAnswer::from_bytes(bytes.clone()) {
                prop_assert_eq!(answer.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn the_largest_block_fits() {
        let answer = BlockAnswer::Block(Bytes::from(vec![7; LARGEST_BLOCK]));
        assert_eq!(answer.to_bytes().len(), BlockAnswer::MOST);
        assert_eq!(BlockAnswer::from_bytes(answer.to_bytes()).unwrap(), answer);
        assert!(BlockAnswer::from_bytes(Vec::new()).is_err());
    }
}
