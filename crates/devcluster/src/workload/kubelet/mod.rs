//! The kubelet: pods that are assigned to this node become local processes.
//!
//! # Promise
//! - Every pod with `spec.nodeName` of this node has one [`actor`]; it runs the pod's containers as a
//!   kubelet would and writes the status. What a pod does over time is decided in [`machine`], which is
//!   pure.
//! - Nothing runs that is not in the store, and nothing runs twice ([`crate::workload::supervise`]).
//! - After a restart of the cluster pods go on: what ran is started again with a higher restart count.
//!
//! # Limits of a development cluster
//! Processes are not isolated: no namespaces, no limits of memory or CPU, the user of the cluster.
//! Volumes are below `$HANSE_POD_ROOT`. Programs must bind to the pod's address (`status.podIP`, also
//! in `$HANSE_POD_IP`) and not to all addresses. There is no DNS; Services are found by their
//! environment variables or addresses. Not there: `postStart` hooks, sidecar init containers, gRPC and
//! HTTPS probes, `resourceFieldRef`, service-account tokens in volumes, updates of mounted ConfigMaps while
//! a container runs (they are rewritten when it starts), NodePorts.

mod actor;
mod backoff;
mod environment;
mod expand;
mod hook;
mod launch;
mod logs;
mod machine;
mod messages;
mod node;
mod pod_logs;
mod probe;
mod probe_plan;
mod process;
mod refusal;
mod register;
mod status;
mod track;
mod volumes;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    runtime::{WatchStreamExt as _, reflector::store::Writer, watcher},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use node::{Node, Withdrawn};
pub use pod_logs::{LogError, LogRange, LogReader};
pub(crate) use register::register;

use super::{events::Severity, range};

/// Watches pods until `shutdown`, then stops their containers. `pods` receives all pods of the
/// cluster, and `changed` is told of each change, for the scheduler.
pub(crate) async fn run(
    node: Arc<Node>,
    mut pods: Writer<Pod>,
    changed: watch::Sender<u64>,
    shutdown: CancellationToken,
) {
    let mut kubelet = Kubelet {
        node,
        known: HashMap::new(),
        actors: JoinSet::new(),
        listed: HashSet::new(),
        shutdown,
    };
    let api: Api<Pod> = Api::all(kubelet.node.client.clone());
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    pods.apply_watcher_event(&event);
                    kubelet.take(event);
                    changed.send_modify(|count| *count = count.wrapping_add(1));
                }
                Some(Err(error)) => tracing::debug!(%error, "watch of pods interrupted"),
                None => break,
            },
            Some(ended) = kubelet.actors.join_next() => kubelet.reap(ended),
            () = kubelet.shutdown.cancelled() => break,
        }
    }
    while let Some(ended) = kubelet.actors.join_next().await {
        kubelet.reap(ended);
    }
}

struct Kubelet {
    node: Arc<Node>,
    /// By uid.
    known: HashMap<String, watch::Sender<Option<Arc<Pod>>>>,
    actors: JoinSet<String>,
    /// What a new list has contained so far.
    listed: HashSet<String>,
    shutdown: CancellationToken,
}

impl Kubelet {
    fn take(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => {
                self.listed.extend(pod.uid());
                self.desired(pod);
            }
            watcher::Event::InitDone => {
                // What was deleted while the watch was interrupted, or before a restart.
                for (uid, desired) in &self.known {
                    if !self.listed.contains(uid) {
                        let _ = desired.send(None);
                    }
                }
                self.remove_leftovers();
                self.listed.clear();
            }
            watcher::Event::Apply(pod) => self.desired(pod),
            watcher::Event::Delete(pod) => {
                if let Some(desired) = pod.uid().and_then(|uid| self.known.get(&uid)) {
                    let _ = desired.send(None);
                }
            }
        }
    }

    fn desired(&mut self, pod: Pod) {
        let here = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&self.node.config.node_name);
        let Some(uid) = pod.uid().filter(|_| here) else {
            return;
        };
        let pod = Arc::new(pod);
        if let Some(desired) = self.known.get(&uid) {
            let _ = desired.send(Some(pod));
            return;
        }
        let before = pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.as_deref())
            .and_then(range::loopback);
        let Some(address) = self.node.address(before) else {
            let message = format!("no free address in the pod range {}", self.node.config.pod_range);
            self.node
                .events
                .publish(&*pod, "kubelet", Severity::Warning, "FailedCreatePodSandBox", message);
            return;
        };
        let (sender, receiver) = watch::channel(Some(Arc::clone(&pod)));
        self.known.insert(uid.clone(), sender);
        let run = actor::run(Arc::clone(&self.node), pod, address, receiver, self.shutdown.clone());
        self.actors.spawn(async move {
            run.await;
            uid
        });
    }

    /// Removes folders of pods that are neither in the store nor running.
    fn remove_leftovers(&self) {
        let Ok(entries) = std::fs::read_dir(self.node.config.data_dir.join("pods")) else {
            return;
        };
        for entry in entries.flatten() {
            let uid = entry.file_name().to_string_lossy().into_owned();
            if !self.listed.contains(&uid)
                && !self.known.contains_key(&uid)
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::warn!(%error, folder = %entry.path().display(), "folder of a pod that is gone not removed");
            }
        }
    }

    fn reap(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(uid) => drop(self.known.remove(&uid)),
            Err(error) => tracing::error!(%error, "a pod's task failed"),
        }
    }
}
