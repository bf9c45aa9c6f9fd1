//! What of an owner's is in the cluster and how it is doing, for status pages.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster::Cluster;
use crate::error::ClusterError;
use crate::manifest::{Kind, ObjectRef};
use crate::owner::Owner;
use crate::readiness::{
    Readiness, Reason, deployment_readiness, is_controlled_by, job_readiness, pods_of_deployment, service_readiness,
};

/// How one object is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum State {
    /// As wanted.
    Ready,
    /// Not (yet) as wanted.
    NotReady {
        /// The class of the cause.
        reason: Reason,
        /// What happened, for people.
        message: String,
    },
    /// Being deleted.
    Ending,
}

/// One pod of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// The pod's name.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Whether all its containers are ready.
    pub ready: bool,
    /// Restarts of all its containers together.
    pub restarts: u32,
}

/// One object of an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// Which object.
    pub object: ObjectRef,
    /// When it was created (RFC 3339).
    pub created: Option<String>,
    /// How it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Its current pods; empty for kinds without pods.
    pub pods: Vec<PodStatus>,
}

impl Cluster {
    /// Everything in the namespace that is `owner`'s, in order of application, as it is at this moment.
    ///
    /// # Errors
    /// What any request can fail with.
    pub async fn list(&self, namespace: &str, owner: &Owner) -> Result<Vec<ObjectStatus>, ClusterError> {
        let selector = owner.selector();
        let objects = self.owned(namespace, &selector).await?;
        let pods: Vec<Pod> = self.all(namespace, ListParams::default().labels(&selector)).await?;
        let replica_sets: Vec<ReplicaSet> = self.all(namespace, ListParams::default().labels(&selector)).await?;
        let events: Vec<Event> = self
            .all(namespace, ListParams::default().fields("type=Warning"))
            .await
            .unwrap_or_default();
        let events: Vec<&Event> = events.iter().collect();
        let mut statuses = Vec::with_capacity(objects.len());
        for (kind, object) in objects {
            let (readiness, own) = self.judge(kind, &object, &replica_sets, &pods, &events);
            let state = match readiness {
                _ if object.metadata.deletion_timestamp.is_some() => State::Ending,
                Readiness::Ready | Readiness::Settling { .. } => State::Ready,
                Readiness::Waiting(causes) => causes.into_iter().next().map_or(State::Ready, |cause| State::NotReady {
                    reason: cause.reason,
                    message: cause.message,
                }),
            };
            statuses.push(ObjectStatus {
                object: ObjectRef::new(kind, object.name_any()),
                created: object.metadata.creation_timestamp.as_ref().map(|t| t.0.to_string()),
                state,
                pods: own.into_iter().map(pod_status).collect(),
            });
        }
        Ok(statuses)
    }

    fn judge<'a>(
        &self,
        kind: Kind,
        object: &DynamicObject,
        replica_sets: &'a [ReplicaSet],
        pods: &'a [Pod],
        events: &[&Event],
    ) -> (Readiness, Vec<&'a Pod>) {
        let patience = self.patience();
        match kind {
            Kind::Deployment => {
                let typed: Option<Deployment> = typed(object);
                let own = typed
                    .as_ref()
                    .map(|d| pods_of_deployment(d, replica_sets.iter(), pods.iter()))
                    .unwrap_or_default();
                (
                    deployment_readiness(typed.as_ref(), &own, events, patience, Timestamp::now()),
                    own,
                )
            }
            Kind::Job => {
                let typed: Option<Job> = typed(object);
                let uid = object.metadata.uid.as_deref();
                let own: Vec<&Pod> = pods.iter().filter(|pod| is_controlled_by(&pod.metadata, uid)).collect();
                (job_readiness(typed.as_ref(), &own, events, patience), own)
            }
            Kind::Service => (
                service_readiness(typed::<Service>(object).as_ref(), patience),
                Vec::new(),
            ),
            Kind::ServiceAccount | Kind::ConfigMap | Kind::Secret => (Readiness::Ready, Vec::new()),
        }
    }

    async fn all<K>(&self, namespace: &str, params: ListParams) -> Result<Vec<K>, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client().clone(), namespace);
        let doing = format!("listing {} in namespace \"{namespace}\"", K::plural(&()));
        Ok(self.request(&doing, api.list(&params)).await?.items)
    }
}

fn typed<K: DeserializeOwned>(object: &DynamicObject) -> Option<K> {
    serde_json::to_value(object).and_then(serde_json::from_value).ok()
}

fn pod_status(pod: &Pod) -> PodStatus {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let restarts = containers
        .iter()
        .map(|c| u32::try_from(c.restart_count).unwrap_or(0))
        .fold(0_u32, u32::saturating_add);
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True");
    PodStatus {
        name: pod.name_any(),
        phase: status.phase.unwrap_or_else(|| "Unknown".to_owned()),
        ready,
        restarts,
    }
}
