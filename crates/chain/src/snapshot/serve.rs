//! A member's side: states that newcomers are fetching, and headers.
//!
//! A state that is being fetched is a read transaction that is kept open. It costs the file the pages that blocks replace
//! meanwhile, so there are [`PINS`] of them at most, and one that nobody asks for is let go.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use alloy::consensus::Block;
use alloy::primitives::{Address, B256, Bytes};

use super::wire::{BlockPage, BlockParts, Handover, HeaderPage, MAX_ANSWER, MAX_CHUNKS, MAX_HEADERS, Offer};
use crate::ledger::Ledger;
use crate::membership;
use crate::store::{ChunkStart, Snapshot, StoreError};

/// States that are kept for newcomers at one time.
const PINS: usize = 2;

/// A state that nobody has asked for during this time is let go, so that no page is kept for those who gave up.
const UNUSED: Duration = Duration::from_secs(120);

/// A newer state is offered after this time, or when the ledger is this many blocks ahead; not for each request, since
/// making an offer reads the whole state.
const FRESH: Duration = Duration::from_secs(60);
const FRESH_BLOCKS: u64 = 256;

/// Bytes after which a page of headers ends.
const PAGE: usize = 1024 * 1024;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// There is nothing yet, or too much of it.
    #[error("no snapshot: {0}; the ledger can be followed block by block")]
    Unavailable(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Serves snapshots of one ledger. All of it blocks on the disk.
#[derive(Debug)]
pub struct SnapshotServer {
    ledger: Weak<Ledger>,
    pins: Mutex<VecDeque<Arc<Pin>>>,
    /// Offers are made one at a time.
    making: Mutex<()>,
}

#[derive(Debug)]
struct Pin {
    snapshot: Arc<Snapshot>,
    offer: Bytes,
    starts: HashMap<B256, ChunkStart>,
    made: Instant,
    used: Mutex<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pin {
    fn of(snapshot: Arc<Snapshot>) -> Result<Self, ServeError> {
        let height = snapshot.height();
        if height == 0 {
            return Err(ServeError::Unavailable("the ledger has just begun"));
        }
        let (mut starts, mut chunks) = (HashMap::new(), Vec::new());
        let mut next = Some(ChunkStart::FIRST);
        while let Some(start) = next {
            let (rows, after) = snapshot.chunk(start)?;
            let (hash, _) = rows.encode();
            starts.insert(hash, start);
            chunks.push(hash.0);
            next = after;
        }
        let missing = || StoreError::damaged(format!("block {height} is missing"));
        let block = snapshot.block_at(height)?.ok_or_else(missing)?;
        let offer = Offer {
            block: Block::rlp_encoded_from_parts(&block.header, &block.body),
            receipts: alloy::rlp::encode(snapshot.receipts_at(height)?),
            chunks,
        };
        let offer = borsh::to_vec(&offer).expect("writing to a vector does not fail");
        if starts.len() > MAX_CHUNKS || offer.len() > MAX_ANSWER {
            return Err(ServeError::Unavailable("the state is too large"));
        }
        let now = Instant::now();
        Ok(Self {
            snapshot,
            offer: offer.into(),
            starts,
            made: now,
            used: Mutex::new(now),
        })
    }
}

impl SnapshotServer {
    /// For this ledger, which it does not keep open.
    pub fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            ledger: Arc::downgrade(ledger),
            pins: Mutex::default(),
            making: Mutex::default(),
        }
    }

    /// An encoded [`Offer`] of a recent state, which is kept for a while.
    pub fn offer(&self) -> Result<Bytes, ServeError> {
        let _one_at_a_time = lock(&self.making);
        self.let_go();
        let snapshot = self.ledger()?.head().snapshot().clone();
        if let Some(pin) = lock(&self.pins).back()
            && pin.made.elapsed() < FRESH
            && pin.snapshot.height() + FRESH_BLOCKS >= snapshot.height()
        {
            *lock(&pin.used) = Instant::now();
            return Ok(pin.offer.clone());
        }
        let pin = Arc::new(Pin::of(snapshot)?);
        let mut pins = lock(&self.pins);
        if pins.len() == PINS {
            pins.pop_front();
        }
        pins.push_back(pin.clone());
        Ok(pin.offer.clone())
    }

    /// A chunk of one of the states that are kept; `None` if it is in none.
    pub fn chunk(&self, hash: B256) -> Result<Option<Bytes>, ServeError> {
        let pin = lock(&self.pins)
            .iter()
            .find(|pin| pin.starts.contains_key(&hash))
            .cloned();
        let Some(pin) = pin else { return Ok(None) };
        *lock(&pin.used) = Instant::now();
        let Some(start) = pin.starts.get(&hash) else {
            return Ok(None);
        };
        let (rows, _) = pin.snapshot.chunk(*start)?;
        Ok(Some(rows.encode().1.into()))
    }

    /// An encoded [`HeaderPage`] that begins at `from` and goes no further than `to`; `None` if there is none.
    pub fn headers(&self, from: u64, to: u64) -> Result<Option<Bytes>, ServeError> {
        let snapshot = self.ledger()?.head().snapshot().clone();
        let to = to.min(snapshot.height()).min(from.saturating_add(MAX_HEADERS - 1));
        let mut page = HeaderPage {
            headers: Vec::new(),
            handovers: Vec::new(),
            certificate: Vec::new(),
        };
        // Where the page can end: at the last header so far that has a certificate.
        let (mut end, mut bytes) = (None, 0);
        for height in from.max(1)..=to {
            let missing = || StoreError::damaged(format!("block {height} is missing"));
            let (header, _) = snapshot.header_at(height)?.ok_or_else(missing)?;
            let encoded = alloy::rlp::encode(&header);
            let certificate = snapshot.certificate_at(height)?;
            bytes += encoded.len();
            if membership::may_have_changed(&header.logs_bloom) {
                let receipts = alloy::rlp::encode(snapshot.receipts_at(height)?);
                bytes += receipts.len();
                page.handovers.push(Handover {
                    height,
                    certificate: certificate.clone().ok_or_else(missing)?.to_vec(),
                    receipts,
                });
            }
            page.headers.push(encoded);
            if let Some(certificate) = certificate {
                end = Some((height, certificate));
                if bytes >= PAGE {
                    break;
                }
            }
        }
        let Some((last, certificate)) = end else {
            return Ok(None);
        };
        page.headers.truncate((last + 1 - from.max(1)) as usize);
        page.handovers.retain(|handover| handover.height <= last);
        page.certificate = certificate.to_vec();
        let page = borsh::to_vec(&page).expect("writing to a vector does not fail");
        Ok((page.len() <= MAX_ANSWER).then(|| page.into()))
    }

    /// Height of the newest block.
    pub fn height(&self) -> Result<u64, ServeError> {
        Ok(self.ledger()?.head().height())
    }

    /// Whether an account is a member now.
    pub fn is_member(&self, account: &Address) -> bool {
        let ledger = self.ledger.upgrade();
        ledger.is_some_and(|ledger| ledger.head().is_member(account))
    }

    /// An encoded [`BlockPage`] that begins at `from` and goes no further than `to`; `None` if the first is pruned or above the
    /// newest.
    pub fn blocks(&self, from: u64, to: u64) -> Result<Option<Bytes>, ServeError> {
        let snapshot = self.ledger()?.head().snapshot().clone();
        let to = to.min(snapshot.height()).min(from.saturating_add(MAX_HEADERS - 1));
        let (mut page, mut bytes) = (BlockPage { blocks: Vec::new() }, 0);
        for height in from.max(1)..=to {
            let block = match snapshot.block_at(height) {
                Err(StoreError::Pruned { .. }) if page.blocks.is_empty() => return Ok(None),
                Err(StoreError::Pruned { .. } | StoreError::Awaited { .. }) if !page.blocks.is_empty() => break,
                block => block?,
            };
            let (Some(block), Some(certificate)) = (block, snapshot.certificate_at(height)?) else {
                break;
            };
            let parts = BlockParts {
                certificate: certificate.to_vec(),
                transactions: alloy::rlp::encode(&block.body.transactions),
                receipts: alloy::rlp::encode(snapshot.receipts_at(height)?),
            };
            bytes += parts.certificate.len() + parts.transactions.len() + parts.receipts.len();
            page.blocks.push(parts);
            if bytes >= PAGE {
                break;
            }
        }
        if page.blocks.is_empty() {
            return Ok(None);
        }
        let page = borsh::to_vec(&page).expect("writing to a vector does not fail");
        Ok((page.len() <= MAX_ANSWER).then(|| page.into()))
    }

    /// Height of the oldest state that is being fetched: blocks from there on are still needed.
    pub fn oldest(&self) -> Option<u64> {
        lock(&self.pins).iter().map(|pin| pin.snapshot.height()).min()
    }

    /// Lets go of states that nobody fetches any more.
    pub fn let_go(&self) {
        lock(&self.pins).retain(|pin| lock(&pin.used).elapsed() < UNUSED);
    }

    /// Lets go of everything: the node stops.
    pub fn close(&self) {
        lock(&self.pins).clear();
    }

    fn ledger(&self) -> Result<Arc<Ledger>, ServeError> {
        self.ledger.upgrade().ok_or(ServeError::Stopped)
    }
}
