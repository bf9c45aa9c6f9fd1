//! The figures of the orchestrator for Prometheus, read from what is stored.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use hanse_metrics::{Page, Reading};

use crate::model::{ConsumerRecord, Outcome, ProviderRecord, Stage};
use crate::service::Shared;

/// Reads the orchestrator, without keeping its store open.
pub struct OrchestratorReading(Weak<Shared>);

impl OrchestratorReading {
    pub fn of(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl fmt::Debug for OrchestratorReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrchestratorReading")
    }
}

impl Reading for OrchestratorReading {
    fn read(&self, page: &mut Page<'_>) -> fmt::Result {
        let Some(shared) = self.0.upgrade() else {
            return Ok(());
        };
        let failed =
            |error: &crate::store::StoreError| tracing::warn!(%error, "the store can't be read for the metrics");
        let consumers = shared.store.consumers().inspect_err(failed).unwrap_or_default();
        let providers = shared.store.providers().inspect_err(failed).unwrap_or_default();
        let mut agreements: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for record in &consumers {
            *agreements.entry(("consumer", consumer_state(record))).or_default() += 1;
        }
        for record in &providers {
            *agreements.entry(("provider", provider_state(record))).or_default() += 1;
        }
        page.gauges(
            "hanse_orchestrator_agreements",
            "Agreements in the store of this domain, by its role in them and how far they are; see docs/metrics.md for the states",
            agreements.into_iter().map(|((role, state), count)| {
                ([("role", role.to_owned()), ("state", state.to_owned())], count as f64)
            }),
        )?;
        let waiting = shared.store.waiting_deliveries().inspect_err(failed).ok();
        page.gauge_if_known(
            "hanse_orchestrator_webhook_queue_deliveries",
            "Deliveries to webhooks that are still to be made",
            waiting.map(|waiting| waiting as f64),
        )?;
        page.gauge_if_known(
            "hanse_orchestrator_event_lag_blocks",
            "Settled blocks of the ledger whose events this domain has not dealt with yet; absent until a block was seen",
            shared.ledger.event_lag().map(|lag| lag as f64),
        )?;
        page.gauge(
            "hanse_orchestrator_ledger_connected",
            "1 while the ledger's endpoint answers and is in step with the chain, else 0",
            f64::from(u8::from(shared.ledger.is_connected())),
        )
    }
}

fn ended(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Terminated => "terminated",
        Outcome::Cancelled { .. } => "cancelled",
        Outcome::Expired { .. } => "expired",
        Outcome::Lost => "lost",
    }
}

fn consumer_state(record: &ConsumerRecord) -> &'static str {
    match &record.outcome {
        Some(outcome) => ended(outcome),
        None if record.stage > Stage::Completed => "returning",
        None if record.stage == Stage::Completed => "running",
        None if record.endpoint.is_some() => "moving",
        None if record.award.is_some() => "awarded",
        None => "announced",
    }
}

fn provider_state(record: &ProviderRecord) -> &'static str {
    match &record.outcome {
        Some(outcome) => ended(outcome),
        None if record.leaving => "leaving",
        None if record.sealed_endpoint.is_some() => "running",
        None if record.deploying => "deploying",
        None if record.sealed_parameters.is_some() => "awarded",
        None => "bidding",
    }
}
