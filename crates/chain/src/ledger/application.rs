//! What the ledger does for consensus.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Block, TxEnvelope};
use alloy::primitives::{Address, B256, Bytes};
use tokio::sync::{mpsc, watch};

use super::check::{self, CheckError};
use super::{Asked, Committed, Head, Ledger, RECENT_STATES, claims, rules};
use crate::application::{
    Application, Decided, Durability, Halt, HeightRules, InvalidBlock, MAX_BLOCK_BYTES, Refused, Tip,
};
use crate::execution::block::{BlockExecution, ExecutedBlock, Inclusion};
use crate::execution::decode::{DecodedBlock, decode_block};
use crate::execution::senders;
use crate::execution::spec::ChainRules;
use crate::mempool::{self, Rejection};
use crate::metrics::{Origin, Purpose};
use crate::store::{Store, StoreError};
use crate::turns::Standings;

/// Bytes that header and list prefixes can take of a block.
const HEADER_BYTES: usize = 2048;

/// Gas below which no transaction can start (EIP-2028).
const LEAST_GAS: u64 = 21_000;

impl Application for Ledger {
    fn tip(&self) -> Tip {
        tip_of(&self.head())
    }

    fn rules(&self) -> Result<HeightRules, Halt> {
        self.not_halted()?;
        Ok(self.head().rules().clone())
    }

    fn build(&self, proposer: Address, now_ms: u64) -> Result<Bytes, Halt> {
        self.not_halted()?;
        let head = self.head();
        let executed = self
            .assemble(&head, proposer, now_ms)
            .map_err(|error| self.halt_on(error))?;
        let encoded = executed.encode();
        self.executed.put(Arc::new(executed));
        Ok(encoded)
    }

    fn validate(&self, proposer: Address, block: &[u8], now_ms: u64) -> Result<(), Refused> {
        self.not_halted().map_err(|halt| Refused::Here(halt.to_string()))?;
        let block = decode_block(block)?;
        let head = self.head();
        let checked = check::follows(&block, &head.snapshot)
            .and_then(|()| check::proposed_by(&block, proposer))
            .and_then(|()| self.executed(&head, &block));
        match checked {
            // Last, so that no time can hide what else is wrong.
            Ok(_) => check::timely(&block, &head.snapshot, now_ms).map_err(Refused::Here),
            Err(CheckError::Invalid(invalid)) => Err(invalid.into()),
            Err(CheckError::Store(error)) => Err(Refused::Here(self.halt_on(error).to_string())),
        }
    }

    fn block_id(&self, block: &[u8]) -> Result<B256, InvalidBlock> {
        Ok(decode_block(block)?.hash)
    }

    fn commit(&self, block: &[u8], certificate: &[u8], durability: Durability) -> Result<Tip, Halt> {
        self.not_halted()?;
        let _one_at_a_time = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let block = decode_block(block).map_err(|error| self.halt(format!("a decided block is wrong: {error}")))?;
        let head = self.head();
        if block.header.number == head.height() && block.hash == head.snapshot.hash() {
            return Ok(tip_of(&head));
        }
        let executed = check::follows(&block, &head.snapshot)
            .and_then(|()| self.executed(&head, &block))
            .map_err(|error| match error {
                CheckError::Invalid(InvalidBlock(reason)) => {
                    self.diverged.store(true, Ordering::Relaxed);
                    self.halt(format!(
                        "block {} was decided, but this node can't agree: {reason}; its state is not that of the others",
                        block.header.number
                    ))
                }
                CheckError::Store(error) => self.halt_on(error),
            })?;
        let started = Instant::now();
        self.store
            .commit(&executed.write(certificate), durability)
            .map_err(|error| self.halt_on(error))?;
        self.checked.store(executed.header.number, Ordering::Relaxed);
        self.measure(&head, &executed, started);
        let head = self.advance(&head, &executed).map_err(|reason| self.halt(reason))?;
        Ok(tip_of(&head))
    }

    fn flush(&self) -> Result<(), Halt> {
        let _one_at_a_time = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        self.not_halted()?;
        self.store.flush().map_err(|error| self.halt_on(error))
    }

    fn decided(&self, height: u64) -> Result<Option<Decided>, Halt> {
        let read = || -> Result<Option<Decided>, StoreError> {
            let snapshot = self.head().snapshot.clone();
            if height < snapshot.floor() {
                return Ok(None);
            }
            let Some(certificate) = snapshot.certificate_at(height)? else {
                return Ok(None);
            };
            let Some(block) = snapshot.block_at(height)? else {
                return Ok(None);
            };
            Ok(Some(Decided {
                block: Block::rlp_encoded_from_parts(&block.header, &block.body).into(),
                certificate,
            }))
        };
        read().map_err(|error| self.halt_on(error))
    }

    fn earliest(&self) -> u64 {
        self.head().snapshot.floor().max(1)
    }

    fn waiting(&self) -> watch::Receiver<usize> {
        self.mempool.waiting()
    }

    fn receive_transactions(&self, transactions: Vec<Bytes>) {
        let total = transactions.len();
        let (encoded, decoded): (Vec<Bytes>, Vec<TxEnvelope>) = transactions
            .into_iter()
            .filter_map(|raw| {
                let decoded = mempool::decode(&self.rules, &raw);
                if decoded.is_err() {
                    self.metrics.offered(Origin::Peer, &decoded);
                }
                Some((decoded.ok()?, raw))
            })
            .filter(|(transaction, _)| self.mempool.get(transaction.tx_hash()).is_none())
            .map(|(transaction, raw)| (raw, transaction))
            .unzip();
        let recovered: Vec<Option<Recovered<TxEnvelope>>> = senders::recover_each(&decoded, |_| None);
        let taken = recovered
            .into_iter()
            .zip(encoded)
            .filter_map(|(transaction, encoded)| {
                let taken = transaction.ok_or(Rejection::BadSignature).and_then(|transaction| {
                    let asked = Asked::by(&transaction);
                    let account = |sender| self.head().account(self.rules, sender, asked);
                    self.mempool.insert(transaction, encoded, account)
                });
                self.metrics.offered(Origin::Peer, &taken);
                taken.ok()
            })
            .count();
        if taken < total {
            tracing::debug!(total, taken, "transactions from other nodes that were not taken");
        }
    }

    fn outgoing_transactions(&self) -> Option<mpsc::Receiver<Bytes>> {
        self.mempool.outgoing()
    }
}

fn tip_of(head: &Head) -> Tip {
    Tip {
        height: head.height(),
        hash: head.snapshot.hash(),
    }
}

impl Ledger {
    /// Fills and executes a block from the mempool.
    fn assemble(&self, head: &Head, proposer: Address, now_ms: u64) -> Result<ExecutedBlock, StoreError> {
        let started = Instant::now();
        // The others execute it too before their propose timeout; what does not fit in the time goes into the next block.
        let budget = Duration::from_millis(u64::from(head.rules.parameters.propose_ms) / 4);
        let timestamp = head.snapshot.header().timestamp.max(now_ms / 1000);
        let mut execution =
            BlockExecution::start(self.rules, head.snapshot.clone(), &head.members, timestamp, proposer)?;
        let mut impossible = Vec::new();
        let mut skipped = BTreeSet::new();
        for pooled in self.mempool.best(MAX_BLOCK_BYTES - HEADER_BYTES) {
            // One transaction always goes in, however slow the machine is: the chain must move.
            let late = !execution.is_empty() && started.elapsed() > budget;
            if late || execution.gas_left() < LEAST_GAS {
                break;
            }
            let sender = pooled.transaction.signer();
            if skipped.contains(&sender) {
                continue;
            }
            if !head.is_member(&sender) {
                skipped.insert(sender);
                if !claims::is_claim(&pooled.transaction) || !claims::is_owed(self.rules, &head.snapshot, sender)? {
                    impossible.push(pooled.hash());
                    continue;
                }
            }
            match execution.add(pooled.transaction.clone())? {
                Inclusion::Included => {}
                Inclusion::NoRoom => drop(skipped.insert(sender)),
                Inclusion::Invalid(reason) => {
                    tracing::info!(hash = %pooled.hash(), %sender, reason, "a waiting transaction is impossible now; dropped");
                    impossible.push(pooled.hash());
                    skipped.insert(sender);
                }
            }
        }
        if !impossible.is_empty() {
            self.mempool.remove(&impossible);
        }
        let executed = execution.finish();
        self.metrics.executed(Purpose::Build, started.elapsed());
        executed
    }

    /// Counts a block that was committed after `parent`, which took from `started` until now to write.
    fn measure(&self, parent: &Head, executed: &ExecutedBlock, started: Instant) {
        let now = Instant::now();
        let transactions = &executed.body.transactions;
        let waited = self.mempool.waited(transactions.iter().map(TxEnvelope::tx_hash), now);
        self.metrics.committed(now - started, transactions.len(), waited);
        let header = &executed.header;
        // The header of a head has standings; otherwise the block could not have been executed.
        let standings = Standings::after_block(parent.snapshot.header()).unwrap_or_default();
        let before = parent.snapshot.header().timestamp;
        let missed = standings.missed(&parent.members, header.number, before, header.beneficiary);
        self.metrics.missed(&missed);
    }

    /// What executing a block brings, from the cache or by doing it.
    fn executed(&self, head: &Head, block: &DecodedBlock) -> Result<Arc<ExecutedBlock>, CheckError> {
        if let Some(executed) = self.executed.get(block.hash) {
            return Ok(executed);
        }
        let started = Instant::now();
        let executed = check::execute(self.rules, &head.snapshot, &head.members, &self.mempool, block)?;
        self.metrics.executed(Purpose::Check, started.elapsed());
        let executed = Arc::new(executed);
        self.executed.put(executed.clone());
        Ok(executed)
    }

    /// The head after a block on `parent` that was just committed to `store`.
    pub(super) fn head_after(
        store: &Store,
        rules: ChainRules,
        parent: &Head,
        executed: &ExecutedBlock,
    ) -> Result<Head, String> {
        if rules::may_change(&executed.changes) {
            return Self::read_head(store, rules);
        }
        let snapshot = Arc::new(store.snapshot().map_err(|error| error.to_string())?);
        let rules = rules::follow(&parent.rules, snapshot.header()).map_err(|error| error.to_string())?;
        Ok(Head {
            snapshot,
            rules: Arc::new(rules),
            members: parent.members.clone(),
        })
    }

    /// Makes a block that was just committed the head, and tells everybody.
    fn advance(&self, parent: &Head, executed: &Arc<ExecutedBlock>) -> Result<Arc<Head>, String> {
        let head = Self::head_after(&self.store, self.rules, parent, executed)?;
        if head.snapshot.hash() != executed.hash {
            return Err("the store does not give back the block that was committed".into());
        }
        let head = Arc::new(head);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head.clone();
        {
            let mut recent = self.recent_states();
            let root = head.snapshot.header().state_root;
            if recent.back().is_some_and(|newest| newest.header().state_root == root) {
                recent.pop_back();
            } else if recent.len() == RECENT_STATES {
                recent.pop_front();
            }
            recent.push_back(head.snapshot.clone());
        }
        self.executed.clear();
        self.tell_mempool(parent, &head, executed)
            .map_err(|error| error.to_string())?;
        if self.committed.receiver_count() > 0 {
            // The last receiver may have gone meanwhile; that is no failure.
            let _ = self.committed.send(Arc::new(Committed {
                header: executed.header.clone(),
                hash: executed.hash,
                logs: executed.logs(),
            }));
        }
        Ok(head)
    }

    fn tell_mempool(&self, parent: &Head, head: &Head, executed: &ExecutedBlock) -> Result<(), StoreError> {
        let senders: BTreeSet<Address> = executed.senders.iter().copied().collect();
        let mut nonces = Vec::with_capacity(senders.len());
        for sender in senders {
            let account = head.snapshot.account(sender)?.unwrap_or_default();
            nonces.push((sender, account.nonce));
        }
        let changed = parent.members != head.members;
        self.mempool.committed(nonces, changed.then_some(&head.members[..]));
        self.mempool.offer_again(Instant::now());
        Ok(())
    }
}
