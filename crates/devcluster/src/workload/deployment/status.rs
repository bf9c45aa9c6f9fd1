//! A Deployment's status and conditions. Pure.

use std::time::Duration;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::ResourceExt as _;

use super::rolling::Wanted;

/// What happened in this reconciliation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    /// The current set was created just now.
    pub(super) created: bool,
}

/// The status of `deployment` with these sets; `current` is the set of its template.
pub(super) fn status(
    deployment: &Deployment,
    sets: &[ReplicaSet],
    current: Option<&ReplicaSet>,
    collisions: Option<i32>,
    happened: Happened,
    now: Timestamp,
) -> DeploymentStatus {
    let before = deployment.status.clone().unwrap_or_default();
    let spec = deployment.spec.clone();
    let wanted = Wanted::of(&spec);
    let sum = |figure: &dyn Fn(&ReplicaSet) -> i32| sets.iter().map(figure).sum::<i32>();
    let of = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
    let replicas = sum(&|set| of(set).replicas);
    let available = sum(&|set| of(set).available_replicas.unwrap_or(0));
    let some = |number: i32| (number > 0).then_some(number);
    let unavailable = sum(&|set| set.spec.replicas.unwrap_or(1)) - available;
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(replicas),
        updated_replicas: some(current.map_or(0, |set| of(set).replicas)),
        ready_replicas: some(sum(&|set| of(set).ready_replicas.unwrap_or(0))),
        available_replicas: some(available),
        unavailable_replicas: some(unavailable),
        terminating_replicas: Some(sum(&|set| of(set).terminating_replicas.unwrap_or(0))),
        collision_count: collisions,
        conditions: before.conditions.clone(),
    };
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let available_now = available >= wanted.min_available();
    let (value, reason, message) = if available_now {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    set(&mut conditions, "Available", value, reason, message, now);
    progress(deployment, &before, &status, current, happened, &mut conditions, now);
    replica_failure(sets, &mut conditions, now);
    status.conditions = Some(conditions);
    status
}

/// When the condition `Progressing` will have to say that the deadline is exceeded.
pub(super) fn deadline(deployment: &Deployment, status: &DeploymentStatus) -> Option<Timestamp> {
    let seconds = deployment
        .spec
        .progress_deadline_seconds
        .filter(|seconds| *seconds != i32::MAX)?;
    let progressing = status
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| is(condition, "Progressing"))?;
    let waiting = !matches!(
        progressing.reason.as_deref(),
        Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded")
    );
    let from = progressing.last_update_time.as_ref().filter(|_| waiting)?.0;
    Some(from + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The roll-out is complete: all replicas are of the current template and available.
pub(super) fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn progress(
    deployment: &Deployment,
    before: &DeploymentStatus,
    status: &DeploymentStatus,
    current: Option<&ReplicaSet>,
    happened: Happened,
    conditions: &mut Vec<DeploymentCondition>,
    now: Timestamp,
) {
    let spec = deployment.spec.clone();
    let known = conditions
        .iter()
        .find(|condition| is(condition, "Progressing"))
        .cloned();
    if spec.paused == Some(true) {
        let reason = known.and_then(|known| known.reason);
        if reason.as_deref() != Some("DeploymentPaused") && spec.progress_deadline_seconds.is_some() {
            set(
                conditions,
                "Progressing",
                "Unknown",
                "DeploymentPaused",
                "Deployment is paused",
                now,
            );
        }
        return;
    }
    if known.as_ref().and_then(|known| known.reason.as_deref()) == Some("DeploymentPaused") {
        set(
            conditions,
            "Progressing",
            "Unknown",
            "DeploymentResumed",
            "Deployment is resumed",
            now,
        );
        return;
    }
    let Some(current) = current else { return };
    let name = current.name_any();
    let reason = known.as_ref().and_then(|known| known.reason.as_deref());
    if happened.created {
        let message = format!("Created new replica set \"{name}\"");
        set(conditions, "Progressing", "True", "NewReplicaSetCreated", &message, now);
        return;
    }
    let number = |value: Option<i32>| value.unwrap_or(0);
    let old = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    if complete(deployment, status) {
        if reason != Some("NewReplicaSetAvailable") {
            let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
            set(
                conditions,
                "Progressing",
                "True",
                "NewReplicaSetAvailable",
                &message,
                now,
            );
        }
        return;
    }
    let settled = reason == Some("NewReplicaSetAvailable") && old(status) == 0;
    let moved = number(status.updated_replicas) > number(before.updated_replicas)
        || old(status) < old(before)
        || number(status.ready_replicas) > number(before.ready_replicas)
        || number(status.available_replicas) > number(before.available_replicas);
    if settled {
        // Scaling or a lost pod after a complete roll-out is no roll-out.
    } else if moved {
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        set(conditions, "Progressing", "True", "ReplicaSetUpdated", &message, now);
    } else if known.is_none() {
        let message = format!("Found new replica set \"{name}\"");
        set(conditions, "Progressing", "True", "FoundNewReplicaSet", &message, now);
    } else if deadline(deployment, before).is_some_and(|deadline| deadline <= now) {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        set(
            conditions,
            "Progressing",
            "False",
            "ProgressDeadlineExceeded",
            &message,
            now,
        );
    }
}

fn replica_failure(sets: &[ReplicaSet], conditions: &mut Vec<DeploymentCondition>, now: Timestamp) {
    let failures = sets.iter().filter_map(|set| set.status.as_ref()?.conditions.as_ref());
    let failure = failures.flatten().find(|condition| {
        condition.type_.as_deref() == Some("ReplicaFailure") && condition.status.as_deref() == Some("True")
    });
    match failure {
        Some(failure) => {
            let (reason, message) = (failure.reason.as_deref(), failure.message.as_deref());
            let message = message.unwrap_or_default();
            set(
                conditions,
                "ReplicaFailure",
                "True",
                reason.unwrap_or("FailedCreate"),
                message,
                now,
            );
        }
        None => conditions.retain(|condition| !is(condition, "ReplicaFailure")),
    }
}

/// Sets a condition. Nothing changes when status and reason are as before, except for failures, whose
/// message matters; the transition time moves only with the status.
fn set(
    conditions: &mut Vec<DeploymentCondition>,
    type_: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let known = conditions.iter().position(|condition| is(condition, type_));
    if let Some(known) = known.map(|index| &conditions[index]) {
        let same = known.status.as_deref() == Some(status) && known.reason.as_deref() == Some(reason);
        let progress = type_ == "Progressing" && reason == "ReplicaSetUpdated";
        if same && !progress && known.message.as_deref() == Some(message) {
            return;
        }
    }
    let since = known
        .map(|index| &conditions[index])
        .filter(|known| known.status.as_deref() == Some(status))
        .and_then(|known| known.last_transition_time.clone());
    let condition = DeploymentCondition {
        type_: Some(type_.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
    };
    match known {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

fn is(condition: &DeploymentCondition, type_: &str) -> bool {
    condition.type_.as_deref() == Some(type_)
}
