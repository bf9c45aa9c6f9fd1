//! The status of a SwarmPool.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::conditions::{Finding, Transition, merged, rfc3339};
use crate::model::{SwarmPoolSpec, SwarmPoolStatus, SwarmStatus, Truth};

/// The kinds of conditions, and whether a pool is ready without.
const KINDS: [(&str, bool); 6] = [
    ("KeyReady", true),
    ("Running", true),
    ("Exposed", true),
    ("BootstrapReachable", false),
    ("StorageBounded", false),
    ("VersionHonoured", false),
];

/// What was found of one swarm.
#[derive(Debug, Clone)]
pub struct SwarmFacts {
    /// Its name.
    pub name: String,
    /// How it is doing, if it runs.
    pub status: Option<SwarmStatus>,
    /// One for each kind of condition that applies.
    pub findings: Vec<Finding>,
}

/// A status, and what is worth an event.
#[derive(Debug, Clone)]
pub struct PoolReport {
    /// The status.
    pub status: SwarmPoolStatus,
    /// What changed.
    pub transitions: Vec<Transition>,
}

/// Sixteen bytes of the SHA-256 hash of a spec, in base64.
pub fn spec_hash(spec: &SwarmPoolSpec) -> String {
    let text = serde_json::to_vec(spec).unwrap_or_default();
    STANDARD.encode(&Sha256::digest(text)[..16])
}

/// The status of a pool that had the status `old`. Its time of the last change is `now` only if something else is different.
pub fn pool_status(
    old: Option<&SwarmPoolStatus>,
    spec: &SwarmPoolSpec,
    generation: i64,
    facts: &[SwarmFacts],
    now: Timestamp,
) -> PoolReport {
    let mut findings: Vec<Finding> = KINDS.iter().filter_map(|(kind, _)| together(kind, facts)).collect();
    let needed = |finding: &&Finding| KINDS.iter().any(|(kind, needed)| *kind == finding.kind && *needed);
    let worst = findings
        .iter()
        .filter(needed)
        .max_by_key(|finding| weight(finding.truth));
    let ready = match worst.filter(|worst| worst.truth != Truth::True) {
        Some(worst) => Finding::new("Ready", worst.truth, &worst.reason, worst.message.clone()),
        None => Finding::good("Ready", "Ready", "this domain takes part in every swarm of the pool"),
    };
    findings.insert(0, ready);
    let before = old.map(|old| old.conditions.as_slice()).unwrap_or_default();
    let (conditions, mut transitions) = merged(before, &findings, generation, now);
    // What is in order from the beginning is worth one event, that of `Ready`.
    let is_new = before.is_empty();
    transitions.retain(|transition| transition.warning || transition.kind == "Ready" || !is_new);
    // `Ready` repeats what another condition says.
    let repeated = |transition: &Transition| transition.kind == "Ready" && transition.warning;
    transitions.retain(|transition| !repeated(transition));
    let statuses = facts
        .iter()
        .filter_map(|facts| Some((facts.name.clone(), facts.status.clone()?)));
    let mut status = SwarmPoolStatus {
        hash: spec_hash(spec),
        last_update: old.and_then(|old| old.last_update.clone()),
        status: statuses.collect(),
        observed_generation: generation,
        conditions,
    };
    if old != Some(&status) {
        status.last_update = Some(rfc3339(now));
    }
    PoolReport { status, transitions }
}

/// The larger, the worse.
fn weight(truth: Truth) -> u8 {
    match truth {
        Truth::True => 0,
        Truth::Unknown => 1,
        Truth::False => 2,
    }
}

/// What was found of all swarms in one condition: the worst, with what is to be said of each that is not better.
fn together(kind: &'static str, facts: &[SwarmFacts]) -> Option<Finding> {
    let of_kind = |facts: &SwarmFacts| facts.findings.iter().find(|finding| finding.kind == kind).cloned();
    let found: Vec<(&str, Finding)> = facts
        .iter()
        .filter_map(|facts| Some((facts.name.as_str(), of_kind(facts)?)))
        .collect();
    let worst = found.iter().map(|(_, finding)| weight(finding.truth)).max()?;
    let such: Vec<_> = found
        .iter()
        .filter(|(_, finding)| weight(finding.truth) == worst)
        .collect();
    let (_, first) = such.first()?;
    let message = match facts.len() {
        1 => first.message.clone(),
        _ => {
            let each = such
                .iter()
                .map(|(name, finding)| format!("{name}: {}", finding.message));
            each.collect::<Vec<_>>().join("; ")
        }
    };
    Some(Finding::new(kind, first.truth, &first.reason, message))
}
