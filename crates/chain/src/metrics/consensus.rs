//! What consensus counts and measures.

use std::time::Duration;

use hanse_metrics::{Registry, durations};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

/// Counters and histograms of consensus; clones share them.
#[derive(Debug, Clone)]
pub struct ConsensusMetrics {
    round: Gauge,
    decision: Histogram,
    extra_rounds: Counter,
    synced: Counter,
}

impl Default for ConsensusMetrics {
    fn default() -> Self {
        Self {
            round: Gauge::default(),
            decision: durations(0.002, 16),
            extra_rounds: Counter::default(),
            synced: Counter::default(),
        }
    }
}

impl ConsensusMetrics {
    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "hanse_ledger_round",
            "Round of the height after the newest block: 0 is the first attempt to decide it",
            self.round.clone(),
        );
        registry.register_with_unit(
            "hanse_ledger_block_decision",
            "From the moment at which this node started to decide a height, when its proposer may propose a block, until that \
             block was committed here; blocks fetched from other nodes are not in it",
            Unit::Seconds,
            self.decision.clone(),
        );
        registry.register(
            "hanse_ledger_extra_rounds",
            "Rounds after the first that were started because a height was not decided in the one before",
            self.extra_rounds.clone(),
        );
        registry.register(
            "hanse_ledger_synced_blocks",
            "Blocks that this node fetched from others because they had been decided without it",
            self.synced.clone(),
        );
    }

    /// A round started.
    pub fn round_started(&self, round: u32) {
        self.round.set(round.into());
        if round > 0 {
            self.extra_rounds.inc();
        }
    }

    /// A block was committed: decided with this node `took` after it had started with it, or else fetched.
    pub fn committed(&self, took: Option<Duration>) {
        self.round.set(0);
        match took {
            Some(took) => self.decision.observe(took.as_secs_f64()),
            None => drop(self.synced.inc()),
        }
    }
}
