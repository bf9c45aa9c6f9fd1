//! The handle on one cluster, and the requests everything else is made of.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};

use crate::error::{ClusterError, Permanent, Temporary, classify};
use crate::follow::Deadline;
use crate::manifest::{Kind, ObjectRef};
use crate::owner::{AGREEMENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, Owner};
use crate::readiness::Patience;

/// The field manager of every write.
pub(crate) const FIELD_MANAGER: &str = "hanse";
/// Longest time for one request and its answer (not for waits, which have their own deadline).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// One Kubernetes cluster in which this agent runs workloads. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    patience: Patience,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Uses any client: of a real cluster or of a devcluster.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            patience: Patience::default(),
        }
    }

    /// Changes how long causes that may pass are given.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// The client, for what this crate does not cover.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The API of one deployable kind, untyped.
    pub(crate) fn api(&self, namespace: &str, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &api_resource(kind))
    }

    /// Sends one request with a deadline.
    pub(crate) async fn request<T>(
        &self,
        doing: &str,
        request: impl Future<Output = kube::Result<T>> + Send,
    ) -> Result<T, ClusterError> {
        self.attempt(doing, request).await?.map_err(|e| classify(doing, e))
    }

    /// Sends one request with a deadline and leaves the API's refusal to the caller.
    pub(crate) async fn attempt<T>(
        &self,
        doing: &str,
        request: impl Future<Output = kube::Result<T>> + Send,
    ) -> Result<kube::Result<T>, Temporary> {
        tokio::time::timeout(REQUEST_TIMEOUT, request)
            .await
            .map_err(|_| Temporary::Deadline {
                doing: doing.to_owned(),
                within: REQUEST_TIMEOUT,
                pending: "the Kubernetes API did not answer".to_owned(),
            })
    }

    /// Makes sure that the namespace exists. One that this makes is marked as ours (and `owner`'s, if given), and the
    /// cluster is asked to hold its pods to the baseline Pod Security Standard; one that exists is left as it is.
    ///
    /// # Errors
    /// [`Temporary::StillEnding`] while a namespace of that name is being deleted, and what any request can fail with.
    pub async fn ensure_namespace(&self, name: &str, owner: Option<&Owner>) -> Result<(), ClusterError> {
        let api = self.namespaces();
        let doing = format!("creating namespace \"{name}\"");
        if let Some(found) = self.request(&doing, api.get_opt(name)).await? {
            return if found.metadata.deletion_timestamp.is_some() {
                Err(Temporary::StillEnding {
                    what: format!("namespace \"{name}\""),
                }
                .into())
            } else {
                Ok(())
            };
        }
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
        labels.insert("pod-security.kubernetes.io/enforce".to_owned(), "baseline".to_owned());
        labels.extend(owner.map(Owner::labels).unwrap_or_default());
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self.attempt(&doing, api.create(&params, &namespace)).await? {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            other => other.map(drop).map_err(|e| classify(&doing, e)),
        }
    }

    /// Deletes a namespace that [`ensure_namespace`](Self::ensure_namespace) made, with everything in it, and waits until
    /// it is gone. One that does not exist is fine.
    ///
    /// # Errors
    /// [`Permanent::NotOurs`] when the namespace is not marked as ours, [`Temporary::Deadline`] when it is not gone in time.
    pub async fn delete_namespace(&self, name: &str, within: Duration) -> Result<(), ClusterError> {
        let deadline = Deadline::after(within);
        let api = self.namespaces();
        let doing = format!("deleting namespace \"{name}\"");
        let Some(found) = self.request(&doing, api.get_opt(name)).await? else {
            return Ok(());
        };
        if found.labels().get(MANAGED_BY_LABEL).map(String::as_str) != Some(MANAGED_BY) {
            let to = "someone else: Hanse did not create it".to_owned();
            return Err(Permanent::NotOurs {
                what: format!("namespace \"{name}\""),
                to,
            }
            .into());
        }
        match self.attempt(&doing, api.delete(name, &DeleteParams::default())).await? {
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            other => other.map_err(|e| classify(&doing, e))?,
        };
        let uid = found.metadata.uid;
        self.wait_gone(api, name, uid.as_deref(), &doing, deadline).await
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    /// Patches carry our name, so that conflicts and `managedFields` tell who wrote.
    pub(crate) fn patch_params() -> PatchParams {
        PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        }
    }
}

/// Who an existing object belongs to, in words, unless it is `owner`'s.
pub(crate) fn other_owner(object: &DynamicObject, owner: Option<&Owner>) -> Option<String> {
    let labels = object.labels();
    if labels.get(MANAGED_BY_LABEL).map(String::as_str) == Some(MANAGED_BY) {
        let agreement = labels.get(AGREEMENT_LABEL).map(String::as_str);
        let same = owner.is_none_or(|owner| agreement == Some(owner.label_value()));
        return (!same).then(|| format!("agreement \"{}\"", agreement.unwrap_or("unknown")));
    }
    let mut managers: Vec<&str> = object
        .managed_fields()
        .iter()
        .filter_map(|f| f.manager.as_deref())
        .collect();
    managers.sort_unstable();
    managers.dedup();
    let by = if managers.is_empty() {
        "unknown".to_owned()
    } else {
        managers.join(", ")
    };
    Some(format!("someone else (managed by: {by})"))
}

pub(crate) fn api_resource(kind: Kind) -> ApiResource {
    let (group, plural) = match kind {
        Kind::ServiceAccount => ("", "serviceaccounts"),
        Kind::ConfigMap => ("", "configmaps"),
        Kind::Secret => ("", "secrets"),
        Kind::Service => ("", "services"),
        Kind::Deployment => ("apps", "deployments"),
        Kind::Job => ("batch", "jobs"),
    };
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: kind.api_version().to_owned(),
        kind: kind.name().to_owned(),
        plural: plural.to_owned(),
    }
}

/// `Deployment "x" in namespace "y"`, for errors.
pub(crate) fn in_namespace(object: &ObjectRef, namespace: &str) -> String {
    format!("{object} in namespace \"{namespace}\"")
}
