//! Changing what runs: replicas, configuration, restarts.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::Patch;
use serde_json::json;

use crate::cluster::{Cluster, in_namespace};
use crate::error::{ClusterError, Permanent};
use crate::manifest::{Kind, ObjectRef};

/// Annotation of a pod template with the cause of its last roll-out.
const ROLLED_OUT_FOR: &str = "hanse.dev/rolled-out-for";

/// How many pods of a Deployment there should be, and are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// As many as are wanted.
    pub wanted: u32,
    /// Ready for at least `minReadySeconds`.
    pub available: u32,
}

impl Cluster {
    /// Sets the number of replicas; [`wait_rollout`](Cluster::wait_rollout) tells when it is reached.
    ///
    /// # Errors
    /// [`Permanent::NotFound`] when there is no such Deployment, and what any request can fail with.
    pub async fn scale(&self, namespace: &str, deployment: &str, replicas: u32) -> Result<(), ClusterError> {
        let what = in_namespace(&ObjectRef::new(Kind::Deployment, deployment), namespace);
        if i32::try_from(replicas).is_err() {
            return Err(
                Permanent::Request(format!("{what} cannot have {replicas} replicas: at most {}", i32::MAX)).into(),
            );
        }
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let (api, params) = (self.deployments(namespace), Self::patch_params());
        let request = api.patch_scale(deployment, &params, &patch);
        self.request(&format!("scaling {what} to {replicas}"), request)
            .await
            .map(drop)
    }

    /// How many pods the Deployment should have and has.
    ///
    /// # Errors
    /// As [`scale`](Self::scale).
    pub async fn replicas(&self, namespace: &str, deployment: &str) -> Result<Replicas, ClusterError> {
        let what = in_namespace(&ObjectRef::new(Kind::Deployment, deployment), namespace);
        let found = self
            .request(&format!("reading {what}"), self.deployments(namespace).get(deployment))
            .await?;
        let count = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
        Ok(Replicas {
            wanted: count(found.spec.replicas).unwrap_or(1),
            available: count(found.status.and_then(|s| s.available_replicas)).unwrap_or(0),
        })
    }

    /// Sets one key of a ConfigMap. Returns whether that changed anything. Pods that read it as environment variables see it
    /// after [`rollout_restart`](Self::rollout_restart).
    ///
    /// # Errors
    /// [`Permanent::NotFound`] when there is no such ConfigMap, and what any request can fail with.
    pub async fn patch_config_map(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<bool, ClusterError> {
        let doing = format!(
            "setting \"{key}\" of {}",
            in_namespace(&ObjectRef::new(Kind::ConfigMap, name), namespace)
        );
        let api: Api<ConfigMap> = Api::namespaced(self.client().clone(), namespace);
        let before = self.request(&doing, api.get(name)).await?;
        if before.data.as_ref().and_then(|d| d.get(key)).map(String::as_str) == Some(value) {
            return Ok(false);
        }
        let patch = Patch::Merge(json!({"data": {key: value}}));
        self.request(&doing, api.patch(name, &Self::patch_params(), &patch))
            .await
            .map(|_| true)
    }

    /// Replaces all pods of a Deployment, new ones first; [`wait_rollout`](Cluster::wait_rollout) tells when it is done.
    ///
    /// # Errors
    /// As [`scale`](Self::scale).
    pub async fn rollout_restart(&self, namespace: &str, deployment: &str) -> Result<(), ClusterError> {
        let what = in_namespace(&ObjectRef::new(Kind::Deployment, deployment), namespace);
        // What `kubectl rollout restart` does, under our name: a changed annotation makes a new version of the pods.
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let patch = Patch::Merge(json!({
            "spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}
        }));
        let (api, params) = (self.deployments(namespace), Self::patch_params());
        self.request(&format!("restarting {what}"), api.patch(deployment, &params, &patch))
            .await
            .map(drop)
    }

    /// As [`rollout_restart`](Self::rollout_restart), but only if the pods were not yet replaced for the same `cause`, so that
    /// it can be repeated. A cause is what the pods should know of, such as the configuration that they are to read.
    ///
    /// # Errors
    /// As [`scale`](Self::scale).
    pub async fn rollout_for(&self, namespace: &str, deployment: &str, cause: &str) -> Result<(), ClusterError> {
        let what = in_namespace(&ObjectRef::new(Kind::Deployment, deployment), namespace);
        let patch = Patch::Merge(json!({
            "spec": {"template": {"metadata": {"annotations": {ROLLED_OUT_FOR: cause}}}}
        }));
        let (api, params) = (self.deployments(namespace), Self::patch_params());
        self.request(&format!("rolling out {what}"), api.patch(deployment, &params, &patch))
            .await
            .map(drop)
    }

    fn deployments(&self, namespace: &str) -> Api<Deployment> {
        Api::namespaced(self.client().clone(), namespace)
    }
}
