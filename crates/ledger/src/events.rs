//! The sequence of all events from any point on, for ever.
//!
//! Blocks are read in order, each range from one endpoint that is known to have its last block, and the hash of the
//! last block read is checked before the next range, so that nothing is missed or repeated, whichever endpoint answers
//! and however often the connection breaks. How the connection is doing shows in [`Status`](crate::Status), not in the
//! stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::primitives::{Address, B256, U64};
use alloy::rpc::types::Log;
use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::endpoint::{Endpoint, RequestError};
use crate::error::LedgerError;
use crate::event::{Cursor, Event, LedgerEvent};
use crate::head::Head;
use crate::ledger::{Ledger, REACH};
use crate::rpc::Backoff;
use crate::sender::Ask;
use crate::watcher::{Heads, Seen, Waiting};

/// Blocks in the first range asked for, and in the largest.
const SPAN: (u64, u64) = (512, 4096);

/// What nodes answer for blocks that they do not have any more (Geth's code).
const PRUNED: i64 = 4444;

/// Ends of ranges remembered, to find where a replacement began.
const TRAIL: usize = 128;

impl Ledger {
    /// All events of both contracts behind `from`, in order, first those of the past and then, as they become final,
    /// the new ones. Remember [`LedgerEvent::cursor`] with the effects of an event and resume from it.
    ///
    /// Two error items can come, and the stream goes on after them. `Reorganised`: the chain replaced blocks that counted as final, also if that happened while
    /// nobody listened and `from` has a hash. The commands in them are sent again, and the stream goes on with the block
    /// that the error names, so go back to [`Cursor::before_block`] of it. `HistoryPruned`: the node has not kept the
    /// events behind `from` any more; the next event is the first that it has. From [`Cursor::START`] on, before which nothing was
    /// promised, the stream begins there without such an item. It ends when the client is shut down.
    pub fn events(&self, from: Cursor) -> impl Stream<Item = Result<LedgerEvent, LedgerError>> + Send + Unpin + use<> {
        let heads = self.heads();
        let reader = Reader {
            blocks: heads.subscribe(),
            over: heads.over(),
            _listening: heads.listening(),
            contracts: [self.config().consortium, self.config().federation],
            confirmations: self.config().confirmations,
            next: from,
            span: SPAN.0,
            trail: from.hash.map(|hash| (from.block, hash)).into_iter().collect(),
            checked: None,
            sender: self.asks(),
            shared: heads.clone(),
            times: BTreeMap::new(),
            done: heads.read_up_to(),
            buffer: VecDeque::new(),
            backoff: Backoff::default(),
        };
        Box::pin(futures::stream::unfold(reader, |mut reader| async move {
            let item = reader.next().await?;
            Some((item, reader))
        }))
    }

    /// How many settled blocks there are whose events have not all been dealt with by whoever reads [`Self::events`]; `None`
    /// until a block was seen. With several streams, that which went on last counts.
    pub fn event_lag(&self) -> Option<u64> {
        let head = self.heads().newest()?.head.number;
        let settled = head.saturating_sub(self.config().confirmations);
        Some(settled.saturating_sub(self.heads().read_up_to().load(Ordering::Relaxed)))
    }
}

struct Reader {
    blocks: watch::Receiver<Option<Seen>>,
    over: watch::Receiver<bool>,
    _listening: Waiting,
    contracts: [Address; 2],
    confirmations: u64,
    next: Cursor,
    span: u64,
    /// Last blocks of the ranges read, oldest first.
    trail: VecDeque<(u64, B256)>,
    /// Newest block at which the trail was seen to be still there.
    checked: Option<B256>,
    /// Sends again what was undone.
    sender: mpsc::WeakSender<Ask>,
    shared: Heads,
    times: BTreeMap<u64, u64>,
    /// The block up to which whoever reads the stream has dealt with all events.
    done: Arc<AtomicU64>,
    buffer: VecDeque<LedgerEvent>,
    backoff: Backoff,
}

/// Why a range could not be read.
enum Failure {
    /// Nothing new yet.
    Wait,
    /// Try again later, with a smaller range.
    Request(RequestError),
    Reorganised {
        from: u64,
        was: B256,
    },
    /// The endpoint has no events before `first` any more.
    Pruned {
        from: u64,
        first: u64,
    },
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl Reader {
    async fn next(&mut self) -> Option<Result<LedgerEvent, LedgerError>> {
        loop {
            if let Some(event) = self.buffer.pop_front() {
                return Some(Ok(event));
            }
            // It asks for the next one when it is done with those before.
            if self.next.log_index == u64::MAX {
                self.done.store(self.next.block, Ordering::Relaxed);
            }
            if *self.over.borrow() {
                return None;
            }
            match self.read().await {
                Ok(()) => self.backoff.reset(),
                Err(Failure::Wait) => tokio::select! {
                    changed = self.blocks.changed() => changed.ok()?,
                    _ = self.over.wait_for(|over| *over) => return None,
                },
                Err(Failure::Request(error)) => {
                    tracing::debug!(?error, from = self.next.block, span = self.span, "reading events again");
                    self.span = (self.span / 2).max(1);
                    let wait = self.backoff.next();
                    tokio::select! {
                        () = sleep(wait) => {}
                        _ = self.over.wait_for(|over| *over) => return None,
                    }
                }
                Err(Failure::Reorganised { from, was }) => {
                    // Whoever reads or repeats a command after this must not rely on what is gone.
                    self.shared.replaced(from);
                    if let Some(sender) = self.sender.upgrade() {
                        let _ = sender.send(Ask::Replaced { from }).await;
                    }
                    return Some(Err(LedgerError::Reorganised { from, was }));
                }
                Err(Failure::Pruned { from, first }) => return Some(Err(LedgerError::HistoryPruned { from, first })),
            }
        }
    }

    /// Reads the next range into the buffer.
    async fn read(&mut self) -> Result<(), Failure> {
        // From here on a newer block wakes us.
        let seen = self.blocks.borrow_and_update().clone();
        let Seen { head, endpoint } = seen.ok_or(Failure::Wait)?;
        let settled = head.number.checked_sub(self.confirmations).ok_or(Failure::Wait)?;
        let first = if self.next.log_index == u64::MAX {
            self.next.block.saturating_add(1)
        } else {
            self.next.block
        };
        if first > settled {
            self.check_again(&endpoint, head).await?;
            return Err(Failure::Wait);
        }
        let last = settled.min(first.saturating_add(self.span - 1));
        let (end, logs) = match self.range(&endpoint, head, first, last).await {
            Err(Failure::Request(RequestError::Answer { code: PRUNED, .. })) => {
                return self.skip_pruned(&endpoint, first, settled).await;
            }
            range => range?,
        };
        let full = last - first + 1 == self.span;
        for log in logs {
            self.take(&endpoint, log).await?;
        }
        self.next = Cursor::after_block(last);
        self.trail.push_back((last, end.hash));
        self.checked = Some(head.hash);
        if self.trail.len() > TRAIL {
            self.trail.pop_front();
        }
        if full {
            self.span = (self.span * 2).min(SPAN.1);
        }
        Ok(())
    }

    /// The last block of a range and the logs in it, if it follows what was read before.
    async fn range(
        &mut self,
        endpoint: &Endpoint,
        head: Head,
        first: u64,
        last: u64,
    ) -> Result<(Head, Vec<Log>), Failure> {
        let end = if last == head.number {
            head
        } else {
            // It lags behind what it said: wait for it.
            endpoint.block(last).await?.ok_or(Failure::Wait)?
        };
        self.check_trail(endpoint, end).await?;
        Ok((end, self.logs(endpoint, first, last).await?))
    }

    /// Goes on with the first block whose logs the endpoint still has.
    async fn skip_pruned(&mut self, endpoint: &Endpoint, from: u64, settled: u64) -> Result<(), Failure> {
        let (mut pruned, mut kept) = (from, settled);
        while kept - pruned > 1 {
            let middle = pruned + (kept - pruned) / 2;
            match self.logs(endpoint, middle, middle).await {
                Ok(_) => kept = middle,
                Err(Failure::Request(RequestError::Answer { code: PRUNED, .. })) => pruned = middle,
                Err(failure) => return Err(failure),
            }
        }
        let anew = self.next == Cursor::START;
        self.next = Cursor::before_block(kept);
        self.trail.clear();
        if anew {
            tracing::info!(
                first = kept,
                "the ledger node has no older events; starting with those of this block"
            );
            return Ok(());
        }
        Err(Failure::Pruned { from, first: kept })
    }

    /// The last block read must still be there.
    async fn check_trail(&mut self, endpoint: &Endpoint, end: Head) -> Result<(), Failure> {
        let Some((number, hash)) = self.trail.back().copied() else {
            return Ok(());
        };
        if hash_at(endpoint, number, end).await? == hash {
            return Ok(());
        }
        Err(self.go_back(endpoint, self.trail.len() - 1).await?)
    }

    /// There is nothing new to read. The blocks that were read may have been replaced all the same, by no more than there
    /// were.
    async fn check_again(&mut self, endpoint: &Endpoint, head: Head) -> Result<(), Failure> {
        if self.checked == Some(head.hash) {
            return Ok(());
        }
        // What lies above is not known here yet, or not any more: the next blocks tell.
        if let Some(index) = self.trail.iter().rposition(|(number, _)| *number <= head.number) {
            let (number, hash) = self.trail[index];
            if hash_at(endpoint, number, head).await? != hash {
                return Err(self.go_back(endpoint, index).await?);
            }
        }
        self.checked = Some(head.hash);
        Ok(())
    }

    /// Back to the last block read that is still there; the one at `gone` in the trail is not.
    async fn go_back(&mut self, endpoint: &Endpoint, gone: usize) -> Result<Failure, Failure> {
        let mut left = gone;
        while let Some((number, hash)) = left.checked_sub(1).map(|index| self.trail[index]) {
            if endpoint.block(number).await?.ok_or(Failure::Wait)?.hash == hash {
                break;
            }
            left -= 1;
        }
        let (number, was) = self.trail[left];
        self.trail.truncate(left);
        let from = match self.trail.back() {
            Some((number, _)) => number + 1,
            // Older than all that is remembered: as far as replacements are looked for.
            None => number.saturating_sub(REACH),
        };
        self.next = Cursor::before_block(from);
        self.times.clear();
        Ok(Failure::Reorganised { from, was })
    }

    async fn logs(&self, endpoint: &Endpoint, first: u64, last: u64) -> Result<Vec<Log>, Failure> {
        let filter = serde_json::json!({
            "address": self.contracts,
            "fromBlock": U64::from(first),
            "toBlock": U64::from(last),
        });
        let mut logs: Vec<Log> = endpoint.request("eth_getLogs", (filter,)).await?;
        logs.retain(|log| !log.removed);
        let outside = |log: &Log| {
            log.log_index.is_none()
                || !log.block_number.is_some_and(|number| (first..=last).contains(&number))
                || !self.contracts.contains(&log.address())
        };
        if logs.iter().any(outside) {
            let detail = "logs that were not asked for".to_owned();
            return Err(RequestError::Form(detail).into());
        }
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        Ok(logs)
    }

    async fn take(&mut self, endpoint: &Arc<Endpoint>, log: Log) -> Result<(), Failure> {
        let (Some(block), Some(index), Some(tx)) = (log.block_number, log.log_index, log.transaction_hash) else {
            return Err(RequestError::Form("a log without its place".into()).into());
        };
        let start = self.buffer.back().map_or(self.next, |event| event.cursor);
        if (block, index) < (start.block, start.log_index) {
            return Ok(());
        }
        let Some(kind) = Event::decode(&log.inner.data) else {
            tracing::warn!(%tx, block, index, "a contract event that is not known here; is this version older than the contracts?");
            return Ok(());
        };
        let block_time = match (log.block_timestamp, self.times.get(&block)) {
            (Some(time), _) => time,
            (None, Some(time)) => *time,
            (None, None) => {
                let head = endpoint.block(block).await?.ok_or(Failure::Wait)?;
                self.times.insert(block, head.time);
                if self.times.len() > TRAIL {
                    self.times.pop_first();
                }
                head.time
            }
        };
        self.buffer.push_back(LedgerEvent {
            cursor: Cursor {
                block,
                log_index: index + 1,
                hash: log.block_hash,
            },
            tx,
            block_time,
            kind,
        });
        Ok(())
    }
}

/// Hash of the block of that height on the chain that ends with `end`.
async fn hash_at(endpoint: &Endpoint, number: u64, end: Head) -> Result<B256, Failure> {
    if number == end.number {
        return Ok(end.hash);
    }
    if number + 1 == end.number {
        return Ok(end.parent);
    }
    // It lags behind what it said: wait for it.
    Ok(endpoint.block(number).await?.ok_or(Failure::Wait)?.hash)
}
