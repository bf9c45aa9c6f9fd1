//! What the programs wrote.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::core::Selector;
use kube::{Api, ResourceExt};

use crate::cluster::Cluster;
use crate::error::{ClusterError, Permanent};

/// Most bytes of one container's log that are fetched.
const MAX_BYTES: i64 = 1 << 20;

/// Whose log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource<'a> {
    /// All containers of one pod.
    Pod(&'a str),
    /// All containers of all pods that a Deployment's selector matches, but those that are ending.
    Deployment(&'a str),
}

/// The log of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLog {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// The last lines, oldest first; empty when the container has not started or wrote nothing.
    pub lines: Vec<String>,
}

impl Cluster {
    /// The last `tail` lines of each container's log, at most 1 MiB each.
    ///
    /// # Errors
    /// [`Permanent::NotFound`] when the pod or Deployment does not exist, and what any request can fail with.
    pub async fn logs(
        &self,
        namespace: &str,
        source: LogSource<'_>,
        tail: u32,
    ) -> Result<Vec<ContainerLog>, ClusterError> {
        let pods: Api<Pod> = Api::namespaced(self.client().clone(), namespace);
        let found = match source {
            LogSource::Pod(name) => {
                vec![
                    self.request(
                        &format!("reading pod \"{name}\" in namespace \"{namespace}\""),
                        pods.get(name),
                    )
                    .await?,
                ]
            }
            LogSource::Deployment(name) => {
                let doing = format!("reading the pods of Deployment \"{name}\" in namespace \"{namespace}\"");
                let deployments: Api<Deployment> = Api::namespaced(self.client().clone(), namespace);
                let deployment = self.request(&doing, deployments.get(name)).await?;
                let selector = Selector::try_from(deployment.spec.selector).map_err(|e| Permanent::Unexpected {
                    doing: doing.clone(),
                    message: e.to_string(),
                })?;
                self.request(&doing, pods.list(&ListParams::default().labels_from(&selector)))
                    .await?
                    .items
            }
        };
        let mut logs = Vec::new();
        let is_asked_for = |pod: &Pod| matches!(source, LogSource::Pod(_)) || pod.metadata.deletion_timestamp.is_none();
        for pod in found.into_iter().filter(is_asked_for) {
            for container in pod.spec.iter().flat_map(|s| &s.containers) {
                let lines = self
                    .log(namespace, &pod.name_any(), &container.name, tail, false)
                    .await?;
                logs.push(ContainerLog {
                    pod: pod.name_any(),
                    container: container.name.clone(),
                    lines,
                });
            }
        }
        Ok(logs)
    }

    /// The last lines of a container that ended: of its previous run if there was one. Best effort, for errors.
    pub(crate) async fn last_words(&self, namespace: &str, pod: &str, container: &str, tail: u32) -> Vec<String> {
        for previous in [true, false] {
            match self.log(namespace, pod, container, tail, previous).await {
                Ok(lines) if !lines.is_empty() => return lines,
                _ => {}
            }
        }
        Vec::new()
    }

    async fn log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        tail: u32,
        previous: bool,
    ) -> Result<Vec<String>, ClusterError> {
        let pods: Api<Pod> = Api::namespaced(self.client().clone(), namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            limit_bytes: Some(MAX_BYTES),
            previous,
            tail_lines: Some(i64::from(tail)),
            ..LogParams::default()
        };
        let doing = format!("reading the log of container \"{container}\" of pod \"{pod}\"");
        match self.request(&doing, pods.logs(pod, &params)).await {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            // A container that has not started (or has no previous run) is a bad request to the API, and no log to us.
            Err(ClusterError::Permanent(Permanent::Invalid { .. })) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
