//! Filters that clients poll (`eth_newFilter` and its kin). A filter is only a place to go on from; nothing is collected.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy::primitives::U256;
use alloy::rpc::types::{Filter, FilterBlockOption, FilterChanges, Log};

use super::error::RpcError;
use super::{convert, read};
use crate::ledger::Ledger;

/// Filters there can be at a time.
const CAPACITY: usize = 1024;

/// A filter that nobody asks for this long is gone, as in other clients.
const IDLE: Duration = Duration::from_secs(300);

/// Blocks one answer covers; the rest comes with the next.
const MAX_BLOCKS: u64 = 10_000;

/// What is collected, and from where on.
#[derive(Debug, Clone)]
struct Cursor {
    /// `None` for block hashes.
    filter: Option<Filter>,
    /// First block that was not reported yet.
    next: u64,
    used: Instant,
}

/// The filters of one server.
#[derive(Debug, Default)]
pub struct Filters(Mutex<HashMap<U256, Cursor>>);

impl Filters {
    /// A new filter; `None` collects block hashes.
    pub fn install(&self, ledger: &Ledger, filter: Option<Filter>) -> Result<U256, RpcError> {
        if let Some(filter) = &filter {
            read::criteria(filter)?;
        }
        let now = Instant::now();
        let mut cursors = self.cursors();
        cursors.retain(|_, cursor| now.duration_since(cursor.used) < IDLE);
        if cursors.len() >= CAPACITY {
            return Err(RpcError::Limit(format!(
                "{CAPACITY} filters are installed; uninstall some, or wait until they expire"
            )));
        }
        let id = U256::from(rand::random::<u128>());
        let next = ledger.head().height() + 1;
        let cursor = Cursor {
            filter,
            next,
            used: now,
        };
        cursors.insert(id, cursor);
        Ok(id)
    }

    /// Whether there was such a filter.
    pub fn uninstall(&self, id: U256) -> bool {
        self.cursors().remove(&id).is_some()
    }

    /// What came since the filter was asked last.
    pub fn changes(&self, ledger: &Ledger, id: U256) -> Result<FilterChanges, RpcError> {
        // Locked all the while, so that two requests at a time don't get the same blocks.
        let mut cursors = self.cursors();
        let cursor = cursors.get_mut(&id).ok_or_else(unknown)?;
        cursor.used = Instant::now();
        let head = ledger.head();
        let (from, to) = (cursor.next, head.height().min(cursor.next + MAX_BLOCKS - 1));
        if from > to {
            return Ok(FilterChanges::Empty);
        }
        let changes = match &cursor.filter {
            None => {
                let mut hashes = Vec::new();
                for height in from..=to {
                    if let Some((_, hash)) = head.snapshot().header_at(height)? {
                        hashes.push(hash);
                    }
                }
                FilterChanges::Hashes(hashes)
            }
            Some(filter) => FilterChanges::Logs(logs_between(ledger, filter, from, to)?),
        };
        cursor.next = to + 1;
        Ok(changes)
    }

    /// All that a log filter matches in the range it was made with.
    pub fn logs(&self, ledger: &Ledger, id: U256) -> Result<Vec<Log>, RpcError> {
        let filter = {
            let mut cursors = self.cursors();
            let cursor = cursors.get_mut(&id).ok_or_else(unknown)?;
            cursor.used = Instant::now();
            cursor.filter.clone()
        };
        let filter = filter.ok_or_else(|| RpcError::InvalidParams("this filter collects block hashes".into()))?;
        Ok(read::logs(ledger, &filter)?.into_iter().map(convert::log).collect())
    }

    fn cursors(&self) -> MutexGuard<'_, HashMap<U256, Cursor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown() -> RpcError {
    RpcError::NotFound("filter".into())
}

/// The logs of new blocks that are also in the range that the filter was made with.
fn logs_between(ledger: &Ledger, filter: &Filter, from: u64, to: u64) -> Result<Vec<Log>, RpcError> {
    let head = ledger.head();
    let FilterBlockOption::Range { from_block, to_block } = &filter.block_option else {
        return Ok(Vec::new());
    };
    let bounds = LogBounds {
        first: from_block.map_or(0, |tag| read::height(tag, 0)),
        last: to_block.map_or(u64::MAX, |tag| read::height(tag, u64::MAX)),
    };
    let (from, to) = (from.max(bounds.first), to.min(bounds.last));
    if from > to {
        return Ok(Vec::new());
    }
    let narrowed = filter.clone().select(from..=to);
    let query = read::log_query(head.snapshot(), &narrowed)?;
    Ok(query.run(head.snapshot())?.into_iter().map(convert::log).collect())
}

/// The range of a filter, seen from blocks that are all new: `latest` is no bound for them.
struct LogBounds {
    first: u64,
    last: u64,
}
