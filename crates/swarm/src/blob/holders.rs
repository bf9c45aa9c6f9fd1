//! Who has blocks, and how far they are trusted.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use super::id::BlockId;

/// How many blocks one holder is asked for at a time: enough that it never waits for the next question.
const AT_A_TIME: usize = 4;
/// How many questions a holder may leave open, one after another, before it is no longer asked.
const MOST_FAILURES: u32 = 3;
/// How many holders one fetch knows.
const MOST_HOLDERS: usize = 64;
/// How many liars one fetch remembers.
const MOST_BANNED: usize = 1024;

#[derive(Debug, Default)]
struct Holder {
    asked: BTreeSet<BlockId>,
    has_not: BTreeSet<BlockId>,
    failures: u32,
}

impl Holder {
    fn may_have(&self, block: &BlockId) -> bool {
        self.failures < MOST_FAILURES && !self.has_not.contains(block)
    }
}

/// The holders that one fetch asks.
#[derive(Debug, Default)]
pub(super) struct Holders {
    known: BTreeMap<PeerId, Holder>,
    banned: BTreeSet<PeerId>,
}

impl Holders {
    /// A peer that may have blocks. One that failed before gets another chance, one that lied does not.
    pub fn found(&mut self, peer: PeerId) {
        if self.banned.contains(&peer) {
            return;
        }
        if self.known.len() < MOST_HOLDERS || self.known.contains_key(&peer) {
            let holder = self.known.entry(peer).or_default();
            holder.failures = 0;
            holder.has_not.clear();
        }
    }

    /// A peer that can't be asked any more; the blocks that it was asked for.
    pub fn lost(&mut self, peer: &PeerId) -> BTreeSet<BlockId> {
        self.known.remove(peer).map(|holder| holder.asked).unwrap_or_default()
    }

    /// A peer that sent a wrong block; the blocks that it was asked for. `None` if it is banned already.
    pub fn ban(&mut self, peer: PeerId) -> Option<BTreeSet<BlockId>> {
        if self.banned.contains(&peer) {
            return None;
        }
        // Who lies when this many did is lost all the same; it could only be found again.
        if self.banned.len() < MOST_BANNED {
            self.banned.insert(peer);
        }
        Some(self.lost(&peer))
    }

    /// Whom to ask for `block`: of those who may have it the one with the fewest open questions.
    pub fn choose(&mut self, block: BlockId) -> Option<PeerId> {
        let able = self.known.iter_mut().filter(|(_, holder)| {
            holder.asked.len() < AT_A_TIME && !holder.asked.contains(&block) && holder.may_have(&block)
        });
        let (peer, holder) = able.min_by_key(|(_, holder)| (holder.failures, holder.asked.len()))?;
        holder.asked.insert(block);
        Some(*peer)
    }

    /// A question is over. `true` if it was open.
    pub fn answered(&mut self, peer: &PeerId, block: &BlockId, how: Answer) -> bool {
        let Some(holder) = self.known.get_mut(peer) else {
            return false;
        };
        match how {
            Answer::Good => holder.failures = 0,
            Answer::HasNot => {
                holder.has_not.insert(*block);
            }
            Answer::Failed => holder.failures += 1,
        }
        holder.asked.remove(block)
    }

    /// Whether anybody may still have `block` who is not being asked for it.
    pub fn any_for(&self, block: &BlockId) -> bool {
        let able = |holder: &Holder| !holder.asked.contains(block) && holder.may_have(block);
        self.known.values().any(able)
    }
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// With the block.
    Good,
    /// The holder has not got it.
    HasNot,
    /// With nothing.
    Failed,
}
