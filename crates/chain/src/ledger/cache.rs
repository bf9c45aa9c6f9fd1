//! Blocks that were executed but not yet committed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::B256;

use crate::execution::block::ExecutedBlock;

/// Blocks of one height that are kept: its rounds with different proposals. Any other is executed again when it is decided.
const CAPACITY: usize = 4;

/// The executed blocks of the next height.
#[derive(Debug, Default)]
pub struct ExecutedCache(Mutex<VecDeque<Arc<ExecutedBlock>>>);

impl ExecutedCache {
    /// The block with this hash, if it was executed here.
    pub fn get(&self, hash: B256) -> Option<Arc<ExecutedBlock>> {
        self.blocks().iter().find(|block| block.hash == hash).cloned()
    }

    /// Keeps a block, and forgets the oldest if there are too many.
    pub fn put(&self, block: Arc<ExecutedBlock>) {
        let mut blocks = self.blocks();
        if blocks.len() == CAPACITY {
            blocks.pop_front();
        }
        blocks.push_back(block);
    }

    /// Forgets all: another height begins.
    pub fn clear(&self) {
        self.blocks().clear();
    }

    fn blocks(&self) -> MutexGuard<'_, VecDeque<Arc<ExecutedBlock>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
