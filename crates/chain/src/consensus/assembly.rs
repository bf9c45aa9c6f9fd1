//! Puts the pieces of proposed blocks together. Pure; bounded for each publisher, so that none can crowd out another.

use std::collections::{HashMap, VecDeque};

use alloy::primitives::Bytes;

use super::context::{Height, ValidatorAddress};
use super::value::{BlockId, BlockPart};

/// Pieces for heights further ahead than this are refused: a node that far behind gets the blocks by sync.
const LOOKAHEAD: u64 = 4;

/// Incomplete blocks, and complete ones for later heights, that are kept for one publisher.
const KEPT_PER_PUBLISHER: usize = 3;

/// All pieces of one block, not checked in any way but for the sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// Its height as claimed.
    pub height: Height,
    /// The round in which it was first proposed, as claimed.
    pub round: u32,
    /// Its id as claimed.
    pub id: BlockId,
    /// The encoded block.
    pub block: Bytes,
    /// The validator that sent it.
    pub publisher: ValidatorAddress,
}

#[derive(Debug)]
struct Partial {
    height: Height,
    round: u32,
    id: BlockId,
    pieces: Vec<Option<Bytes>>,
}

/// Pieces and blocks that wait for more.
#[derive(Debug, Default)]
pub struct Assembly {
    partial: HashMap<ValidatorAddress, VecDeque<Partial>>,
    later: HashMap<ValidatorAddress, VecDeque<Complete>>,
}

impl Assembly {
    /// Adds a piece while `next` is the height to decide. Returns a block of that height once it is complete; complete
    /// blocks of later heights wait for [`Self::take_for`].
    pub fn insert(&mut self, next: Height, publisher: ValidatorAddress, part: BlockPart) -> Option<Complete> {
        if part.height < next || part.height.0 > next.0.saturating_add(LOOKAHEAD) {
            return None;
        }
        let complete = self.complete(publisher, part)?;
        if complete.height == next {
            return Some(complete);
        }
        let later = self.later.entry(publisher).or_default();
        if !later.contains(&complete) {
            push_bounded(later, complete);
        }
        None
    }

    fn complete(&mut self, publisher: ValidatorAddress, part: BlockPart) -> Option<Complete> {
        let BlockPart {
            height,
            round,
            id,
            index,
            count,
            bytes,
        } = part;
        if count == 1 {
            return Some(Complete {
                height,
                round,
                id,
                block: bytes,
                publisher,
            });
        }
        let queue = self.partial.entry(publisher).or_default();
        let same = |p: &Partial| (p.height, p.round, p.id, p.pieces.len()) == (height, round, id, usize::from(count));
        let position = queue.iter().position(same).unwrap_or_else(|| {
            push_bounded(
                queue,
                Partial {
                    height,
                    round,
                    id,
                    pieces: vec![None; usize::from(count)],
                },
            );
            queue.len() - 1
        });
        let pieces = &mut queue[position].pieces;
        if let Some(piece) = pieces.get_mut(usize::from(index)) {
            *piece = Some(bytes);
        }
        if pieces.iter().any(Option::is_none) {
            return None;
        }
        let pieces = queue.remove(position)?.pieces;
        let block = pieces.into_iter().flatten().flatten().collect::<Vec<u8>>().into();
        Some(Complete {
            height,
            round,
            id,
            block,
            publisher,
        })
    }

    /// Takes the complete blocks of this height, and forgets what belongs to lower heights.
    pub fn take_for(&mut self, height: Height) -> Vec<Complete> {
        for queue in self.partial.values_mut() {
            queue.retain(|partial| partial.height >= height);
        }
        self.partial.retain(|_, queue| !queue.is_empty());
        let mut taken = Vec::new();
        for queue in self.later.values_mut() {
            queue.retain(|complete| {
                if complete.height == height {
                    taken.push(complete.clone());
                }
                complete.height > height
            });
        }
        self.later.retain(|_, queue| !queue.is_empty());
        taken
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == KEPT_PER_PUBLISHER {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::B256;
    use proptest::prelude::*;

    use super::super::value::{MAX_PART_BYTES, MAX_SENT_BLOCK};
    use super::*;

    const SENDER: ValidatorAddress = ValidatorAddress([1; 20]);

    fn parts(height: u64, id: u8, length: usize) -> (Bytes, Vec<BlockPart>) {
        let block: Bytes = (0..length).map(|i| (i % 251) as u8 ^ id).collect::<Vec<_>>().into();
        let parts = BlockPart::cut(Height(height), 0, BlockId(B256::repeat_byte(id)), &block).unwrap();
        (block, parts)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_block_comes_back_whole_whatever_the_order_of_its_pieces(
            length in 1..5 * MAX_PART_BYTES,
            order in Just((0..5).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let (block, parts) = parts(7, 9, length);
            let mut assembly = Assembly::default();
            let mut whole = None;
            for index in order.into_iter().filter(|i| *i < parts.len()) {
                prop_assert!(whole.is_none());
                whole = assembly.insert(Height(7), SENDER, parts[index].clone());
            }
            prop_assert_eq!(whole.unwrap().block, block);
            prop_assert!(assembly.partial.values().all(VecDeque::is_empty));
        }
    }

    #[test]
    fn a_block_of_a_later_height_waits_for_its_height_and_no_longer() {
        let mut assembly = Assembly::default();
        let (_, eighth) = parts(8, 1, 10);
        let (_, ninth) = parts(9, 2, 10);
        for part in eighth.into_iter().chain(ninth) {
            assert_eq!(assembly.insert(Height(7), SENDER, part), None);
        }
        assert_eq!(assembly.take_for(Height(8)).len(), 1);
        assert_eq!(assembly.take_for(Height(8)).len(), 0);
        assert_eq!(assembly.take_for(Height(10)).len(), 0);
        assert!(assembly.later.is_empty());
    }

    #[test]
    fn a_publisher_that_never_completes_a_block_takes_bounded_memory_and_hinders_nobody() {
        let mut assembly = Assembly::default();
        for id in 0..200 {
            let (_, flood) = parts(7, id, MAX_PART_BYTES + 1);
            assembly.insert(Height(7), SENDER, flood[0].clone());
        }
        assert_eq!(assembly.partial[&SENDER].len(), KEPT_PER_PUBLISHER);
        let (_, honest) = parts(7, 3, MAX_PART_BYTES + 1);
        let other = ValidatorAddress([2; 20]);
        assert_eq!(assembly.insert(Height(7), other, honest[1].clone()), None);
        assert!(assembly.insert(Height(7), other, honest[0].clone()).is_some());
    }

    #[test]
    fn pieces_of_decided_and_of_far_heights_are_refused() {
        let mut assembly = Assembly::default();
        for height in [6, 12, u64::MAX] {
            let (_, parts) = parts(height, 1, 10);
            assert_eq!(assembly.insert(Height(7), SENDER, parts[0].clone()), None);
        }
        assert!(assembly.later.is_empty());
    }

    #[test]
    fn a_block_that_no_message_can_carry_is_not_cut() {
        let id = BlockId(B256::ZERO);
        assert!(BlockPart::cut(Height(1), 0, id, &Bytes::new()).is_none());
        assert!(BlockPart::cut(Height(1), 0, id, &vec![0; MAX_SENT_BLOCK + 1].into()).is_none());
        assert_eq!(
            BlockPart::cut(Height(1), 0, id, &vec![0; MAX_SENT_BLOCK].into())
                .unwrap()
                .len(),
            16
        );
    }
}
