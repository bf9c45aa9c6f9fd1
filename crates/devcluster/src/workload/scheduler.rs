//! The scheduler: assigns pods to the node while they fit, and says why when they do not.

use std::{collections::HashSet, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::{Status, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::reflector::Store,
};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    NodeCapacity, WorkloadConfig,
    events::{Events, Severity},
    requests::{self, Figure, Requests},
};

const COMPONENT: &str = "default-scheduler";

/// What shall happen to a pod that waits.
#[derive(Debug)]
enum Decision {
    Bind(Arc<Pod>),
    /// It does not fit, with the scheduler's message.
    Refuse(Arc<Pod>, String),
}

/// Decides for all pods of the cluster, oldest first. `assumed` are pods that were bound but may
/// not show it in `pods` yet.
fn decide(pods: &[Arc<Pod>], node: &str, capacity: NodeCapacity, assumed: &HashSet<String>) -> Vec<Decision> {
    let here = |pod: &Arc<Pod>| {
        let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        bound == Some(node) || (bound.is_none() && pod.metadata.uid.as_ref().is_some_and(|uid| assumed.contains(uid)))
    };
    let holding = pods.iter().filter(|pod| here(pod) && !requests::ended(pod));
    let (mut used, mut count) = (Requests::default(), 0i64);
    for pod in holding {
        used = used.plus(
            pod.spec
                .as_ref()
                .map(|spec| requests::of_pod(spec, Figure::Request))
                .unwrap_or_default(),
        );
        count += 1;
    }
    let mut waiting: Vec<&Arc<Pod>> = pods.iter().filter(|pod| !here(pod) && waits(pod)).collect();
    waiting.sort_by_key(|pod| {
        (
            pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            pod.metadata.name.clone(),
        )
    });
    let mut decisions = Vec::new();
    for pod in waiting {
        let Some(spec) = &pod.spec else { continue };
        let wanted = requests::of_pod(spec, Figure::Request);
        let total = used.plus(wanted);
        let mut lacking = Vec::new();
        if count >= capacity.pods {
            lacking.push("1 Too many pods");
        }
        if wanted.cpu_milli > 0 && total.cpu_milli > capacity.cpu_milli {
            lacking.push("1 Insufficient cpu");
        }
        if wanted.memory_bytes > 0 && total.memory_bytes > capacity.memory_bytes {
            lacking.push("1 Insufficient memory");
        }
        let hostname = |(key, value): (&String, &String)| key == "kubernetes.io/hostname" && value == node;
        let os = |(key, value): (&String, &String)| key == "kubernetes.io/os" && value == std::env::consts::OS;
        if spec
            .node_selector
            .iter()
            .flatten()
            .any(|label| !hostname(label) && !os(label))
        {
            lacking = vec!["1 node(s) didn't match Pod's node affinity/selector"];
        }
        if lacking.is_empty() {
            (used, count) = (total, count + 1);
            decisions.push(Decision::Bind(Arc::clone(pod)));
        } else {
            let message = format!(
                "0/1 nodes are available: {}. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
                lacking.join(", ")
            );
            decisions.push(Decision::Refuse(Arc::clone(pod), message));
        }
    }
    decisions
}

/// Whether the pod waits for this scheduler.
fn waits(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == COMPONENT);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated && spec.node_name.is_none() && pod.metadata.deletion_timestamp.is_none() && !requests::ended(pod)
}

/// Schedules after each change of the pods, until `shutdown`.
pub(crate) async fn run(
    client: Client,
    config: Arc<WorkloadConfig>,
    events: Events,
    pods: Store<Pod>,
    mut changed: watch::Receiver<u64>,
    shutdown: CancellationToken,
) {
    let mut scheduler = Scheduler {
        client,
        config,
        events,
        assumed: HashSet::new(),
    };
    let mut again = false;
    loop {
        let retry = async {
            if again {
                tokio::time::sleep(Duration::from_millis(500)).await
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            change = changed.changed() => if change.is_err() { return },
            () = retry => {}
            () = shutdown.cancelled() => return,
        }
        again = !scheduler.pass(&pods.state()).await;
    }
}

struct Scheduler {
    client: Client,
    config: Arc<WorkloadConfig>,
    events: Events,
    assumed: HashSet<String>,
}

impl Scheduler {
    /// `false` if something failed and must be tried again.
    async fn pass(&mut self, pods: &[Arc<Pod>]) -> bool {
        let unbound: HashSet<&str> = pods
            .iter()
            .filter(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()))
            .filter_map(|pod| pod.metadata.uid.as_deref())
            .collect();
        self.assumed.retain(|uid| unbound.contains(uid.as_str()));
        let mut complete = true;
        for decision in decide(pods, &self.config.node_name, self.config.capacity, &self.assumed) {
            complete &= match decision {
                Decision::Bind(pod) => self.bind(&pod).await,
                Decision::Refuse(pod, message) => self.refuse(&pod, message).await,
            };
        }
        complete
    }

    async fn bind(&mut self, pod: &Pod) -> bool {
        let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
        let node = &self.config.node_name;
        let binding = Binding {
            metadata: kube::api::ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.clone()),
                uid: pod.uid(),
                ..Default::default()
            },
            target: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.clone()),
                ..ObjectReference::default()
            },
        };
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams {
            field_manager: Some(COMPONENT.to_owned()),
            ..PostParams::default()
        };
        match api
            .create_subresource::<Binding, Status>("binding", &name, &parameters, &binding)
            .await
        {
            Ok(_) => {
                self.assumed.extend(pod.uid());
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                self.events
                    .publish(pod, COMPONENT, Severity::Normal, "Scheduled", message);
                true
            }
            // Gone or bound by someone else: the watch will tell.
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => true,
            Err(error) => {
                tracing::debug!(%error, pod = name, "not bound");
                false
            }
        }
    }

    async fn refuse(&self, pod: &Pod, message: String) -> bool {
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        let known = conditions.iter().find(|condition| condition.type_ == "PodScheduled");
        if known.is_some_and(|known| known.message.as_deref() == Some(&message)) {
            return true;
        }
        let since = known
            .filter(|known| known.status == "False")
            .and_then(|known| known.last_transition_time.clone());
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some("Unschedulable".to_owned()),
            message: Some(message.clone()),
            last_transition_time: since.or(Some(Time(Timestamp::now()))),
            ..PodCondition::default()
        };
        let others = conditions
            .into_iter()
            .filter(|condition| condition.type_ != "PodScheduled");
        let conditions: Vec<PodCondition> = std::iter::once(condition).chain(others).collect();
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": conditions}});
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let parameters = PatchParams {
            field_manager: Some(COMPONENT.to_owned()),
            ..PatchParams::default()
        };
        self.events
            .publish(pod, COMPONENT, Severity::Warning, "FailedScheduling", message);
        match api
            .patch_status(&pod.name_any(), &parameters, &Patch::Merge(patch))
            .await
        {
            Ok(_) => true,
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => true,
            Err(error) => {
                tracing::debug!(%error, pod = pod.name_any(), "condition not written");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(name: &str, cpu: &str, node: Option<&str>, phase: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(
                json!({"metadata": {"name": name, "uid": name}, "spec": {"nodeName": node,
                "containers": [{"name": "m", "resources": {"requests": {"cpu": cpu}}}]}, "status": {"phase": phase}}),
            )
            .unwrap(),
        )
    }

    fn outcome(pods: &[Arc<Pod>], assumed: &[&str]) -> Vec<(String, Option<String>)> {
        let capacity = NodeCapacity {
            cpu_milli: 1000,
            memory_bytes: 1 << 30,
            pods: 3,
        };
        let assumed = assumed.iter().map(|uid| (*uid).to_owned()).collect();
        decide(pods, "dev", capacity, &assumed)
            .into_iter()
            .map(|decision| match decision {
                Decision::Bind(pod) => (pod.name_any(), None),
                Decision::Refuse(pod, message) => (pod.name_any(), Some(message)),
            })
            .collect()
    }

    #[test]
    fn pods_are_bound_while_they_fit_and_refused_with_the_real_message() {
        let running = pod("a", "600m", Some("dev"), "Running");
        let pods = [
            Arc::clone(&running),
            pod("b", "300m", None, "Pending"),
            pod("c", "300m", None, "Pending"),
        ];
        let message = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
        assert_eq!(
            outcome(&pods, &[]),
            [("b".into(), None), ("c".into(), Some(message.into()))]
        );
        assert_eq!(
            outcome(&pods, &["b"]),
            [("c".into(), Some(message.into()))],
            "a bound pod counts at once"
        );
        let done = [
            pod("a", "600m", Some("dev"), "Succeeded"),
            pod("c", "900m", None, "Pending"),
        ];
        assert_eq!(
            outcome(&done, &[]),
            [("c".into(), None)],
            "a pod that ended holds nothing"
        );
        let elsewhere = [
            pod("a", "900m", Some("n1"), "Running"),
            pod("c", "900m", None, "Pending"),
        ];
        assert_eq!(outcome(&elsewhere, &[]), [("c".into(), None)]);
    }

    #[test]
    fn the_number_of_pods_is_limited() {
        let pods: Vec<_> = ["a", "b", "c", "d"]
            .into_iter()
            .map(|name| pod(name, "0", None, "Pending"))
            .collect();
        let refused: Vec<_> = outcome(&pods, &[])
            .into_iter()
            .filter_map(|(_, message)| message)
            .collect();
        assert_eq!(refused.len(), 1);
        assert!(refused[0].contains("1 Too many pods"), "{refused:?}");
    }
}
