//! What `hanse up --once` found, as one document.

use std::collections::BTreeMap;

use anyhow::Context;
use hanse_orchestrator::api::AgreementPage;
use hanse_orchestrator::model::{Scenario, Step};
use serde::Serialize;

use super::league::League;

/// No longer without a picture than this (ms).
pub const LONGEST_GAP_MS: u64 = 1_000;

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub domains: Vec<DomainReport>,
    pub agreement: AgreementReport,
    pub ledger: LedgerReport,
    pub service: ServiceReport,
    pub replicas: Replicas,
}

#[derive(Debug, Clone, Serialize)]
pub struct DomainReport {
    pub name: String,
    pub account: String,
    pub api: String,
    pub kubeconfig: String,
    pub ledger_height: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct AgreementReport {
    pub id: String,
    pub scenario: Scenario,
    pub consumer: String,
    pub provider: String,
    pub steps: Vec<StepReport>,
}

/// A step and how long after the request it was reached (ms).
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StepReport {
    pub step: Step,
    pub at_ms: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct LedgerReport {
    /// From the request to the moment when the consumer knows of the deployment, less the deployment itself (ms).
    pub overhead_ms: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct ServiceReport {
    /// Service → external address at the provider.
    pub endpoint: BTreeMap<String, String>,
    /// Whether the provider was seen to do the work.
    pub answered: bool,
    /// Frames processed by the provider when the check began.
    pub frames_before: u64,
    /// …and when it was satisfied.
    pub frames_after: u64,
    pub frames_lost: u64,
    /// Longest time without a new picture during the move (ms).
    pub longest_gap_ms: u64,
}

/// Replicas of the component that run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Replicas {
    pub consumer: u32,
    pub provider: u32,
}

impl Report {
    /// When a step was reached after the request (ms).
    pub fn at(&self, step: Step) -> Option<u64> {
        self.agreement
            .steps
            .iter()
            .find(|report| report.step == step)
            .map(|report| report.at_ms)
    }

    /// What does not hold of all that was promised; empty if all is well.
    pub fn failures(&self, wanted: u32, moved: u32) -> Vec<String> {
        let mut failures = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        for step in Step::ALL {
            expect(self.at(step).is_some(), format!("step {} was not reached", step.name()));
        }
        let service = &self.service;
        expect(service.answered, "the federated service was not seen to work".into());
        expect(
            service.frames_after > service.frames_before,
            "no frames went through the provider".into(),
        );
        expect(
            service.frames_lost == 0,
            format!("{} frames were lost", service.frames_lost),
        );
        expect(
            service.longest_gap_ms <= LONGEST_GAP_MS,
            format!("there was no picture for {} ms", service.longest_gap_ms),
        );
        let own = if self.agreement.scenario == Scenario::Scale {
            wanted.saturating_sub(moved)
        } else {
            0
        };
        expect(
            self.replicas.consumer == own && self.replicas.provider == moved,
            format!(
                "{} replicas run at the consumer and {} at the provider instead of {own} and {moved}",
                self.replicas.consumer, self.replicas.provider
            ),
        );
        failures
    }
}

pub async fn domains(league: &League) -> anyhow::Result<Vec<DomainReport>> {
    let mut domains = Vec::new();
    for domain in &league.domains {
        let health = domain.health().await?;
        domains.push(DomainReport {
            name: domain.name.clone(),
            account: health.account,
            api: domain.client.base().to_string(),
            kubeconfig: domain.kubeconfig.display().to_string(),
            ledger_height: health
                .ledger_height
                .with_context(|| format!("{} knows no ledger height", domain.name))?,
        });
    }
    Ok(domains)
}

pub fn ledger(consumer: &AgreementPage, provider: &AgreementPage) -> anyhow::Result<LedgerReport> {
    let at = |page: &AgreementPage, step: Step| {
        let mark = page.timeline.iter().find(|mark| mark.step == step);
        mark.map(|mark| mark.at_ms)
            .with_context(|| format!("step {} was not reached", step.name()))
    };
    let requested = consumer
        .requested_ms
        .context("a consumer's agreement has a time of request")?;
    let confirmed = at(consumer, Step::ConfirmDeploymentReceived)?;
    let deployment = at(provider, Step::DeploymentFinished)?.saturating_sub(at(provider, Step::DeploymentStart)?);
    Ok(LedgerReport {
        overhead_ms: confirmed.saturating_sub(requested).saturating_sub(deployment),
    })
}
