//! When a Job is done.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};

use super::deployment::refused;
use super::is_controlled_by;
use super::patience::Patience;
use super::pod::{self, Crashes};
use super::verdict::{Cause, Readiness, Reason};

/// A Job is ready when it has completed. It counts failures itself (`backoffLimit`), so crashes are only final once it says so.
pub(crate) fn readiness(job: Option<&Job>, pods: &[&Pod], events: &[&Event], patience: &Patience) -> Readiness {
    let Some(job) = job else {
        return Readiness::Waiting(vec![Cause::new(
            Reason::Missing,
            "",
            "the Job does not exist",
            Some(patience.missing),
        )]);
    };
    let uid = job.metadata.uid.as_deref();
    let own: Vec<&Pod> = pods
        .iter()
        .copied()
        .filter(|pod| is_controlled_by(&pod.metadata, uid))
        .collect();
    let status = job.status.clone().unwrap_or_default();
    for condition in status.conditions.iter().flatten().filter(|c| c.status == "True") {
        match condition.type_.as_str() {
            "Complete" => return Readiness::Ready,
            "Failed" => return Readiness::Waiting(vec![failed(condition.message.as_deref(), &own, patience)]),
            _ => {}
        }
    }
    let mut causes: Vec<Cause> = own
        .iter()
        .flat_map(|pod| pod::causes(pod, events, Crashes::AreCounted, patience))
        .collect();
    if own.is_empty() {
        // A Job has no condition for pods it may not create; only its events tell.
        let refusals = events
            .iter()
            .filter(|e| e.involved_object.uid.as_deref() == uid && uid.is_some());
        let refusals = refusals.filter(|e| e.reason.as_deref() == Some("FailedCreate"));
        if let Some(event) = refusals.max_by_key(|e| pod::last_seen(e)) {
            causes.push(refused(event.message.as_deref().unwrap_or_default(), patience));
        }
    }
    Readiness::waiting(causes, || {
        format!(
            "{} of {} runs succeeded",
            status.succeeded.unwrap_or(0),
            job.spec.as_ref().and_then(|s| s.completions).unwrap_or(1)
        )
    })
}

fn failed(said: Option<&str>, pods: &[&Pod], patience: &Patience) -> Cause {
    let crash = pods
        .iter()
        .flat_map(|pod| pod::causes(pod, &[], Crashes::AreCounted, patience))
        .find(|c| c.log.is_some());
    let said = said.unwrap_or("the Job failed");
    let message = match &crash {
        Some(crash) => format!("{said}: {}", crash.message),
        None => said.to_owned(),
    };
    // That the Job failed may be seen before why: its pods come by another watch.
    let grace = if crash.is_some() {
        Duration::ZERO
    } else {
        patience.missing
    };
    let mut cause = Cause::new(Reason::JobFailed, "", message, Some(grace));
    cause.log = crash.and_then(|c| c.log);
    cause
}
