//! What the ledger counts and measures.

use std::time::Duration;

use alloy::primitives::Address;
use hanse_metrics::{Labels, Registry, durations};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use super::name;
use crate::mempool::Rejection;

/// Who gave this node a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client over JSON-RPC.
    Client,
    /// Another node.
    Peer,
}

impl Origin {
    fn label(self) -> (&'static str, String) {
        let origin = match self {
            Self::Client => "client",
            Self::Peer => "peer",
        };
        ("origin", origin.to_owned())
    }
}

/// Why a block was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To propose it.
    Build,
    /// To check what another node proposed or sent.
    Check,
}

/// Counters and histograms of the ledger; clones share them.
#[derive(Debug, Clone)]
pub struct LedgerMetrics {
    finality: Histogram,
    execution: Family<Labels<1>, Histogram, fn() -> Histogram>,
    commit: Histogram,
    transactions: Counter,
    accepted: Family<Labels<1>, Counter>,
    rejected: Family<Labels<2>, Counter>,
    missed: Family<Labels<1>, Counter>,
}

impl Default for LedgerMetrics {
    fn default() -> Self {
        Self {
            finality: durations(0.002, 16),
            execution: Family::new_with_constructor(|| durations(0.000_25, 14)),
            commit: durations(0.000_25, 14),
            transactions: Counter::default(),
            accepted: Family::default(),
            rejected: Family::default(),
            missed: Family::default(),
        }
    }
}

impl LedgerMetrics {
    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "hanse_ledger_transaction_finality",
            "From the moment at which a transaction entered this node's mempool, from a client or from another node, until \
             the block that holds it was committed here",
            Unit::Seconds,
            self.finality.clone(),
        );
        registry.register_with_unit(
            "hanse_ledger_block_execution",
            "Execution of a block with all roots, to propose it (build) or to check what another node proposed or sent (check)",
            Unit::Seconds,
            self.execution.clone(),
        );
        registry.register_with_unit(
            "hanse_ledger_block_commit",
            "Writing a decided block into the store; while a node catches up, several blocks are flushed to the disk together",
            Unit::Seconds,
            self.commit.clone(),
        );
        registry.register(
            "hanse_ledger_committed_transactions",
            "Transactions in blocks that this node committed since it started",
            self.transactions.clone(),
        );
        registry.register(
            "hanse_mempool_accepted_transactions",
            "Transactions taken into the mempool, by who sent them: a client or a peer",
            self.accepted.clone(),
        );
        registry.register(
            "hanse_mempool_rejected_transactions",
            "Transactions not taken into the mempool, by who sent them and why",
            self.rejected.clone(),
        );
        registry.register(
            "hanse_ledger_missed_proposals",
            "Turns to propose that a validator let pass, in blocks that this node committed since it started",
            self.missed.clone(),
        );
    }

    /// What became of a transaction that was offered.
    pub fn offered<T>(&self, origin: Origin, outcome: &Result<T, Rejection>) {
        match outcome {
            Ok(_) => self.accepted.get_or_create(&[origin.label()]).inc(),
            Err(rejection) => self
                .rejected
                .get_or_create(&[origin.label(), ("reason", rejection.kind().to_owned())])
                .inc(),
        };
    }

    /// A block was executed.
    pub fn executed(&self, purpose: Purpose, took: Duration) {
        let purpose = match purpose {
            Purpose::Build => "build",
            Purpose::Check => "check",
        };
        self.execution
            .get_or_create(&[("purpose", purpose.to_owned())])
            .observe(took.as_secs_f64());
    }

    /// A block was written. `waited` tells of each of its transactions that had been in the mempool for how long.
    pub fn committed(&self, took: Duration, transactions: usize, waited: impl IntoIterator<Item = Duration>) {
        self.commit.observe(took.as_secs_f64());
        self.transactions.inc_by(transactions as u64);
        for wait in waited {
            self.finality.observe(wait.as_secs_f64());
        }
    }

    /// These validators let their turn pass.
    pub fn missed(&self, validators: &[Address]) {
        for validator in validators {
            self.missed.get_or_create(&[name(validator)]).inc();
        }
    }
}
