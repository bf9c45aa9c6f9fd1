//! Everything that readiness is judged by, kept up to date by watches.

use futures::stream::{BoxStream, SelectAll, select_all};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use tokio::time::Instant;

use crate::error::{ClusterError, Permanent};
use crate::follow::{Step, follow};
use crate::manifest::{Kind, ObjectRef};
use crate::owner::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::readiness::{
    Patience, Readiness, deployment_readiness, job_readiness, pods_of_deployment, service_readiness,
};

/// The stores of the kinds that matter, and the watches that fill them. Dropping it ends the watches.
pub(crate) struct Observation {
    deployments: Store<Deployment>,
    replica_sets: Store<ReplicaSet>,
    pods: Store<Pod>,
    jobs: Store<Job>,
    services: Store<Service>,
    events: Store<Event>,
    steps: SelectAll<BoxStream<'static, (Source, Step)>>,
    /// Which sources have not given a first complete list yet.
    unlisted: Vec<Source>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Deployments,
    ReplicaSets,
    Pods,
    Jobs,
    Services,
    Events,
}

/// What woke the observer up.
pub(crate) enum Woken {
    /// Something changed; look again.
    Change,
    /// The time came.
    Time,
    /// A watch failed and tries again.
    Failure(ClusterError),
}

impl Observation {
    /// Starts watching what a wait for `objects` needs; only objects that Hanse manages are watched.
    pub(crate) fn start(client: &Client, namespace: &str, objects: &[ObjectRef]) -> Self {
        let ours = || Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGED_BY}"));
        let has = |kind| objects.iter().any(|o| o.kind == kind);
        let mut watches = Vec::new();
        let mut unlisted = Vec::new();
        macro_rules! watch {
            ($source:expr, $needed:expr, $config:expr) => {{
                let (store, steps) = follow(Api::namespaced(client.clone(), namespace), $config);
                if $needed {
                    unlisted.push($source);
                    watches.push(steps.map(|step| ($source, step)).boxed());
                }
                store
            }};
        }
        let has_pods = has(Kind::Deployment) || has(Kind::Job);
        let deployments = watch!(Source::Deployments, has(Kind::Deployment), ours());
        let replica_sets = watch!(Source::ReplicaSets, has(Kind::Deployment), ours());
        let pods = watch!(Source::Pods, has_pods, ours());
        let jobs = watch!(Source::Jobs, has(Kind::Job), ours());
        let services = watch!(Source::Services, has(Kind::Service), ours());
        // Events carry no labels of their objects. Warnings alone tell why something does not start.
        let events = watch!(Source::Events, has_pods, Config::default().fields("type=Warning"));
        Self {
            deployments,
            replica_sets,
            pods,
            jobs,
            services,
            events,
            steps: select_all(watches),
            unlisted,
        }
    }

    /// Whether every store has been complete once.
    pub(crate) fn is_complete(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// Waits for a change, at most until `time`. Changes that have already arrived are taken together.
    pub(crate) async fn next(&mut self, time: Instant) -> Result<Woken, Permanent> {
        let first = match tokio::time::timeout_at(time, self.steps.next()).await {
            Err(_) => return Ok(Woken::Time),
            // No watch at all: nothing will ever change.
            Ok(None) => {
                tokio::time::sleep_until(time).await;
                return Ok(Woken::Time);
            }
            Ok(Some(step)) => step,
        };
        let mut failed = None;
        let mut step = Some(first);
        while let Some((source, what)) = step {
            match what {
                Step::Listed => self.unlisted.retain(|s| *s != source),
                Step::Changed => {}
                // Events only make messages better; without the right to read them the wait works all the same.
                Step::Failed(ClusterError::Permanent(Permanent::Forbidden { .. })) if source == Source::Events => {
                    self.unlisted.retain(|s| *s != source);
                }
                Step::Failed(ClusterError::Permanent(error)) => return Err(error),
                Step::Failed(error) => failed = Some(error),
            }
            step = self.steps.next().now_or_never().flatten();
        }
        Ok(failed.map_or(Woken::Change, Woken::Failure))
    }

    /// Judges one object by what is known now. Kinds that are ready by existing are ready.
    pub(crate) fn readiness(&self, object: &ObjectRef, patience: &Patience) -> Readiness {
        let name = Some(object.name.as_str());
        let events = self.events.state();
        let events: Vec<&Event> = events.iter().map(AsRef::as_ref).collect();
        let pods = self.pods.state();
        match object.kind {
            Kind::Deployment => {
                let found = self.deployments.find(|d| d.metadata.name.as_deref() == name);
                let replica_sets = self.replica_sets.state();
                let own = found.as_deref().map_or_else(Vec::new, |deployment| {
                    pods_of_deployment(
                        deployment,
                        replica_sets.iter().map(AsRef::as_ref),
                        pods.iter().map(AsRef::as_ref),
                    )
                });
                deployment_readiness(found.as_deref(), &own, &events, patience, Timestamp::now())
            }
            Kind::Job => {
                let found = self.jobs.find(|j| j.metadata.name.as_deref() == name);
                let pods: Vec<&Pod> = pods.iter().map(AsRef::as_ref).collect();
                job_readiness(found.as_deref(), &pods, &events, patience)
            }
            Kind::Service => {
                let found = self.services.find(|s| s.metadata.name.as_deref() == name);
                service_readiness(found.as_deref(), patience)
            }
            Kind::ServiceAccount | Kind::ConfigMap | Kind::Secret => Readiness::Ready,
        }
    }

    /// The Service of this name as it is now.
    pub(crate) fn service(&self, name: &str) -> Option<std::sync::Arc<Service>> {
        self.services.find(|s| s.metadata.name.as_deref() == Some(name))
    }
}
