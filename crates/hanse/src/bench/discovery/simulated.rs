//! Thousands of domains in simulated time: what a record costs, and what a lookup does.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use hanse_swarm::simulation::{Conditions, look_up, spread};
use serde::Serialize;

use crate::bench::quantiles::rounded;

/// How many records are published one after another for each size.
const RECORDS: usize = 20;
/// How many records are looked up for each size.
const LOOK_UPS: usize = 500;

/// One size of the swarm.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Size {
    pub domains: usize,
    /// How often a record is sent until all have it.
    pub messages_per_record: f64,
    /// The same for each domain.
    pub messages_per_domain: f64,
    pub hops_p50: u64,
    pub hops_p99: u64,
    /// Until the slowest record is with the last domain, in simulated time.
    pub with_all_ms: u64,
    /// Records that did not reach all.
    pub lost: usize,
    /// Questions one after another until a record is found in the distributed hash table.
    pub lookup_hops_p50: u64,
    pub lookup_hops_p99: u64,
    /// Peers that are asked for it.
    pub lookup_asked_p99: u64,
}

/// A seed of this moment. It is printed with the figures, which it repeats.
pub fn any_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

/// Simulates a swarm of `domains`.
pub async fn measure(domains: usize, seed: u64) -> anyhow::Result<Size> {
    let simulate = move || {
        let conditions = Conditions::internet(seed);
        let records = spread(domains, RECORDS.min(domains), conditions);
        let look_ups = look_up(domains, LOOK_UPS, conditions);
        Size {
            domains,
            messages_per_record: rounded(records.messages_per_record),
            messages_per_domain: rounded(records.messages_per_domain),
            hops_p50: records.hops_p50,
            hops_p99: records.hops_p99,
            with_all_ms: records.with_all_ms,
            lost: records.lost,
            lookup_hops_p50: look_ups.hops_p50,
            lookup_hops_p99: look_ups.hops_p99,
            lookup_asked_p99: look_ups.asked_p99,
        }
    };
    tokio::task::spawn_blocking(simulate)
        .await
        .context("the simulation broke off")
}
