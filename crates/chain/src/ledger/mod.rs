//! The ledger: store, execution and mempool as one thing that consensus drives and JSON-RPC reads.
//!
//! A block is executed once, when it is built or checked, and what that brought is kept until it is committed. Readers get a
//! [`Head`]: the newest block with its state, which stays as it is while they use it.

mod application;
mod cache;
mod check;
pub mod claims;
mod headers;
mod restore;
mod rules;
mod verify;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use alloy::consensus::transaction::SignerRecoverable;
use alloy::consensus::{Header, Transaction, TxEnvelope};
use alloy::primitives::{Address, B256, Bytes};
use tokio::sync::broadcast;

pub use check::MAX_AHEAD_SECONDS;
pub use restore::{RestoreError, restore};
pub use verify::{Verified, VerifyError, verify};

use crate::application::{Halt, HeightRules};
use crate::execution::call::CallError;
use crate::execution::genesis::GenesisBlock;
use crate::execution::spec::ChainRules;
use crate::genesis::Genesis;
use crate::mempool::{self, Account, Limits, Mempool, Rejection};
use crate::metrics::{LedgerMetrics, Origin};
use crate::store::{FoundLog, Gap, OpenError, PassedBlock, Snapshot, Store, StoreError};

use cache::ExecutedCache;

/// States that can still be read: the newest, and those before it since the node started. Blocks that change nothing share
/// one. Readers that just learnt of a block find its state even if others have been committed since.
pub const RECENT_STATES: usize = 16;

/// Blocks whose transactions go in one transaction of the store.
const PRUNED_AT_ONCE: usize = 32;

/// Committed blocks that a subscriber may be behind before it is dropped.
const SUBSCRIBER_LAG: usize = 64;

/// A block that was just committed, as subscribers are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its header.
    pub header: Header,
    /// Its hash.
    pub hash: B256,
    /// All its logs.
    pub logs: Vec<FoundLog>,
}

/// A block with the state it left.
#[derive(Debug)]
pub struct Head {
    snapshot: Arc<Snapshot>,
    rules: Arc<HeightRules>,
    members: Arc<Vec<Address>>,
}

impl Head {
    /// The store at this block.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Height of the block.
    pub fn height(&self) -> u64 {
        self.snapshot.height()
    }

    /// Validators and timeouts of the next height.
    pub fn rules(&self) -> &HeightRules {
        &self.rules
    }

    /// Whether an account is a member of the consortium.
    pub fn is_member(&self, account: &Address) -> bool {
        self.members.contains(account)
    }

    /// The account of a sender who may send this transaction.
    fn account(&self, rules: ChainRules, sender: Address, asked: Asked) -> Result<Account, Rejection> {
        let account = self.snapshot.account(sender)?.unwrap_or_default();
        // Of somebody who is no member one transaction can wait, not more.
        let may = self.is_member(&sender)
            || asked.claim && asked.nonce == account.nonce && claims::is_owed(rules, &self.snapshot, sender)?;
        if !may {
            return Err(Rejection::NotMember(sender));
        }
        Ok(Account {
            nonce: account.nonce,
            balance: account.balance,
        })
    }
}

/// Whether executing the decided blocks gave this node what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateCheck {
    /// The newest height at which it did.
    pub height: u64,
    /// Whether it did at the newest decided height.
    pub agrees: bool,
}

/// What of a transaction decides whether its sender may send it.
#[derive(Debug, Clone, Copy)]
struct Asked {
    nonce: u64,
    claim: bool,
}

impl Asked {
    fn by(transaction: &TxEnvelope) -> Self {
        Self {
            nonce: transaction.nonce(),
            claim: claims::is_claim(transaction),
        }
    }
}

/// The ledger of one node.
#[derive(Debug)]
pub struct Ledger {
    store: Store,
    rules: ChainRules,
    head: RwLock<Arc<Head>>,
    recent: Mutex<VecDeque<Arc<Snapshot>>>,
    executed: ExecutedCache,
    mempool: Mempool,
    committing: Mutex<()>,
    committed: broadcast::Sender<Arc<Committed>>,
    halted: OnceLock<String>,
    /// The newest height at which executing the decided block gave all that it claims.
    checked: AtomicU64,
    /// A decided block gave something else.
    diverged: AtomicBool,
    metrics: LedgerMetrics,
}

impl Ledger {
    /// Opens the ledger in `data_dir`, which is created if it is missing. It must be of this genesis document.
    pub fn open(data_dir: &Path, genesis: &Genesis) -> Result<Arc<Self>, OpenError> {
        Self::open_with(data_dir, genesis, Limits::default())
    }

    /// [`Self::open`] with other bounds of the mempool.
    pub fn open_with(data_dir: &Path, genesis: &Genesis, limits: Limits) -> Result<Arc<Self>, OpenError> {
        let block = GenesisBlock::build(genesis)?;
        let store = Store::open(data_dir, &block.write())?;
        let rules = ChainRules::from(genesis);
        let head = Self::read_head(&store, rules).map_err(|reason| OpenError::Damaged {
            path: data_dir.join(crate::store::FILE_NAME),
            reason,
            good: store.good(),
        })?;
        let head = Arc::new(head);
        Ok(Arc::new(Self {
            store,
            rules,
            checked: AtomicU64::new(head.height()),
            diverged: AtomicBool::new(false),
            metrics: LedgerMetrics::default(),
            recent: Mutex::new(VecDeque::from([head.snapshot.clone()])),
            head: RwLock::new(head),
            executed: ExecutedCache::default(),
            mempool: Mempool::new(limits),
            committing: Mutex::new(()),
            committed: broadcast::Sender::new(SUBSCRIBER_LAG),
            halted: OnceLock::new(),
        }))
    }

    fn read_head(store: &Store, rules: ChainRules) -> Result<Head, String> {
        let snapshot = Arc::new(store.snapshot().map_err(|error| error.to_string())?);
        let height_rules = rules::read(rules, &snapshot).map_err(|error| error.to_string())?;
        let members = Arc::new(rules::accounts(&height_rules));
        Ok(Head {
            snapshot,
            rules: Arc::new(height_rules),
            members,
        })
    }

    /// What is the same for all blocks.
    pub fn chain_rules(&self) -> ChainRules {
        self.rules
    }

    /// Forgets the transactions of some blocks below `to`, oldest first, and returns the lowest height that has them now. Call it
    /// until that is `to`; each call keeps blocks from being committed for a moment only.
    ///
    /// # Errors
    /// The store's. Nothing is lost then that was to be kept.
    pub fn prune(&self, to: u64) -> Result<u64, StoreError> {
        let _one_writer = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.prune(to, PRUNED_AT_ONCE)
    }

    /// Blocks that this node passed by and has yet to fetch.
    ///
    /// # Errors
    /// The store's.
    pub fn gap(&self) -> Result<Option<Gap>, StoreError> {
        self.store.gap()
    }

    /// Writes blocks from the beginning of the gap on; `left` is the gap after them. Returns what is missing then.
    ///
    /// # Errors
    /// The store's. Nothing is written then.
    pub fn fill(&self, blocks: &[PassedBlock], left: Gap) -> Result<Option<Gap>, StoreError> {
        let _one_writer = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.fill(blocks, left)
    }

    /// Does without the blocks of the gap, which nobody has any more, and what is below.
    ///
    /// # Errors
    /// The store's.
    pub fn give_up_gap(&self) -> Result<(), StoreError> {
        let _one_writer = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.give_up_gap()
    }

    /// Accounts of the members, and where their agents are.
    ///
    /// # Errors
    /// When the contract can't be read.
    pub fn directory(&self) -> Result<Vec<(Address, String)>, CallError> {
        rules::directory(self.rules, &self.head().snapshot)
    }

    /// The newest block.
    pub fn head(&self) -> Arc<Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A view of the store whose newest block has this state root, if it is one of the [`RECENT_STATES`] newest states.
    pub fn state(&self, root: B256) -> Option<Arc<Snapshot>> {
        let recent = self.recent_states();
        recent
            .iter()
            .rev()
            .find(|state| state.header().state_root == root)
            .cloned()
    }

    /// Told of each block right after it was committed. A receiver that is too far behind misses blocks and is told so.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Committed>> {
        self.committed.subscribe()
    }

    /// The waiting transactions.
    pub fn mempool(&self) -> &Mempool {
        &self.mempool
    }

    /// Takes an EIP-2718 encoded transaction from a client and offers it to the other nodes. A transaction that waits already is
    /// offered again: whoever sends it twice has not seen it arrive.
    pub fn submit(&self, raw: &[u8]) -> Result<B256, Rejection> {
        let taken = self.take(raw);
        self.metrics.offered(Origin::Client, &taken);
        taken
    }

    fn take(&self, raw: &[u8]) -> Result<B256, Rejection> {
        let transaction = mempool::decode(&self.rules, raw)?;
        let hash = *transaction.tx_hash();
        let transaction = transaction.try_into_recovered().map_err(|_| Rejection::BadSignature)?;
        let encoded = Bytes::copy_from_slice(raw);
        let asked = Asked::by(&transaction);
        self.mempool.insert(transaction, encoded.clone(), |sender| {
            self.head().account(self.rules, sender, asked)
        })?;
        self.mempool.pass_on(hash, encoded, Instant::now());
        Ok(hash)
    }

    /// What it counts and measures.
    pub fn metrics(&self) -> &LedgerMetrics {
        &self.metrics
    }

    /// Whether its state is that of the others, as far as decided blocks tell.
    pub fn state_check(&self) -> StateCheck {
        StateCheck {
            height: self.checked.load(Ordering::Relaxed),
            agrees: !self.diverged.load(Ordering::Relaxed),
        }
    }

    /// Why the ledger stands still, if it does.
    pub fn halted(&self) -> Option<&str> {
        self.halted.get().map(String::as_str)
    }

    fn halt(&self, reason: impl std::fmt::Display) -> Halt {
        let reason = self.halted.get_or_init(|| reason.to_string());
        tracing::error!(reason, "the ledger halts");
        Halt(reason.clone())
    }

    fn not_halted(&self) -> Result<(), Halt> {
        match self.halted.get() {
            Some(reason) => Err(Halt(reason.clone())),
            None => Ok(()),
        }
    }

    fn halt_on(&self, error: StoreError) -> Halt {
        self.halt(error)
    }

    fn recent_states(&self) -> MutexGuard<'_, VecDeque<Arc<Snapshot>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
