//! The sequence of all events from any point on, for ever.
//!
//! Blocks are read in order, each range from one endpoint that is known to have its last block, and the hash of the
//! last block read is checked before the next range, so that nothing is missed or repeated, whichever endpoint answers
//! and however often the connection breaks. How the connection is doing shows in [`Status`](crate::Status), not in the
//! stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use alloy::primitives::{Address, B256, U64};
use alloy::rpc::types::Log;
use futures::Stream;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::endpoint::{Endpoint, RequestError};
use crate::error::LedgerError;
use crate::event::{Cursor, Event, LedgerEvent};
use crate::head::Head;
use crate::ledger::Ledger;
use crate::rpc::Backoff;
use crate::watcher::{Seen, Waiting};

/// Blocks in the first range asked for, and in the largest.
const SPAN: (u64, u64) = (512, 4096);

/// Ends of ranges remembered, to find where a replacement began.
const TRAIL: usize = 128;

impl Ledger {
    /// All events of both contracts behind `from`, in order, first those of the past and then, as they become final,
    /// the new ones. Remember [`LedgerEvent::cursor`] with the effects of an event and resume from it.
    ///
    /// The only error item is `Reorganised`: the chain replaced blocks that counted as final. The stream goes on after
    /// it with the first block that was replaced. It ends when the client is shut down.
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
            trail: VecDeque::new(),
            times: BTreeMap::new(),
            buffer: VecDeque::new(),
            backoff: Backoff::default(),
        };
        Box::pin(futures::stream::unfold(reader, |mut reader| async move {
            let item = reader.next().await?;
            Some((item, reader))
        }))
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
    times: BTreeMap<u64, u64>,
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
                Err(Failure::Reorganised { from, was }) => return Some(Err(LedgerError::Reorganised { from, was })),
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
            return Err(Failure::Wait);
        }
        let last = settled.min(first.saturating_add(self.span - 1));
        let end = if last == head.number {
            head
        } else {
            // It lags behind what it said: wait for it.
            endpoint.block(last).await?.ok_or(Failure::Wait)?
        };
        self.check_trail(&endpoint, first, end).await?;
        let logs = self.logs(&endpoint, first, last).await?;
        let full = last - first + 1 == self.span;
        for log in logs {
            self.take(&endpoint, log).await?;
        }
        self.next = Cursor::after_block(last);
        self.trail.push_back((last, end.hash));
        if self.trail.len() > TRAIL {
            self.trail.pop_front();
        }
        if full {
            self.span = (self.span * 2).min(SPAN.1);
        }
        Ok(())
    }

    /// The last block read must still be there.
    async fn check_trail(&mut self, endpoint: &Endpoint, first: u64, end: Head) -> Result<(), Failure> {
        let Some((number, hash)) = self.trail.back().copied() else {
            return Ok(());
        };
        let now = if end.number == first && number + 1 == first {
            Some(end.parent)
        } else {
            endpoint.block(number).await?.map(|head| head.hash)
        };
        if now.ok_or(Failure::Wait)? == hash {
            return Ok(());
        }
        let mut was = (number, hash);
        self.trail.pop_back();
        while let Some((number, hash)) = self.trail.back().copied() {
            let now = endpoint.block(number).await?.ok_or(Failure::Wait)?.hash;
            if now == hash {
                break;
            }
            was = (number, hash);
            self.trail.pop_back();
        }
        self.next = match self.trail.back() {
            Some((number, _)) => Cursor::after_block(*number),
            // Older than all that is remembered.
            None => Cursor {
                block: was.0,
                log_index: 0,
            },
        };
        self.times.clear();
        let from = match self.trail.back() {
            Some((number, _)) => number + 1,
            None => was.0,
        };
        Err(Failure::Reorganised { from, was: was.1 })
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
            },
            tx,
            block_time,
            kind,
        });
        Ok(())
    }
}
