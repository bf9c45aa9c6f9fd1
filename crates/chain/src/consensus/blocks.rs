//! Blocks of the height in progress that consensus may decide, by id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::Bytes;
use malachitebft_core_consensus::ProposedValue;

use super::context::{Height, LedgerContext, ValidatorAddress};
use super::value::{BlockId, Value};

/// A checked block and where it was first proposed.
#[derive(Clone, Debug)]
pub struct Undecided {
    /// Its height.
    pub height: Height,
    /// The round in which it was first proposed.
    pub round: u32,
    /// Who proposed it then.
    pub proposer: ValidatorAddress,
    /// The encoded block.
    pub block: Bytes,
}

/// The pool is written by the application loop and by the write-ahead log while it is replayed; clones share it.
///
/// What goes in has passed the application's checks. It stays until its height is decided: consensus asks for any of it
/// at any time. Its size is bounded by what the engine accepts, one block for each round's proposer.
#[derive(Clone, Debug, Default)]
pub struct BlockPool(Arc<Mutex<HashMap<BlockId, Undecided>>>);

impl BlockPool {
    fn lock(&self) -> MutexGuard<'_, HashMap<BlockId, Undecided>> {
        // No code panics while it holds the lock; the map is whole in any case.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a block. The first insertion wins: it says where the block was first proposed.
    pub fn insert(&self, proposed: &ProposedValue<LedgerContext>) {
        let Some(round) = proposed.round.as_u32() else { return };
        if proposed.value.block().is_empty() || !proposed.validity.is_valid() {
            return;
        }
        self.lock()
            .entry(proposed.value.block_id())
            .or_insert_with(|| Undecided {
                height: proposed.height,
                round,
                proposer: proposed.proposer,
                block: proposed.value.block().clone(),
            });
    }

    /// The block with this id.
    pub fn get(&self, id: BlockId) -> Option<Undecided> {
        self.lock().get(&id).cloned()
    }

    /// What `proposer` proposed first at this height and round.
    pub fn proposed_by(&self, proposer: ValidatorAddress, height: Height, round: u32) -> Option<Value> {
        self.lock().iter().find_map(|(id, undecided)| {
            (undecided.proposer == proposer && undecided.height == height && undecided.round == round)
                .then(|| Value::new(id.0, undecided.block.clone()))
        })
    }

    /// Drops the blocks of `decided` and below.
    pub fn forget(&self, decided: Height) {
        self.lock().retain(|_, undecided| undecided.height > decided);
    }
}
