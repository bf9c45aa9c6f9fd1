//! Fetching a blob, as a state machine: what was heard comes in, what is to be done comes out.
//!
//! Each block is checked against its hash before it counts. So a fetch can go on with what is on the disk, take each block from
//! another holder, and know at once who lied.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::PeerId;

use super::LARGEST_BLOCK;
use super::holders::{Answer, Holders};
use super::id::{BlockId, Codec};
use super::node::{FileNode, Leaf, NodeError};
use crate::model::UnixMillis;

/// How many blocks are on their way at a time: this many mebibytes of memory.
const IN_FLIGHT: usize = 16;
/// How long a holder may take for a block: with four asked at a time, a line of a megabit a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// After this long without an answer the root is asked for elsewhere as well: nothing goes on without it, and a small blob is
/// nothing else.
const ROOT_PATIENCE: Duration = Duration::from_secs(2);

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the holder for the block.
    Ask(PeerId, BlockId),
    /// Write the block that just arrived to the disk. It was checked.
    Keep(BlockId),
    /// The holder sent something else than it was asked for: have no more to do with it.
    Ban(PeerId),
    /// Nobody that is known has what is missing: look for other holders, and say when that is over ([`Fetch::looked`]).
    FindHolders,
    /// Every block is there.
    Done,
    /// There is no point in going on.
    Failed(FetchError),
}

/// Why a blob can't be had, from whomever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The blob is larger than the caller takes.
    #[error("the blob has {size} bytes; at most {most} are taken here")]
    Large {
        /// Its size in bytes.
        size: u64,
        /// What the caller takes.
        most: u64,
    },
    /// Its author made something else than a blob.
    #[error("the blob was not made by Hanse, or not well: {0}")]
    Node(#[from] NodeError),
    /// A block has not the size that its author wrote into the root.
    #[error("the blob's block {0} has another size than its root says; its author has to publish it anew")]
    Size(BlockId),
}

/// The blocks of a blob, as far as they are known.
#[derive(Debug)]
enum Blocks {
    /// The root was not seen yet.
    Root,
    /// All are known: those that are missing, and the size that each must have.
    Known { missing: BTreeMap<BlockId, u64> },
}

/// A blob that is being fetched.
#[derive(Debug)]
pub struct Fetch {
    root: BlockId,
    most: u64,
    blocks: Blocks,
    asked: BTreeMap<BlockId, (PeerId, UnixMillis)>,
    holders: Holders,
    over: bool,
    looking: bool,
}

impl Fetch {
    /// Begins to fetch `root`, or goes on with it: `kept` gives a block that is on the disk. Blobs of more than `most` bytes are
    /// not taken.
    pub fn new(root: BlockId, most: u64, mut kept: impl FnMut(&BlockId) -> Option<Vec<u8>>) -> (Self, Vec<Effect>) {
        let mut fetch = Self {
            root,
            most,
            blocks: Blocks::Root,
            asked: BTreeMap::new(),
            holders: Holders::default(),
            over: false,
            looking: false,
        };
        let mut effects = Vec::new();
        if let Some(bytes) = kept(&root).filter(|bytes| root.matches(bytes)) {
            fetch.root_is(&bytes, &mut effects);
            if let Blocks::Known { missing } = &mut fetch.blocks {
                missing.retain(|id, size| {
                    let there = |bytes: Vec<u8>| bytes.len() as u64 == *size && id.matches(&bytes);
                    !kept(id).is_some_and(there)
                });
            }
        }
        // There is nobody to ask yet.
        fetch.go_on(UnixMillis(0), &mut effects);
        (fetch, effects)
    }

    /// Peers that may have blocks.
    pub fn found(&mut self, holders: impl IntoIterator<Item = PeerId>, now: UnixMillis) -> Vec<Effect> {
        for holder in holders {
            self.holders.found(holder);
        }
        self.effects(now)
    }

    /// The search for holders is over.
    pub fn looked(&mut self, now: UnixMillis) -> Vec<Effect> {
        self.looking = false;
        self.effects(now)
    }

    /// The holder can't be asked any more.
    pub fn lost(&mut self, holder: &PeerId, now: UnixMillis) -> Vec<Effect> {
        let blocks = self.holders.lost(holder);
        self.free(&blocks);
        self.effects(now)
    }

    /// The holder sent `bytes` as the block `id`.
    pub fn arrived(&mut self, holder: PeerId, id: BlockId, bytes: &[u8], now: UnixMillis) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.over {
            return effects;
        }
        if bytes.len() > LARGEST_BLOCK || !id.matches(bytes) {
            if let Some(blocks) = self.holders.ban(holder) {
                self.free(&blocks);
                effects.push(Effect::Ban(holder));
            }
        } else {
            self.holders.answered(&holder, &id, Answer::Good);
            if self.asked.get(&id).is_some_and(|(asked, _)| *asked == holder) {
                self.asked.remove(&id);
            }
            self.block_is(id, bytes, &mut effects);
        }
        self.go_on(now, &mut effects);
        effects
    }

    /// The holder said that it has not got the block.
    pub fn has_not(&mut self, holder: &PeerId, id: &BlockId, now: UnixMillis) -> Vec<Effect> {
        self.unanswered(holder, id, Answer::HasNot);
        self.effects(now)
    }

    /// The holder did not answer, or not understandably.
    pub fn failed(&mut self, holder: &PeerId, id: &BlockId, now: UnixMillis) -> Vec<Effect> {
        self.unanswered(holder, id, Answer::Failed);
        self.effects(now)
    }

    /// Time passed.
    pub fn passed(&mut self, now: UnixMillis) -> Vec<Effect> {
        let late = self
            .asked
            .iter()
            .filter(|(_, (_, since))| now.since(*since) >= PATIENCE);
        let late: Vec<_> = late.map(|(id, (holder, _))| (*id, *holder)).collect();
        for (id, holder) in late {
            self.unanswered(&holder, &id, Answer::Failed);
        }
        let root = self.asked.get(&self.root);
        if matches!(self.blocks, Blocks::Root) && root.is_some_and(|(_, since)| now.since(*since) >= ROOT_PATIENCE) {
            // Its answer counts all the same, should it still come.
            self.asked.remove(&self.root);
        }
        self.effects(now)
    }

    /// How many blocks are missing; `None` while the root is, which alone says how many there are.
    pub fn missing(&self) -> Option<usize> {
        match &self.blocks {
            Blocks::Root => None,
            Blocks::Known { missing } => Some(missing.len()),
        }
    }

    fn effects(&mut self, now: UnixMillis) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.go_on(now, &mut effects);
        effects
    }

    fn unanswered(&mut self, holder: &PeerId, id: &BlockId, how: Answer) {
        let open = self.holders.answered(holder, id, how);
        if open && self.asked.get(id).is_some_and(|(asked, _)| asked == holder) {
            self.asked.remove(id);
        }
    }

    fn free(&mut self, blocks: &BTreeSet<BlockId>) {
        self.asked.retain(|id, _| !blocks.contains(id));
    }

    fn fail(&mut self, error: FetchError, effects: &mut Vec<Effect>) {
        self.over = true;
        effects.push(Effect::Failed(error));
    }

    /// A block whose hash is right.
    fn block_is(&mut self, id: BlockId, bytes: &[u8], effects: &mut Vec<Effect>) {
        match &mut self.blocks {
            Blocks::Root if id == self.root => {
                self.root_is(bytes, effects);
                if !self.over {
                    // Before Keep for any other block: what is on the disk has a root that says what it is.
                    effects.push(Effect::Keep(id));
                }
            }
            Blocks::Root => {}
            Blocks::Known { missing } => match missing.get(&id) {
                Some(size) if *size != bytes.len() as u64 => self.fail(FetchError::Size(id), effects),
                Some(_) => {
                    missing.remove(&id);
                    effects.push(Effect::Keep(id));
                }
                None => {}
            },
        }
    }

    fn root_is(&mut self, bytes: &[u8], effects: &mut Vec<Effect>) {
        let leaves: Result<Vec<Leaf>, NodeError> = match self.root.codec() {
            Codec::Raw => Ok(Vec::new()),
            Codec::DagPb => FileNode::decode(bytes).map(|node| node.leaves().to_vec()),
        };
        let leaves = match leaves {
            Ok(leaves) => leaves,
            Err(error) => return self.fail(error.into(), effects),
        };
        let size = match self.root.codec() {
            Codec::Raw => bytes.len() as u64,
            Codec::DagPb => leaves.iter().map(|leaf| leaf.size).sum(),
        };
        if size > self.most {
            let most = self.most;
            return self.fail(FetchError::Large { size, most }, effects);
        }
        let mut missing = BTreeMap::new();
        for leaf in leaves {
            // The same block has one size.
            if missing
                .insert(leaf.id, leaf.size)
                .is_some_and(|other| other != leaf.size)
            {
                return self.fail(FetchError::Size(leaf.id), effects);
            }
        }
        self.blocks = Blocks::Known { missing };
    }

    /// Asks for what is missing, or ends.
    fn go_on(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        if self.over {
            return;
        }
        let wanted: Vec<BlockId> = match &self.blocks {
            Blocks::Root => vec![self.root],
            Blocks::Known { missing } if missing.is_empty() => {
                self.over = true;
                effects.push(Effect::Done);
                return;
            }
            Blocks::Known { missing } => missing.keys().copied().collect(),
        };
        for id in wanted {
            if self.asked.len() >= IN_FLIGHT {
                return;
            }
            if self.asked.contains_key(&id) {
                continue;
            }
            if let Some(holder) = self.holders.choose(id) {
                self.asked.insert(id, (holder, now));
                effects.push(Effect::Ask(holder, id));
            } else if !self.holders.any_for(&id) && !self.looking {
                self.looking = true;
                effects.push(Effect::FindHolders);
            }
        }
    }
}
