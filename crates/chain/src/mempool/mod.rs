//! The mempool: transactions of members that wait for a block.
//!
//! Promises: only members get in; what waits is bounded for each sender and in all, and what is too much is refused with an
//! error, not kept; what was accepted from a client is offered to the other nodes ([`Mempool::outgoing`]), and again every
//! few seconds while it waits; a committed block takes out what it holds or makes stale. Nothing here survives a restart, and nothing here is final: a client sends again
//! until it has a receipt.

mod admission;
mod offers;
mod pool;
mod rejection;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy::consensus::TxEnvelope;
use alloy::consensus::transaction::Recovered;
use alloy::primitives::{Address, B256, Bytes};
use tokio::sync::{mpsc, watch};

use offers::Offers;

pub use admission::{MAX_TRANSACTION_BYTES, check, decode};
pub use pool::{Accepted, Account, Limits, Load, Pool, Pooled};
pub use rejection::Rejection;

/// Transactions that wait to be passed on. What does not fit is passed on with a later [`Mempool::offer_again`].
const OUTGOING: usize = 4096;

/// The pool with those who wait for it.
#[derive(Debug)]
pub struct Mempool {
    pool: Mutex<Pool>,
    waiting: watch::Sender<usize>,
    bound: usize,
    offers: Mutex<Offers>,
    outgoing: mpsc::Sender<Bytes>,
    outgoing_end: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

impl Mempool {
    /// An empty mempool.
    pub fn new(limits: Limits) -> Self {
        let (outgoing, end) = mpsc::channel(OUTGOING);
        Self {
            pool: Mutex::new(Pool::new(limits)),
            bound: limits.total,
            offers: Mutex::default(),
            waiting: watch::Sender::new(0),
            outgoing,
            outgoing_end: Mutex::new(Some(end)),
        }
    }

    /// Takes a transaction. `account` is asked while the pool is locked, so that a block that is committed meanwhile either
    /// is seen by it or takes the transaction out again.
    pub fn insert(
        &self,
        transaction: Recovered<TxEnvelope>,
        encoded: Bytes,
        account: impl FnOnce(Address) -> Result<Account, Rejection>,
    ) -> Result<Accepted, Rejection> {
        let mut pool = self.pool();
        let account = account(transaction.signer())?;
        let accepted = pool.insert(transaction, encoded, account, Instant::now())?;
        self.tell(&pool);
        Ok(accepted)
    }

    /// Offers a transaction that was taken to the other nodes, now and as long as it waits.
    pub fn pass_on(&self, hash: B256, encoded: Bytes, now: Instant) {
        let waits = |hash: &B256| self.get(hash).is_some();
        self.offers().add(hash, now, self.bound, waits);
        self.send(encoded);
    }

    /// Offers those of [`Self::pass_on`] again that still wait after a while. Called at least with each block.
    pub fn offer_again(&self, now: Instant) {
        let due = self.offers().due(now, |hash| self.get(hash).is_some());
        for pooled in due.iter().filter_map(|hash| self.get(hash)) {
            self.send(pooled.encoded.clone());
        }
    }

    fn send(&self, encoded: Bytes) {
        if self.outgoing.try_send(encoded).is_err() {
            tracing::debug!("too many transactions wait to be passed on; this one will be later");
        }
    }

    /// The ready transactions in the order in which they go into a block, until they have `bytes` bytes.
    pub fn best(&self, bytes: usize) -> Vec<Arc<Pooled>> {
        self.pool().best(bytes)
    }

    /// A waiting transaction.
    pub fn get(&self, hash: &B256) -> Option<Arc<Pooled>> {
        self.pool().get(hash).cloned()
    }

    /// The nonce that follows the sender's ready transactions, if any of its transactions wait.
    pub fn pending_nonce(&self, sender: &Address) -> Option<u64> {
        self.pool().pending_nonce(sender)
    }

    /// Transactions that wait, those behind a nonce gap included.
    pub fn len(&self) -> usize {
        self.pool().len()
    }

    /// How much waits.
    pub fn load(&self) -> Load {
        self.pool().load()
    }

    /// How long those of these transactions have waited that wait.
    pub fn waited<'a>(&self, hashes: impl IntoIterator<Item = &'a B256>, now: Instant) -> Vec<Duration> {
        let pool = self.pool();
        let waiting = hashes.into_iter().filter_map(|hash| pool.get(hash));
        waiting
            .map(|pooled| now.saturating_duration_since(pooled.since))
            .collect()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops transactions that turned out to be impossible.
    pub fn remove(&self, hashes: &[B256]) {
        let mut pool = self.pool();
        for hash in hashes {
            pool.remove(hash);
        }
        self.tell(&pool);
    }

    /// A block was committed: `nonces` are the new nonces of its senders, `members` the members if they changed.
    pub fn committed(&self, nonces: impl IntoIterator<Item = (Address, u64)>, members: Option<&[Address]>) {
        let mut pool = self.pool();
        for (sender, nonce) in nonces {
            pool.advance(sender, nonce);
        }
        if let Some(members) = members {
            pool.retain_members(|sender| members.contains(sender));
        }
        self.tell(&pool);
    }

    /// Tells how many transactions are ready, and of every change of the pool.
    pub fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    /// What [`Self::pass_on`] was given. Can be taken once.
    pub fn outgoing(&self) -> Option<mpsc::Receiver<Bytes>> {
        self.outgoing_end.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn tell(&self, pool: &Pool) {
        let ready = pool.ready();
        self.waiting.send_if_modified(|waiting| {
            let more = *waiting != ready;
            *waiting = ready;
            more
        });
    }

    fn offers(&self) -> MutexGuard<'_, Offers> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // A panic in the pool would be a bug; going on with what is counted wrongly is better than no mempool at all.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
