//! One task per pod: feeds the pure [`Machine`] and does what it says.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    hook,
    launch::{Report, Start},
    machine::Machine,
    messages::{Effect, Input},
    node::Node,
    probe::{self, Target},
    process::Orders,
    status::{Addresses, pod_status},
};
use crate::workload::events::Severity;

const COMPONENT: &str = "kubelet";
/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// How long containers have to end when the cluster shuts down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// A pod that is run by this node.
struct Actor {
    node: Arc<Node>,
    machine: Machine,
    uid: String,
    address: Ipv4Addr,
    pod_dir: PathBuf,
    orders: HashMap<usize, (u32, Orders, Target)>,
    /// Starts whose `preStop` hook has been run.
    hooked: HashSet<(usize, u32)>,
    reports: mpsc::Sender<Report>,
    tasks: JoinSet<()>,
    remove: bool,
    gone: bool,
}

/// Runs the pod until it is gone from the store or the cluster shuts down. `desired` carries the pod as
/// it is in the store, `None` when it is no longer there.
pub(super) async fn run(
    node: Arc<Node>,
    pod: Arc<Pod>,
    address: Ipv4Addr,
    mut desired: watch::Receiver<Option<Arc<Pod>>>,
    shutdown: CancellationToken,
) {
    let (reports, mut inbox) = mpsc::channel(256);
    let uid = pod.uid().unwrap_or_default();
    let machine = Machine::new(Arc::clone(&pod), node.config.timing, Timestamp::now());
    let pod_dir = node.pod_dir(&uid);
    let (orders, tasks) = (HashMap::new(), JoinSet::new());
    let mut actor = Actor {
        node,
        machine,
        uid,
        address,
        pod_dir,
        orders,
        hooked: HashSet::new(),
        reports,
        tasks,
        remove: false,
        gone: false,
    };
    let mut shutting_down = false;
    let mut retry_at: Option<Instant> = None;
    actor.take(Report::Input(Input::Desired(pod)));
    loop {
        let wrote = actor.write(shutting_down).await;
        retry_at = if wrote {
            None
        } else {
            retry_at.or(Some(Instant::now() + RETRY))
        };
        if wrote && actor.machine.is_over() && (actor.gone || shutting_down) {
            break;
        }
        let wakeup = actor.machine.next_wakeup().map(|at| {
            Instant::now() + Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
        });
        let timer = wakeup.into_iter().chain(retry_at).min();
        tokio::select! {
            changed = desired.changed() => {
                let pod = if changed.is_ok() { desired.borrow_and_update().clone() } else { None };
                actor.desired(pod);
            }
            Some(report) = inbox.recv() => {
                actor.take(report);
                while let Ok(report) = inbox.try_recv() {
                    actor.take(report);
                }
            }
            () = sleep_until(timer) => {
                retry_at = retry_at.filter(|at| *at > Instant::now());
                let effects = actor.machine.advance(Timestamp::now());
                actor.perform(effects);
            }
            () = shutdown.cancelled(), if !shutting_down => {
                shutting_down = true;
                actor.take(Report::Input(Input::ShutDown(SHUTDOWN_GRACE)));
            }
            Some(_) = actor.tasks.join_next() => {}
        }
    }
    actor.finish(shutting_down).await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Actor {
    fn desired(&mut self, pod: Option<Arc<Pod>>) {
        match pod {
            Some(pod) => {
                if pod.metadata.deletion_timestamp.is_some() {
                    self.node.withdrawn.withdraw(self.address);
                }
                self.take(Report::Input(Input::Desired(pod)));
            }
            None if self.gone => {}
            None => {
                self.gone = true;
                self.node.withdrawn.withdraw(self.address);
                self.take(Report::Input(Input::Gone));
            }
        }
    }

    fn take(&mut self, report: Report) {
        let input = match report {
            Report::Input(input) => input,
            Report::Running {
                container,
                attempt,
                orders,
                target,
            } => {
                self.orders.insert(container, (attempt, orders, *target));
                Input::Started { container, attempt }
            }
        };
        let effects = self.machine.apply(input, Timestamp::now());
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start { container, attempt } => self.start(container, attempt),
                Effect::Stop { container, grace } => self.stop(container, grace),
                Effect::Probe {
                    container,
                    attempt,
                    kind,
                } => self.probe(container, attempt, kind),
                Effect::Event {
                    warning,
                    reason,
                    message,
                } => {
                    let severity = if warning { Severity::Warning } else { Severity::Normal };
                    self.node
                        .events
                        .publish(&*self.machine.pod, COMPONENT, severity, reason, message);
                }
                Effect::Remove => self.remove = true,
            }
        }
    }

    fn start(&mut self, container: usize, attempt: u32) {
        let spec = self.machine.tracks[container].spec.clone();
        let written = self.node.running.add(&self.uid, &spec.name);
        let start = Start {
            node: Arc::clone(&self.node),
            pod: Arc::clone(&self.machine.pod),
            pod_ip: self.address.to_string(),
            pod_dir: self.pod_dir.clone(),
            container,
            spec,
            attempt,
            written,
        };
        self.tasks.spawn(start.run(self.reports.clone()));
    }

    /// Stops a container, after its `preStop` hook the first time. A second order hurries and does not wait for it.
    fn stop(&mut self, container: usize, grace: Duration) {
        let Some((attempt, orders, target)) = self.orders.get(&container) else {
            return;
        };
        let spec = &self.machine.tracks[container].spec;
        let first = self.hooked.insert((container, *attempt));
        let Some(hook) = hook::pre_stop(spec).filter(|_| first && !grace.is_zero()) else {
            orders.stop(grace);
            return;
        };
        let (spec, mut target, orders) = (spec.clone(), target.clone(), orders.clone());
        target.probe_lock.as_mut_os_string().push("-preStop");
        let (events, pod) = (self.node.events.clone(), Arc::clone(&self.machine.pod));
        self.tasks.spawn(async move {
            if let Err(error) = hook::run_then_stop(&hook, &spec, &target, &orders, grace).await {
                let message = format!("PreStopHook failed: {error}");
                events.publish(&*pod, COMPONENT, Severity::Warning, "FailedPreStopHook", message);
            }
        });
    }

    fn probe(&mut self, container: usize, attempt: u32, kind: super::probe_plan::ProbeKind) {
        use super::probe_plan::ProbeKind;
        let spec = self.machine.tracks[container].spec.clone();
        let probe = match kind {
            ProbeKind::Startup => spec.startup_probe.clone(),
            ProbeKind::Readiness => spec.readiness_probe.clone(),
            ProbeKind::Liveness => spec.liveness_probe.clone(),
        };
        let target = self.orders.get(&container).map(|(_, _, target)| target.clone());
        let (Some(probe), Some(mut target)) = (probe, target) else {
            return;
        };
        // Probes of different kinds run at the same time.
        target.probe_lock.as_mut_os_string().push(format!("-{}", kind.name()));
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            let result = probe::run(&probe, &spec, &target).await;
            let _ = reports
                .send(Report::Input(Input::Probed {
                    container,
                    attempt,
                    kind,
                    result,
                }))
                .await;
        });
    }

    /// Writes the status if it changed, and removes the pod if it is over. `false` if that must be
    /// tried again.
    async fn write(&mut self, shutting_down: bool) -> bool {
        // The store keeps what was true before a shutdown: the next start needs to know what ran.
        if self.gone || shutting_down {
            return true;
        }
        let addresses = Addresses {
            pod: self.address.to_string(),
            host: self.node.host_ip.clone(),
        };
        let status = pod_status(&self.machine, &addresses, Timestamp::now());
        if self.machine.reported.as_ref() != Some(&status) && !self.write_status(status).await {
            return false;
        }
        if self.remove && !self.gone {
            return self.remove_pod().await;
        }
        true
    }

    fn api(&self) -> Api<Pod> {
        let namespace = self.machine.pod.namespace().unwrap_or_default();
        Api::namespaced(self.node.client.clone(), &namespace)
    }

    async fn write_status(&mut self, status: PodStatus) -> bool {
        // The uid makes sure that a new pod of the same name is not meant.
        let patch = json!({"metadata": {"uid": self.uid}, "status": status});
        let parameters = PatchParams {
            field_manager: Some(COMPONENT.to_owned()),
            ..PatchParams::default()
        };
        match self
            .api()
            .patch_status(&self.machine.pod.name_any(), &parameters, &Patch::Merge(patch))
            .await
        {
            Ok(_) => {
                self.machine.reported = Some(status);
                true
            }
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => {
                // Gone, or another pod of that name: the watch will say so.
                self.machine.reported = Some(status);
                true
            }
            Err(error) => {
                tracing::debug!(%error, pod = self.machine.pod.name_any(), "status not written");
                false
            }
        }
    }

    async fn remove_pod(&mut self) -> bool {
        let preconditions = Preconditions {
            uid: Some(self.uid.clone()),
            resource_version: None,
        };
        let parameters = DeleteParams::default().grace_period(0).preconditions(preconditions);
        match self.api().delete(&self.machine.pod.name_any(), &parameters).await {
            Ok(_) => self.remove = false,
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => {
                self.remove = false;
                self.gone = true;
            }
            Err(error) => {
                tracing::debug!(%error, pod = self.machine.pod.name_any(), "pod not removed");
                return false;
            }
        }
        true
    }

    async fn finish(mut self, shutting_down: bool) {
        self.tasks.shutdown().await;
        if !shutting_down {
            self.node.release(self.address);
            if let Err(error) = tokio::fs::remove_dir_all(&self.pod_dir).await
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, folder = %self.pod_dir.display(), "pod folder not removed");
            }
        }
    }
}
