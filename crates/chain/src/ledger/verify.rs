//! Doing all that a stored ledger says was done once more, and comparing.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use alloy::primitives::B256;

use super::check::{self, CheckError};
use super::headers::{Certificates, HeaderChain};
use super::{Head, Ledger};
use crate::application::{Durability, InvalidBlock};
use crate::consensus::verify_certificate;
use crate::execution::decode::DecodedBlock;
use crate::execution::genesis::GenesisBlock;
use crate::execution::senders;
use crate::execution::spec::ChainRules;
use crate::genesis::{Genesis, GenesisError};
use crate::mempool::{Limits, Mempool};
use crate::store::{self, OpenError, Snapshot, Store, StoreError};

/// What is executed again need not survive, but pages that it no longer uses are used again only after a durable commit.
const FLUSHED_EACH: u64 = 256;

/// What was found to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Height of the newest block.
    pub height: u64,
    /// Its hash.
    pub hash: B256,
    /// The root of the state that it left.
    pub state_root: B256,
    /// Lowest height from which on transactions are stored. If it is 0, all blocks were executed again; otherwise none, because
    /// the state before that height is not kept.
    pub floor: u64,
    /// Transactions that were executed, or compared with their headers.
    pub transactions: u64,
}

/// Why a stored ledger can't be relied on.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It can't even be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A block is not what it should be; all below it are.
    #[error("block {height} is bad: {reason}")]
    Block {
        /// The lowest bad height.
        height: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// All blocks are right, but not the state that is stored beside them.
    #[error("all blocks up to {height} are right, but the stored state is not: {reason}")]
    State {
        /// Height of the newest block.
        height: u64,
        /// What is wrong.
        reason: String,
    },
    /// The store into which the blocks are executed again failed.
    #[error("executing again failed: {0}")]
    Scratch(String),
    /// The genesis document can't start a ledger.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

/// Executes the blocks of the store in the file `stored` from block 0 on into a new store in the folder `scratch`, which must
/// be empty. Compares every header with what execution gives (so: state, receipts and transactions root, logs bloom, gas
/// used), the stored transactions, receipts, senders and index entries with the headers, the certificates with the validators
/// of their heights, and at last the whole stored state with the newest state root.
///
/// Where old transactions were pruned, or never fetched, nothing can be executed. Then all the same is compared, except what
/// only execution tells; who validated which height is followed through the receipts of the blocks that changed it.
///
/// Nothing is changed in the store, but for what redb itself does on opening a file that was not closed. `progress` is told
/// each height that was found right, and the newest one.
pub fn verify(
    stored: &Path,
    genesis: &Genesis,
    scratch: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let origin = GenesisBlock::build(genesis)?;
    let store = Store::inspect(stored, origin.hash)?;
    let height = Cell::new(None);
    // redb panics on some kinds of damage; nothing of what it was doing is used after that.
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let stored = store.snapshot().map_err(|error| VerifyError::Block {
            height: 0,
            reason: error.to_string(),
        })?;
        let stored = Arc::new(stored);
        let tip = stored.height();
        let bad = |height| move |reason| VerifyError::Block { height, reason };
        let mut transactions = 0;
        if stored.floor() == 0 {
            let mut replay = Replay::start(stored.clone(), &origin, genesis, scratch)?;
            for next in 0..=tip {
                height.set(Some(next));
                transactions += replay.block(next).map_err(bad(next))?;
                progress(next, tip);
            }
        } else {
            let mut chain = HeaderChain::new(&stored, genesis, origin.hash);
            for next in 1..=tip {
                height.set(Some(next));
                chain.advance(Certificates::Every).map_err(bad(next))?;
                if next >= stored.floor() {
                    transactions += compare(&stored, next).map_err(bad(next))?;
                }
                progress(next, tip);
            }
        }
        height.set(None);
        store::check::state(&stored).map_err(|error| VerifyError::State {
            height: tip,
            reason: error.to_string(),
        })?;
        Ok(Verified {
            height: tip,
            hash: stored.hash(),
            state_root: stored.header().state_root,
            floor: stored.floor(),
            transactions,
        })
    }));
    result.unwrap_or_else(|panic| {
        let reason = format!("reading it failed: {}", store::panicked(&*panic));
        Err(match height.get() {
            Some(height) => VerifyError::Block { height, reason },
            None => VerifyError::State {
                height: store.snapshot().map_or(0, |snapshot| snapshot.height()),
                reason,
            },
        })
    })
}

struct Replay {
    stored: Arc<Snapshot>,
    ledger: B256,
    rules: ChainRules,
    store: Store,
    head: Head,
    mempool: Mempool,
}

impl Replay {
    fn start(
        stored: Arc<Snapshot>,
        origin: &GenesisBlock,
        genesis: &Genesis,
        scratch: &Path,
    ) -> Result<Self, VerifyError> {
        let rules = ChainRules::from(genesis);
        let store = Store::open(scratch, &origin.write())?;
        let head = Ledger::read_head(&store, rules).map_err(VerifyError::Scratch)?;
        Ok(Self {
            stored,
            ledger: origin.hash,
            rules,
            store,
            head,
            mempool: Mempool::new(Limits::default()),
        })
    }

    /// Executes one block again and compares all that is stored of it. Returns how many transactions it has.
    fn block(&mut self, height: u64) -> Result<u64, String> {
        let words = |error: StoreError| error.to_string();
        store::check::block(&self.stored, height).map_err(words)?;
        let block = self.stored.block_at(height).map_err(words)?;
        let block = block.ok_or("it is missing")?;
        if height == 0 {
            return if block.hash == self.ledger {
                Ok(0)
            } else {
                Err("it is another ledger's".into())
            };
        }
        let (decoded, senders) = (
            DecodedBlock {
                header: block.header,
                hash: block.hash,
                body: block.body,
            },
            block.senders,
        );
        let parent = &self.head.snapshot;
        let executed = check::follows(&decoded, parent)
            .and_then(|()| check::execute(self.rules, parent, &self.head.members, &self.mempool, &decoded))
            .map_err(|error| match error {
                CheckError::Invalid(InvalidBlock(reason)) => reason,
                CheckError::Store(error) => format!("executing it failed: {error}"),
            })?;
        if executed.senders != senders {
            return Err("a stored sender is not who signed".into());
        }
        let certificate = self.stored.certificate_at(height).map_err(words)?;
        let certificate = certificate.ok_or("the certificate is missing")?;
        let validators = self.head.rules.validators.iter();
        let validators = validators.map(|validator| (validator.account, B256::from(validator.key)));
        verify_certificate(self.ledger, validators, height, decoded.hash, &certificate)
            .map_err(|reason| format!("the certificate is not valid: {reason}"))?;
        let durability = match height % FLUSHED_EACH {
            0 => Durability::Immediate,
            _ => Durability::Deferred,
        };
        self.store
            .commit(&executed.write(&certificate), durability)
            .map_err(words)?;
        self.head = Ledger::head_after(&self.store, self.rules, &self.head, &executed)?;
        Ok(senders.len() as u64)
    }
}

/// Compares what is stored of a block with its header. Returns how many transactions it has.
fn compare(stored: &Snapshot, height: u64) -> Result<u64, String> {
    let words = |error: StoreError| error.to_string();
    store::check::block(stored, height).map_err(words)?;
    let block = stored.block_at(height).map_err(words)?.ok_or("it is missing")?;
    let recovered = senders::recover(&block.body.transactions, |_| None)
        .map_err(|index| format!("transaction {index}: the signature is not valid"))?;
    if !recovered
        .iter()
        .map(|transaction| transaction.signer())
        .eq(block.senders)
    {
        return Err("a stored sender is not who signed".into());
    }
    Ok(recovered.len() as u64)
}
