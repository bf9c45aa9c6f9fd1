//! Finding logs through the index.
//!
//! For each criterion of a query (the addresses, the values of a topic position) the index gives the heights of the blocks
//! that have a matching log. The heights that all criteria share are found by leaping: the criterion that is behind seeks
//! to where the foremost is, so that a query costs as much as its rarest criterion, however many blocks there are.

use alloy::consensus::{ReceiptEnvelope, TxEnvelope, TxReceipt};
use alloy::primitives::{Address, B256, Log};

use super::error::StoreError;
use super::snapshot::Snapshot;
use super::tables;

/// Logs one query can return.
pub const MAX_LOGS: usize = 10_000;

/// Index look-ups and transactions one query can cost: half a second or so.
const MAX_WORK: usize = 200_000;

/// Which logs to find: in a range of blocks, from one of the addresses, with one of the values at each topic position. An
/// empty list means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// First block.
    pub from: u64,
    /// Last block; those above the tip are ignored.
    pub to: u64,
    /// Contracts.
    pub addresses: Vec<Address>,
    /// Values by topic position.
    pub topics: [Vec<B256>; 4],
}

/// A log and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLog {
    /// The log itself.
    pub log: Log,
    /// Height of its block.
    pub height: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Unix time of its block, seconds.
    pub timestamp: u64,
    /// Its transaction.
    pub transaction_hash: B256,
    /// Index of the transaction in the block.
    pub transaction_index: u64,
    /// Index of the log in the block.
    pub log_index: u64,
}

/// Why logs are not returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogQueryError {
    /// Too many match.
    #[error(
        "more than {MAX_LOGS} logs match; ask for fewer blocks at a time, e.g. from {from} to {reached}, or name an \
         address and topics"
    )]
    TooManyLogs {
        /// First block of the query.
        from: u64,
        /// Last block whose logs were all found.
        reached: u64,
    },
    /// Finding them takes too long.
    #[error(
        "the search takes too long; ask for fewer blocks at a time, e.g. from {from} to {reached}, or name an address \
         and topics"
    )]
    TooMuchWork {
        /// First block of the query.
        from: u64,
        /// Last block that was searched.
        reached: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The values that a log may have at one position.
struct Criterion {
    position: u8,
    values: Vec<B256>,
}

impl Criterion {
    /// The lowest height from `from` to `to` of a block with a matching log.
    fn seek(&self, snapshot: &Snapshot, from: u64, to: u64) -> Result<Option<u64>, StoreError> {
        let mut lowest = None;
        for value in &self.values {
            let first = tables::log_key(self.position, &value.0, from);
            let last = tables::log_key(self.position, &value.0, to);
            let Some(entry) = snapshot.logs.range::<&[u8; 41]>(&first..=&last)?.next() else {
                continue;
            };
            let (key, _) = entry?;
            let height = u64::from_be_bytes(*key.value().last_chunk().expect("a key of 41 bytes has a last 8"));
            lowest = Some(lowest.map_or(height, |lowest: u64| lowest.min(height)));
        }
        Ok(lowest)
    }
}

impl LogQuery {
    /// Whether a log matches, apart from its block.
    pub fn matches(&self, log: &Log) -> bool {
        let any_or =
            |list: &[B256], value: Option<&B256>| list.is_empty() || value.is_some_and(|value| list.contains(value));
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && (0..4).all(|position| any_or(&self.topics[position], log.topics().get(position)))
    }

    /// All matching logs, oldest first. Refused if the range has a block whose logs are not here.
    pub fn run(&self, snapshot: &Snapshot) -> Result<Vec<FoundLog>, LogQueryError> {
        snapshot.check_history(self.from, self.to.min(snapshot.height()))?;
        let criteria = self.criteria();
        let to = self.to.min(snapshot.height());
        let mut work = 0;
        let mut found = Vec::new();
        let mut height = self.from;
        while height <= to {
            let too_much = |height: u64| LogQueryError::TooMuchWork {
                from: self.from,
                reached: height.saturating_sub(1),
            };
            // Leap until all criteria agree on a height.
            let mut agreed = true;
            for criterion in &criteria {
                work += criterion.values.len();
                match criterion.seek(snapshot, height, to)? {
                    None => return Ok(found),
                    Some(next) if next > height => {
                        height = next;
                        agreed = false;
                    }
                    Some(_) => {}
                }
            }
            if agreed {
                work += 1 + self.search_block(snapshot, height, &mut found)?;
                if found.len() > MAX_LOGS {
                    return Err(LogQueryError::TooManyLogs {
                        from: self.from,
                        reached: height.saturating_sub(1),
                    });
                }
                height += 1;
            }
            if work > MAX_WORK {
                return Err(too_much(height));
            }
        }
        Ok(found)
    }

    fn criteria(&self) -> Vec<Criterion> {
        let addresses = Criterion {
            position: 0,
            values: self.addresses.iter().map(Address::into_word).collect(),
        };
        let topics = (1..).zip(&self.topics).map(|(position, values)| Criterion {
            position,
            values: values.clone(),
        });
        std::iter::once(addresses)
            .chain(topics)
            .filter(|criterion| !criterion.values.is_empty())
            .collect()
    }

    /// Adds a block's matching logs, and returns the number of its transactions.
    fn search_block(&self, snapshot: &Snapshot, height: u64, found: &mut Vec<FoundLog>) -> Result<usize, StoreError> {
        let receipts = snapshot.receipts_at(height)?;
        if !receipts.iter().flat_map(TxReceipt::logs).any(|log| self.matches(log)) {
            return Ok(receipts.len());
        }
        let missing = || StoreError::damaged(format!("block {height} has receipts but no body"));
        let block = snapshot.block_at(height)?.ok_or_else(missing)?;
        let place = BlockPlace {
            height,
            hash: block.hash,
            timestamp: block.header.timestamp,
        };
        found.extend(logs_of(place, &block.body.transactions, &receipts).filter(|found| self.matches(&found.log)));
        Ok(receipts.len())
    }
}

/// Which block a log is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlace {
    /// Height of the block.
    pub height: u64,
    /// Its hash.
    pub hash: B256,
    /// Its Unix time, seconds.
    pub timestamp: u64,
}

/// All logs of a block in order, with their places.
pub fn logs_of<'a>(
    block: BlockPlace,
    transactions: &'a [TxEnvelope],
    receipts: &'a [ReceiptEnvelope],
) -> impl Iterator<Item = FoundLog> + 'a {
    let of_transaction = |((index, transaction), receipt): ((u64, &'a TxEnvelope), &'a ReceiptEnvelope)| {
        let hash = *transaction.tx_hash();
        receipt.logs().iter().map(move |log| (index, hash, log))
    };
    (0..)
        .zip(transactions)
        .zip(receipts)
        .flat_map(of_transaction)
        .zip(0..)
        .map(
            move |((transaction_index, transaction_hash, log), log_index)| FoundLog {
                log: log.clone(),
                height: block.height,
                block_hash: block.hash,
                timestamp: block.timestamp,
                transaction_hash,
                transaction_index,
                log_index,
            },
        )
}
