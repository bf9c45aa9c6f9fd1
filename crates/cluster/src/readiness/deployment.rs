//! When a Deployment is rolled out.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;

use super::is_controlled_by;
use super::patience::Patience;
use super::pod::{self, Crashes};
use super::verdict::{Cause, Readiness, Reason};

/// Set by the Deployment controller on a Deployment and on its ReplicaSets; the current ReplicaSet has the same number.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Judges a Deployment by what its controller reports (as `kubectl rollout status` does, and that no old pod is left), and
/// by its current pods where it is not there yet.
///
/// `now` is the time by our clock, which need not agree with the cluster's. `pods` are those of the current roll-out, see [`pods_of_deployment`].
pub(crate) fn readiness(
    deployment: Option<&Deployment>,
    pods: &[&Pod],
    events: &[&Event],
    patience: &Patience,
    now: Timestamp,
) -> Readiness {
    let Some(deployment) = deployment else {
        let cause = Cause::new(
            Reason::Missing,
            "",
            "the Deployment does not exist",
            Some(patience.missing),
        );
        return Readiness::Waiting(vec![cause]);
    };
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let observed = status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0);
    if !observed {
        return Readiness::waiting(Vec::new(), || "the cluster has not looked at the change yet".to_owned());
    }
    let updated = status.updated_replicas.unwrap_or(0);
    let total = status.replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    if updated == wanted && total == wanted && available == wanted {
        // The Deployment's watch may be ahead of the pods': no judgement over pods that have not been seen.
        if i32::try_from(pods.len()).unwrap_or(i32::MAX) < wanted {
            return Readiness::waiting(Vec::new(), || {
                format!("{wanted} replicas are available, not all seen yet")
            });
        }
        let fresh: Vec<(String, i32)> = pods.iter().flat_map(|pod| pod::fresh_programs(pod, now)).collect();
        if fresh.is_empty() {
            return Readiness::Ready;
        }
        let restarted = fresh.iter().any(|(_, restarts)| *restarts > 0);
        let programs: Vec<String> = fresh
            .into_iter()
            .map(|(program, restarts)| format!("{program}#{restarts}"))
            .collect();
        return Readiness::Settling {
            programs: programs.join(" "),
            restarted,
        };
    }

    let mut causes: Vec<Cause> = pods
        .iter()
        .flat_map(|pod| pod::causes(pod, events, Crashes::AreFinal, patience))
        .collect();
    for condition in status.conditions.iter().flatten() {
        let said = condition.message.as_deref().unwrap_or_default();
        match (
            condition.type_.as_deref().unwrap_or_default(),
            condition.status.as_deref().unwrap_or_default(),
        ) {
            ("ReplicaFailure", "True") => causes.push(refused(said, patience)),
            ("Progressing", "False") if condition.reason.as_deref() == Some("ProgressDeadlineExceeded") => {
                causes.push(Cause::new(Reason::ProgressDeadline, "", said, Some(Duration::ZERO)));
            }
            _ => {}
        }
    }
    Readiness::waiting(causes, || {
        let old = total.saturating_sub(updated);
        let leftover = if old > 0 {
            format!(", {old} of the previous version still run")
        } else {
            String::new()
        };
        format!("{available} of {wanted} replicas are available{leftover}")
    })
}

/// Pods that could not even be created.
pub(super) fn refused(said: &str, patience: &Patience) -> Cause {
    let reason = if said.contains("exceeded quota") || said.contains("must specify") && said.contains("quota") {
        Reason::QuotaExceeded
    } else {
        Reason::Rejected
    };
    Cause::new(
        reason,
        "",
        format!("pods cannot be created: {said}"),
        Some(patience.admission),
    )
}

/// The pods of the Deployment's current ReplicaSet; of all its ReplicaSets where the Deployment names no revision.
/// Pods that are ending are left out: what happens to them says nothing about the roll-out.
pub(crate) fn pods_of_deployment<'a>(
    deployment: &Deployment,
    replica_sets: impl Iterator<Item = &'a ReplicaSet>,
    pods: impl Iterator<Item = &'a Pod>,
) -> Vec<&'a Pod> {
    let revision =
        |annotations: Option<&std::collections::BTreeMap<String, String>>| annotations?.get(REVISION).cloned();
    let current = revision(deployment.metadata.annotations.as_ref());
    let own: Vec<&ReplicaSet> = replica_sets
        .filter(|rs| is_controlled_by(&rs.metadata, deployment.metadata.uid.as_deref()))
        .collect();
    let is_current = |rs: &&&ReplicaSet| current.is_some() && revision(rs.metadata.annotations.as_ref()) == current;
    let uid = |rs: &&ReplicaSet| rs.metadata.uid.clone();
    let mut uids: BTreeSet<String> = own.iter().filter(is_current).filter_map(uid).collect();
    // A revision without its ReplicaSet is a watch that lags behind: nothing is known of its pods yet, and those of other
    // versions are no verdict on it.
    if uids.is_empty() && current.is_none() {
        uids = own.iter().filter_map(uid).collect();
    }
    pods.filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| uids.iter().any(|uid| is_controlled_by(&pod.metadata, Some(uid))))
        .collect()
}
