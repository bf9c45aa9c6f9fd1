//! The ReplicaSet controller: as many pods as wanted, and a status that counts them.
//!
//! It lists pods from the API at each reconciliation instead of reading a watch cache, so it can
//! never create a pod twice because a cache is behind.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Preconditions},
    core::Selector,
    runtime::{Controller, controller::Action, watcher},
};
use tokio_util::sync::CancellationToken;

use super::{
    control::{self, Context, ReconcileError},
    events::Severity,
    pod_factory, pod_health,
};

const COMPONENT: &str = "replicaset-controller";
/// Creations under way at a time.
const PARALLEL: usize = 8;
/// Pause after a pod could not be created (e.g. because of a quota).
const RETRY_CREATE: Duration = Duration::from_secs(2);

/// Runs the controller until `shutdown`.
pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let client = context.client.clone();
    let sets: Api<ReplicaSet> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client);
    let controller = Controller::new(sets, watcher::Config::default()).owns(pods, watcher::Config::default());
    control::run("replicaset", controller, Arc::new(context), reconcile, shutdown).await;
}

/// What to do about the number of pods.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Create(usize),
    /// Names, the least valuable first.
    Delete(Vec<String>),
}

fn plan(wanted: i32, active: &[&Pod]) -> Plan {
    let wanted = usize::try_from(wanted).unwrap_or(0);
    if active.len() <= wanted {
        return Plan::Create(wanted - active.len());
    }
    let mut ranked: Vec<&&Pod> = active.iter().collect();
    // First those that serve nobody, then the youngest (client-go, `ActivePodsWithRanks`).
    ranked.sort_by_key(|pod| {
        let scheduled = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let born = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (
            scheduled,
            running,
            pod_health::ready(pod),
            std::cmp::Reverse(born),
            pod.name_any(),
        )
    });
    Plan::Delete(
        ranked
            .iter()
            .take(active.len() - wanted)
            .map(|pod| pod.name_any())
            .collect(),
    )
}

async fn reconcile(set: Arc<ReplicaSet>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let namespace = set.namespace().unwrap_or_default();
    let sets: Api<ReplicaSet> = Api::namespaced(context.client.clone(), &namespace);
    // The cache may be behind, most of all behind this controller's own writes.
    let Some(set) = sets.get_opt(&set.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let (uid, name) = (set.uid().unwrap_or_default(), set.name_any());
    let spec = set.spec.clone();
    let selector = Selector::try_from(spec.selector.clone())
        .map_err(|error| ReconcileError::Invalid(format!("selector of {name}: {error}")))?;
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let mut pods = api.list(&ListParams::default().labels_from(&selector)).await?.items;
    pods.retain(|pod| control::is_controlled_by(pod, &uid));

    let mut failure = None;
    if set.metadata.deletion_timestamp.is_none() {
        let active: Vec<&Pod> = pods.iter().filter(|pod| pod_health::active(pod)).collect();
        match plan(spec.replicas.unwrap_or(1), &active) {
            Plan::Create(0) => {}
            Plan::Create(number) => failure = create(&context, &set, number).await,
            Plan::Delete(names) => delete(&context, &set, &api, &pods, &names).await?,
        }
        // What was created or deleted belongs into the status at once.
        pods = api.list(&ListParams::default().labels_from(&selector)).await?.items;
        pods.retain(|pod| control::is_controlled_by(pod, &uid));
    }
    let now = Timestamp::now();
    let status = status(&set, &pods, failure.as_deref(), now);
    if set.status.as_ref() != Some(&status) {
        let updated = ReplicaSet {
            status: Some(status),
            ..set.clone()
        };
        match sets.replace_status(&name, &control::post(), &updated).await {
            Err(error) if control::is_gone(&error) => return Ok(Action::await_change()),
            other => drop(other?),
        }
    }
    if failure.is_some() {
        return Ok(Action::requeue(RETRY_CREATE));
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let next = pods
        .iter()
        .filter_map(|pod| pod_health::available_at(pod, min_ready, now))
        .filter(|at| *at > now)
        .min();
    Ok(next.map_or_else(Action::await_change, |at| {
        Action::requeue(Duration::try_from(at.duration_since(now)).unwrap_or_default() + Duration::from_millis(10))
    }))
}

/// Creates pods and returns why one could not be created.
async fn create(context: &Context, set: &ReplicaSet, number: usize) -> Option<String> {
    let namespace = set.namespace().unwrap_or_default();
    let template = set.spec.template.clone().unwrap_or_default();
    let pod = pod_factory::pod(&template, &set.name_any(), &namespace, control::controlled_by(set));
    // The first one alone: if a quota forbids it, the others need not be tried.
    let first = pod_factory::create(context, &namespace, &pod).await;
    let mut results = vec![first];
    if results[0].is_ok() {
        let creations = (1..number).map(|_| pod_factory::create(context, &namespace, &pod));
        let others = futures::stream::iter(creations)
            .buffer_unordered(PARALLEL)
            .collect::<Vec<_>>()
            .await;
        results.extend(others);
    }
    let mut failure = None;
    for result in results {
        match result {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.name_any());
                context
                    .events
                    .publish(set, COMPONENT, Severity::Normal, "SuccessfulCreate", message);
            }
            Err(message) => {
                let event = format!("Error creating: {message}");
                context
                    .events
                    .publish(set, COMPONENT, Severity::Warning, "FailedCreate", event);
                failure = Some(message);
            }
        }
    }
    failure
}

async fn delete(
    context: &Context,
    set: &ReplicaSet,
    api: &Api<Pod>,
    pods: &[Pod],
    names: &[String],
) -> Result<(), ReconcileError> {
    for name in names {
        let uid = pods
            .iter()
            .find(|pod| pod.name_any() == *name)
            .and_then(|pod| pod.uid());
        let parameters = DeleteParams::default().preconditions(Preconditions {
            uid,
            resource_version: None,
        });
        match api.delete(name, &parameters).await {
            Err(error) if control::is_gone(&error) => continue,
            other => drop(other?),
        }
        context.events.publish(
            set,
            COMPONENT,
            Severity::Normal,
            "SuccessfulDelete",
            format!("Deleted pod: {name}"),
        );
    }
    Ok(())
}

fn status(set: &ReplicaSet, pods: &[Pod], failure: Option<&str>, now: Timestamp) -> ReplicaSetStatus {
    let spec = set.spec.clone();
    let count = |which: &dyn Fn(&&Pod) -> bool| i32::try_from(pods.iter().filter(which).count()).unwrap_or(i32::MAX);
    let some = |number: i32| (number > 0).then_some(number);
    let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let labelled = |pod: &&Pod| labels.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let available = |pod: &&Pod| pod_health::available_at(pod, min_ready, now).is_some_and(|at| at <= now);
    let before = set
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    let conditions: Vec<ReplicaSetCondition> = failure
        .map(|message| {
            let same = before
                .iter()
                .find(|condition| condition.type_.as_deref() == Some("ReplicaFailure"));
            ReplicaSetCondition {
                type_: Some("ReplicaFailure".to_owned()),
                status: Some("True".to_owned()),
                reason: Some("FailedCreate".to_owned()),
                message: Some(message.to_owned()),
                last_transition_time: same
                    .and_then(|same| same.last_transition_time.clone())
                    .or(Some(Time(now))),
            }
        })
        .into_iter()
        .collect();
    ReplicaSetStatus {
        replicas: count(&|pod| pod_health::active(pod)),
        fully_labeled_replicas: some(count(&|pod| pod_health::active(pod) && labelled(pod))),
        ready_replicas: some(count(&|pod| pod_health::active(pod) && pod_health::ready(pod))),
        available_replicas: some(count(&|pod| pod_health::active(pod) && available(pod))),
        terminating_replicas: Some(count(&|pod| pod_health::terminating(pod))),
        observed_generation: set.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn pod(name: &str, node: Option<&str>, ready: &str, born: &str) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": name, "creationTimestamp": born}, "spec": {"nodeName": node,
            "containers": []}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}}),
        )
        .unwrap()
    }

    #[test]
    fn pods_that_serve_nobody_are_deleted_first_and_then_the_youngest() {
        let pods = [
            pod("old", Some("n"), "True", "2026-01-01T00:00:00Z"),
            pod("young", Some("n"), "True", "2026-01-02T00:00:00Z"),
            pod("unready", Some("n"), "False", "2026-01-01T00:00:00Z"),
            pod("unscheduled", None, "False", "2026-01-01T00:00:00Z"),
        ];
        let active: Vec<&Pod> = pods.iter().collect();
        assert_eq!(
            plan(1, &active),
            Plan::Delete(vec!["unscheduled".into(), "unready".into(), "young".into()])
        );
        assert_eq!(plan(6, &active), Plan::Create(2));
        assert_eq!(plan(4, &active), Plan::Create(0));
    }
}
