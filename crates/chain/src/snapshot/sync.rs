//! A newcomer's side: fetches a snapshot from members and makes the store of it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use alloy::consensus::ReceiptEnvelope;
use alloy::consensus::proofs::calculate_receipt_root;
use alloy::consensus::transaction::SignerRecoverable;
use alloy::primitives::{Address, B256, keccak256};

use super::follow::Follower;
use super::standing::Standing;
use super::wire::{HeaderPage, MAX_ANSWER, MAX_CHUNK, MAX_CHUNKS, Offer};
use crate::execution::decode::decode_block;
use crate::execution::genesis::GenesisBlock;
use crate::genesis::{Genesis, GenesisError};
use crate::store::{Base, InstallError, Newest, Staging, Store, StoreError};

/// A request that failed is repeated so often, each time after twice as long.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How often the work may begin again, because a state was let go or a member lied.
const ROUNDS: usize = 24;

/// A member as the newcomer reaches it. Each request has a deadline of its own and ends with at most
/// [`MAX_ANSWER`] bytes.
pub trait Source: Send {
    /// For messages.
    fn name(&self) -> &str;
    /// An encoded [`Offer`].
    fn offer(&self) -> Result<Vec<u8>, SourceError>;
    /// An encoded [`HeaderPage`] from one height to at most another.
    fn headers(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError>;
    /// A chunk by its hash.
    fn chunk(&self, hash: B256) -> Result<Vec<u8>, SourceError>;
    /// An encoded [`super::wire::BlockPage`] from one height to at most another.
    fn blocks(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError>;
}

/// Why a member gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No answer, or it is busy: worth asking again.
    #[error("{0}")]
    Away(String),
    /// It does not give this domain anything.
    #[error("{0}")]
    Refused(String),
    /// It does not have what was asked for.
    #[error("{0}")]
    Nothing(String),
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The ledger's data folder.
    pub data_dir: PathBuf,
    /// What is trusted.
    pub genesis: Genesis,
    /// Whether a node that has no ledger yet fetches afterwards the blocks that it passed by; one that has a ledger does.
    pub fill: bool,
    /// Fewer blocks than this are executed instead.
    pub least_blocks: u64,
    /// A state that takes more bytes is not fetched.
    pub most_bytes: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Headers are proven up to a height.
    Headers {
        /// That height.
        done: u64,
        /// Where the snapshot is.
        total: u64,
    },
    /// Chunks of the state are here.
    State {
        /// So many.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// The store is being made.
    Installing,
}

/// What came of it. In every case a node can be started on the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The ledger in the folder is not far behind: nothing was done.
    NotNeeded,
    /// The store stands at this height.
    Installed {
        /// Height of the newest block in it.
        height: u64,
    },
    /// No member gave a snapshot that is right; the reason of each. The ledger has to be replayed.
    Unavailable(String),
}

/// Why it ended early. What was fetched is kept.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The genesis document.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was told to stop.
    #[error("stopped while fetching a snapshot; the next start goes on with it")]
    Stopped,
}

/// A member's offer whose parts fit together. That its block was ever decided is not proven yet.
struct Candidate {
    member: usize,
    newest: Newest,
    chunks: Vec<B256>,
}

struct Member {
    source: Box<dyn Source>,
    /// Why it is not asked any more.
    dropped: Option<String>,
}

/// What a step needs beyond its result.
enum Step {
    /// Begin again with another offer.
    Again,
    Failed(SyncError),
}

impl From<SyncError> for Step {
    fn from(error: SyncError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Step {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<GenesisError> for Step {
    fn from(error: GenesisError) -> Self {
        Self::Failed(error.into())
    }
}

struct Run<'a> {
    settings: &'a Settings,
    members: Vec<Member>,
    staging: Staging,
    /// Where the store ends.
    start: Follower,
    /// Where the proven headers end.
    follower: Follower,
    stopped: &'a dyn Fn() -> bool,
    progress: &'a mut dyn FnMut(Progress),
}

/// Fetches a snapshot from `members` and makes the store, if the folder has none, or brings the one that stands as `standing`
/// says to the snapshot's height. Blocks; `stopped` is asked now and then.
pub fn fetch(
    settings: &Settings,
    standing: Option<&Standing>,
    members: Vec<Box<dyn Source>>,
    stopped: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, SyncError> {
    let start = match standing {
        Some(standing) => standing.follower().clone(),
        None if Store::is_new(&settings.data_dir) => Follower::new(&settings.genesis)?,
        None => {
            Staging::remove(&settings.data_dir)?;
            return Ok(Outcome::NotNeeded);
        }
    };
    let (staging, follower) = Staging::open(&settings.data_dir, &start)?;
    let members = members.into_iter();
    let mut run = Run {
        settings,
        members: members.map(|source| Member { source, dropped: None }).collect(),
        staging,
        start,
        follower,
        stopped,
        progress,
    };
    for _ in 0..ROUNDS {
        match run.round() {
            Ok(Some(outcome)) => {
                drop(run);
                Staging::remove(&settings.data_dir)?;
                return Ok(outcome);
            }
            Ok(None) => break,
            Err(Step::Again) => {}
            Err(Step::Failed(error)) => return Err(error),
        }
    }
    Ok(Outcome::Unavailable(run.reasons()))
}

impl Run<'_> {
    /// One attempt with the best offer; `None` if nobody has any.
    fn round(&mut self) -> Result<Option<Outcome>, Step> {
        let mut candidates = self.candidates()?;
        if candidates.is_empty() {
            return Ok(None);
        }
        // The newest, since what is missing then is little.
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.newest.block.header.number));
        let best = &candidates[0];
        let height = best.newest.block.header.number;
        let least = self.settings.least_blocks.max(1);
        if height < self.start.height().saturating_add(least) {
            return Ok(Some(Outcome::NotNeeded));
        }
        self.follow_to(height, best.member)?;
        let proven = self.staging.header(height)?.map(|header| keccak256(&header));
        if proven != Some(best.newest.block.hash) {
            return Err(self.drop_member(best.member, "its block is not the one that the validators decided"));
        }
        self.fetch_chunks(&candidates)?;
        (self.progress)(Progress::Installing);
        let genesis = GenesisBlock::build(&self.settings.genesis)?;
        let header = alloy::rlp::encode(&genesis.header);
        let data_dir = &self.settings.data_dir;
        let best = &candidates[0];
        let base = match self.start.height() {
            0 => Base::New {
                ledger: genesis.hash,
                genesis: &header,
                membership: self.settings.fill.then_some(self.start.membership()),
            },
            height => Base::Behind {
                next: height + 1,
                membership: self.start.membership(),
            },
        };
        match Store::install(data_dir, base, &self.staging, &best.newest, &best.chunks) {
            Ok(()) => Ok(Some(Outcome::Installed { height })),
            Err(error @ InstallError::Wrong(_)) => Err(self.drop_member(best.member, error.to_string())),
            Err(InstallError::Store(error)) => Err(error.into()),
        }
    }

    fn candidates(&mut self) -> Result<Vec<Candidate>, Step> {
        let mut candidates = Vec::new();
        for member in 0..self.members.len() {
            if self.members[member].dropped.is_some() {
                continue;
            }
            match self.ask(member, |source| source.offer()) {
                Ok(bytes) => match candidate(member, &bytes) {
                    Ok(candidate) => candidates.push(candidate),
                    Err(reason) => drop(self.drop_member(member, reason)),
                },
                // It has none, and will not have one soon.
                Err(Step::Again) => drop(self.drop_member(member, "it has no snapshot to give")),
                Err(failed) => return Err(failed),
            }
        }
        Ok(candidates)
    }

    /// Proves headers up to a height.
    fn follow_to(&mut self, height: u64, member: usize) -> Result<(), Step> {
        while self.follower.height() < height {
            let done = self.follower.height();
            (self.progress)(Progress::Headers { done, total: height });
            let bytes = self.ask(member, |source| source.headers(done + 1, height))?;
            let page = match decode::<HeaderPage>(&bytes) {
                Ok(page) => page,
                Err(reason) => return Err(self.drop_member(member, reason)),
            };
            if let Err(error) = self.follower.follow(&page) {
                return Err(self.drop_member(member, error.to_string()));
            }
            self.staging.keep_page(&page, &self.follower)?;
        }
        Ok(())
    }

    /// Fetches what is missing of the first candidate's state, from all whose state has the chunk too, in turn.
    fn fetch_chunks(&mut self, candidates: &[Candidate]) -> Result<(), Step> {
        let best = &candidates[0];
        let wanted: HashSet<B256> = best.chunks.iter().copied().collect();
        let mut there = self.staging.keep_only(&wanted)?;
        let holds: Vec<(usize, HashSet<B256>)> = candidates
            .iter()
            .map(|candidate| (candidate.member, candidate.chunks.iter().copied().collect()))
            .collect();
        let (mut bytes, mut turn) = (0, 0);
        for hash in &best.chunks {
            let (done, total) = (there.len(), wanted.len());
            (self.progress)(Progress::State { done, total });
            if there.contains(hash) {
                continue;
            }
            turn += 1;
            let chunk = self.fetch_chunk(*hash, &holds, turn, best.member)?;
            bytes += chunk.len() as u64;
            if bytes > self.settings.most_bytes {
                return Err(self.drop_member(best.member, "its state is larger than this domain would keep"));
            }
            self.staging.keep_chunk(*hash, &chunk)?;
            there.insert(*hash);
        }
        Ok(())
    }

    fn fetch_chunk(
        &mut self,
        hash: B256,
        holds: &[(usize, HashSet<B256>)],
        turn: usize,
        best: usize,
    ) -> Result<Vec<u8>, Step> {
        for offset in 0..holds.len() {
            let (member, chunks) = &holds[(turn + offset) % holds.len()];
            if self.members[*member].dropped.is_some() || !chunks.contains(&hash) {
                continue;
            }
            match self.ask(*member, |source| source.chunk(hash)) {
                Ok(chunk) if chunk.len() <= MAX_CHUNK && keccak256(&chunk) == hash => return Ok(chunk),
                Ok(_) => {
                    let step = self.drop_member(*member, "a chunk that is not what it said");
                    if *member == best {
                        return Err(step);
                    }
                }
                // It may have let the state go; others may still have the chunk.
                Err(Step::Again) => {}
                Err(step) => return Err(step),
            }
        }
        Err(Step::Again)
    }

    /// Asks a member, several times if it is away. One that stays away is dropped.
    fn ask(
        &mut self,
        member: usize,
        request: impl Fn(&dyn Source) -> Result<Vec<u8>, SourceError>,
    ) -> Result<Vec<u8>, Step> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=TRIES {
            if (self.stopped)() {
                return Err(SyncError::Stopped.into());
            }
            match request(&*self.members[member].source) {
                Ok(bytes) if bytes.len() > MAX_ANSWER => {
                    return Err(self.drop_member(member, "an answer that is too large"));
                }
                Ok(bytes) => return Ok(bytes),
                Err(SourceError::Nothing(reason) | SourceError::Refused(reason)) => {
                    tracing::debug!(member = self.members[member].source.name(), reason, "nothing to fetch");
                    return Err(Step::Again);
                }
                Err(SourceError::Away(reason)) if attempt == TRIES => return Err(self.drop_member(member, reason)),
                Err(SourceError::Away(_)) => std::thread::park_timeout(pause),
            }
            pause *= 2;
        }
        Err(Step::Again)
    }

    fn drop_member(&mut self, member: usize, reason: impl Into<String>) -> Step {
        let (member, reason) = (&mut self.members[member], reason.into());
        tracing::warn!(member = member.source.name(), reason, "no snapshot from this member");
        member.dropped.get_or_insert(reason);
        Step::Again
    }

    fn reasons(&self) -> String {
        let reasons = self.members.iter().map(|member| {
            let reason = member.dropped.as_deref().unwrap_or("nothing in all attempts");
            format!("{}: {reason}", member.source.name())
        });
        reasons.collect::<Vec<_>>().join("; ")
    }
}

fn decode<T: borsh::BorshDeserialize>(bytes: &[u8]) -> Result<T, String> {
    borsh::from_slice(bytes).map_err(|error| format!("an answer that does not decode: {error}"))
}

fn candidate(member: usize, bytes: &[u8]) -> Result<Candidate, String> {
    let offer: Offer = decode(bytes)?;
    if offer.chunks.len() > MAX_CHUNKS {
        return Err(format!(
            "{} chunks; at most {MAX_CHUNKS} are allowed",
            offer.chunks.len()
        ));
    }
    let block = decode_block(&offer.block).map_err(|error| error.to_string())?;
    let receipts: Vec<ReceiptEnvelope> =
        alloy::rlp::decode_exact(&offer.receipts).map_err(|error| format!("the receipts do not decode: {error}"))?;
    if calculate_receipt_root(&receipts) != block.header.receipts_root {
        return Err("receipts that are not the block's".into());
    }
    let senders: Option<Vec<Address>> = block
        .body
        .transactions
        .iter()
        .map(|tx| tx.recover_signer().ok())
        .collect();
    Ok(Candidate {
        member,
        newest: Newest {
            senders: senders.ok_or("a transaction whose signature is none")?,
            block,
            receipts,
        },
        chunks: offer.chunks.into_iter().map(B256::from).collect(),
    })
}
