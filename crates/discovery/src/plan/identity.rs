//! The status of an Identity.

use jiff::Timestamp;

use super::conditions::{Finding, Transition, merged};
use crate::model::{IdentityState, IdentityStatus, TargetStatus};
use crate::swarms::EntryKey;

/// What became of one target.
#[derive(Debug, Clone)]
pub struct TargetReport {
    /// Which swarm of which pool.
    pub entry: EntryKey,
    /// The reason and the text of what hinders, if something does.
    pub trouble: Option<(String, String)>,
    /// Domains with a valid record that answer.
    pub synchronized: u32,
    /// Members that do not answer, or have not published who they are.
    pub out_of_sync: u32,
}

/// The status of an Identity that had the status `old`, and what is worth an event.
pub fn identity_status(
    old: Option<&IdentityStatus>,
    reports: &[TargetReport],
    withdrawing: bool,
    generation: i64,
    now: Timestamp,
) -> (IdentityStatus, Vec<Transition>) {
    let troubles: Vec<_> = reports.iter().filter_map(|report| report.trouble.as_ref()).collect();
    let state = match (withdrawing, troubles.len()) {
        (true, _) => IdentityState::Withdrawing,
        (false, 0) => IdentityState::Published,
        (false, some) if some < reports.len() => IdentityState::PartlyPublished,
        (false, _) => IdentityState::NotPublished,
    };
    let finding = match (withdrawing, troubles.first()) {
        (true, _) => Finding::bad(
            "Published",
            "Withdrawing",
            "the Identity is being deleted; the others are being told",
        ),
        (false, Some((reason, _))) => {
            let messages: Vec<&str> = troubles.iter().map(|(_, message)| message.as_str()).collect();
            Finding::bad("Published", reason, messages.join("; "))
        }
        (false, None) => Finding::good(
            "Published",
            "Published",
            "the domain's record is signed and told in every swarm that the Identity names",
        ),
    };
    let before = old.map(|old| old.conditions.as_slice()).unwrap_or_default();
    let (conditions, transitions) = merged(before, &[finding], generation, now);
    let target = |report: &TargetReport| TargetStatus {
        namespace: report.entry.namespace.clone(),
        swarm_pool: report.entry.pool.clone(),
        swarm: report.entry.swarm.clone(),
        state: report
            .trouble
            .as_ref()
            .map_or_else(|| "Published".to_owned(), |(reason, _)| reason.clone()),
        message: report
            .trouble
            .as_ref()
            .map_or_else(String::new, |(_, message)| message.clone()),
        synchronized: report.synchronized,
        out_of_sync: report.out_of_sync,
    };
    let status = IdentityStatus {
        state: Some(state),
        swarms: reports.iter().map(target).collect(),
        observed_generation: generation,
        conditions,
    };
    (status, transitions)
}
