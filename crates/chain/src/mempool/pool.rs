//! The waiting transactions: pure bookkeeping. State, input and result only; what the ledger says about accounts comes in as
//! arguments.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Transaction, TxEnvelope};
use alloy::primitives::{Address, B256, Bytes, U256};

use super::rejection::Rejection;

/// Bytes that a transaction takes in a block beside its own: the RLP string header.
const PREFIX_BYTES: usize = 4;

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transactions of one sender, and how far ahead of its account a nonce may be.
    pub per_sender: usize,
    /// Transactions in all.
    pub total: usize,
    /// Their encoded bytes in all.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_sender: 4096,
            total: 16_384,
            bytes: 16 * 1024 * 1024,
        }
    }
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Transactions, those behind a nonce gap included.
    pub transactions: usize,
    /// Those that could go into the next block.
    pub ready: usize,
    /// Encoded bytes of all.
    pub bytes: usize,
}

/// A transaction that waits.
#[derive(Debug, Clone)]
pub struct Pooled {
    /// The transaction with its sender.
    pub transaction: Recovered<TxEnvelope>,
    /// EIP-2718 encoding, as it is passed on.
    pub encoded: Bytes,
    /// When it was taken.
    pub since: Instant,
    /// Order of arrival.
    arrival: u64,
}

impl Pooled {
    /// Hash of the transaction.
    pub fn hash(&self) -> B256 {
        *self.transaction.tx_hash()
    }
}

/// What the state of the newest block says about a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The nonce of its next transaction.
    pub nonce: u64,
    /// What it owns, in wei.
    pub balance: U256,
}

/// What became of an accepted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It waits now.
    New,
    /// It waits in the place of another with the same nonce.
    Replaced,
    /// It was waiting already; nothing changed.
    Known,
}

/// The transactions of one sender.
#[derive(Debug, Default)]
struct Queue {
    /// The account's nonce.
    next: u64,
    /// How many follow `next` without a gap.
    ready: u64,
    waiting: BTreeMap<u64, Arc<Pooled>>,
}

impl Queue {
    fn extend_ready(&mut self) {
        while self.waiting.contains_key(&(self.next + self.ready)) {
            self.ready += 1;
        }
    }
}

/// The pool.
#[derive(Debug, Default)]
pub struct Pool {
    limits: Limits,
    queues: HashMap<Address, Queue>,
    by_hash: HashMap<B256, Arc<Pooled>>,
    bytes: usize,
    arrivals: u64,
    ready: usize,
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Transactions that could go into the next block.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// All waiting transactions, those behind a gap included.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// What waits.
    pub fn load(&self) -> Load {
        Load {
            transactions: self.len(),
            ready: self.ready,
            bytes: self.bytes,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// A waiting transaction.
    pub fn get(&self, hash: &B256) -> Option<&Arc<Pooled>> {
        self.by_hash.get(hash)
    }

    /// The nonce that follows the sender's ready transactions; `None` if none of its transactions wait.
    pub fn pending_nonce(&self, sender: &Address) -> Option<u64> {
        self.queues.get(sender).map(|queue| queue.next + queue.ready)
    }

    /// Takes a transaction whose sender's account is `account`.
    pub fn insert(
        &mut self,
        transaction: Recovered<TxEnvelope>,
        encoded: Bytes,
        account: Account,
        now: Instant,
    ) -> Result<Accepted, Rejection> {
        let hash = *transaction.tx_hash();
        if self.by_hash.contains_key(&hash) {
            return Ok(Accepted::Known);
        }
        let (sender, nonce) = (transaction.signer(), transaction.nonce());
        self.check_account(&transaction, account)?;
        let queue = self.queues.get(&sender);
        let replaced = queue.and_then(|queue| queue.waiting.get(&nonce)).cloned();
        if let Some(replaced) = &replaced {
            let (offered, waiting) = (transaction.max_fee_per_gas(), replaced.transaction.max_fee_per_gas());
            if offered < waiting {
                return Err(Rejection::Underpriced { offered, waiting });
            }
        } else {
            let waiting = queue.map_or(0, |queue| queue.waiting.len());
            if waiting >= self.limits.per_sender {
                return Err(Rejection::SenderFull(waiting));
            }
            if self.len() >= self.limits.total || self.bytes + encoded.len() > self.limits.bytes {
                return Err(Rejection::PoolFull(self.len()));
            }
        }

        self.bytes += encoded.len();
        let arrival = match &replaced {
            // A replacement keeps its place.
            Some(replaced) => {
                self.bytes -= replaced.encoded.len();
                self.by_hash.remove(&replaced.hash());
                replaced.arrival
            }
            None => {
                self.arrivals += 1;
                self.arrivals
            }
        };
        let pooled = Arc::new(Pooled {
            transaction,
            encoded,
            since: now,
            arrival,
        });
        self.by_hash.insert(hash, pooled.clone());
        self.with_queue(sender, |queue| {
            if queue.waiting.is_empty() {
                queue.next = account.nonce;
            }
            queue.waiting.insert(nonce, pooled);
        });
        Ok(if replaced.is_some() {
            Accepted::Replaced
        } else {
            Accepted::New
        })
    }

    fn check_account(&self, transaction: &Recovered<TxEnvelope>, account: Account) -> Result<(), Rejection> {
        let (next, nonce) = (account.nonce, transaction.nonce());
        if nonce < next {
            return Err(Rejection::NonceTooLow { next, nonce });
        }
        let ahead = self.limits.per_sender as u64;
        if nonce - next >= ahead {
            return Err(Rejection::NonceTooHigh { next, nonce, ahead });
        }
        let fee = U256::from(transaction.max_fee_per_gas()) * U256::from(transaction.gas_limit());
        let want = fee.saturating_add(transaction.value());
        if want > account.balance {
            return Err(Rejection::InsufficientFunds {
                have: account.balance,
                want,
            });
        }
        Ok(())
    }

    /// The ready transactions by arrival, each sender's by nonce, until they have `bytes` bytes.
    pub fn best(&self, mut bytes: usize) -> Vec<Arc<Pooled>> {
        let first = |queue: &Queue| queue.waiting.get(&queue.next).cloned();
        let mut heads: BinaryHeap<Reverse<(u64, Address, u64)>> = self
            .queues
            .iter()
            .filter_map(|(sender, queue)| Some(Reverse((first(queue)?.arrival, *sender, queue.next))))
            .collect();
        let mut best = Vec::new();
        while let Some(Reverse((_, sender, nonce))) = heads.pop() {
            let waiting = &self.queues[&sender].waiting;
            let Some(transaction) = waiting.get(&nonce) else {
                continue;
            };
            let Some(left) = bytes.checked_sub(transaction.encoded.len() + PREFIX_BYTES) else {
                break;
            };
            bytes = left;
            best.push(transaction.clone());
            if let Some(following) = waiting.get(&(nonce + 1)) {
                heads.push(Reverse((following.arrival, sender, nonce + 1)));
            }
        }
        best
    }

    /// Drops a transaction that turned out to be impossible.
    pub fn remove(&mut self, hash: &B256) {
        if let Some(pooled) = self.by_hash.remove(hash) {
            self.bytes -= pooled.encoded.len();
            let nonce = pooled.transaction.nonce();
            self.with_queue(pooled.transaction.signer(), |queue| {
                queue.waiting.remove(&nonce);
                queue.ready = 0;
            });
        }
    }

    /// Drops what a block made stale: transactions of `sender` below its new `nonce`.
    pub fn advance(&mut self, sender: Address, nonce: u64) {
        let Some(queue) = self.queues.get_mut(&sender) else {
            return;
        };
        let rest = queue.waiting.split_off(&nonce);
        let stale = std::mem::replace(&mut queue.waiting, rest);
        for pooled in stale.values() {
            self.bytes -= pooled.encoded.len();
            self.by_hash.remove(&pooled.hash());
        }
        self.with_queue(sender, |queue| {
            queue.next = nonce;
            queue.ready = 0;
        });
    }

    /// Drops the transactions of senders that `is_member` denies.
    pub fn retain_members(&mut self, is_member: impl Fn(&Address) -> bool) {
        let gone: Vec<Address> = self
            .queues
            .keys()
            .filter(|sender| !is_member(sender))
            .copied()
            .collect();
        for sender in gone {
            self.advance(sender, u64::MAX);
        }
    }

    /// Changes a queue and keeps what is counted about it right; a queue without transactions goes away.
    fn with_queue(&mut self, sender: Address, change: impl FnOnce(&mut Queue)) {
        let queue = self.queues.entry(sender).or_default();
        self.ready -= queue.ready as usize;
        change(queue);
        queue.extend_ready();
        self.ready += queue.ready as usize;
        if queue.waiting.is_empty() {
            self.queues.remove(&sender);
        }
    }
}
