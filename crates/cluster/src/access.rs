//! What the agent may do in the cluster, for `hanse check`.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use crate::cluster::{Cluster, api_resource};
use crate::error::ClusterError;
use crate::manifest::Kind;

/// Reviews that are under way at the same time.
const CONCURRENT: usize = 8;

/// One right, and whether the agent has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessCheck {
    /// `get`, `list`, `watch`, `create`, `patch` or `delete`.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: String,
    /// Resource, with a subresource after a slash, e.g. `deployments/scale`.
    pub resource: String,
    /// The namespace it was asked for; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// What cannot be done without it; some rights are only wanted for better messages.
    pub needed_for: &'static str,
    /// Whether the cluster would allow it.
    pub allowed: bool,
}

/// What `hanse check` shows of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessReport {
    /// The API server's version, e.g. `v1.36.2`.
    pub server_version: String,
    /// Every right that this crate uses.
    pub checks: Vec<AccessCheck>,
}

impl AccessReport {
    /// The rights that are missing.
    pub fn missing(&self) -> impl Iterator<Item = &AccessCheck> {
        self.checks.iter().filter(|check| !check.allowed)
    }
}

impl Cluster {
    /// Asks the cluster who it is and what the agent may do in `namespace` (SelfSubjectAccessReview; changes nothing).
    ///
    /// # Errors
    /// When the cluster cannot be reached or does not accept the credentials; a missing right is no error.
    pub async fn check_access(&self, namespace: &str) -> Result<AccessReport, ClusterError> {
        let version = self
            .request("asking the cluster for its version", self.client().apiserver_version())
            .await?;
        let checks = stream::iter(needed(namespace).into_iter().map(|check| self.review(check)))
            .buffered(CONCURRENT)
            .try_collect()
            .await?;
        Ok(AccessReport {
            server_version: version.git_version,
            checks,
        })
    }

    async fn review(&self, mut check: AccessCheck) -> Result<AccessCheck, ClusterError> {
        let (resource, subresource) = match check.resource.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
            None => (check.resource.clone(), None),
        };
        let attributes = ResourceAttributes {
            group: Some(check.group.clone()),
            namespace: check.namespace.clone(),
            resource: Some(resource),
            subresource,
            verb: Some(check.verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..Default::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.client().clone());
        let answer = self
            .request(
                "asking the cluster for our rights",
                api.create(&PostParams::default(), &review),
            )
            .await?;
        check.allowed = answer.status.is_some_and(|s| s.allowed);
        Ok(check)
    }
}

/// Every right that this crate uses.
fn needed(namespace: &str) -> Vec<AccessCheck> {
    let mut checks = Vec::new();
    let mut add =
        |verbs: &[&'static str], group: &str, resource: &str, cluster_wide: bool, needed_for: &'static str| {
            checks.extend(verbs.iter().map(|verb| AccessCheck {
                verb,
                group: group.to_owned(),
                resource: resource.to_owned(),
                namespace: (!cluster_wide).then(|| namespace.to_owned()),
                needed_for,
                allowed: false,
            }));
        };
    add(
        &["get", "create", "delete"],
        "",
        "namespaces",
        true,
        "a namespace for each agreement",
    );
    for kind in Kind::ALL {
        let api = api_resource(kind);
        let verbs = ["get", "list", "watch", "create", "patch", "delete"];
        add(
            &verbs,
            &api.group,
            &api.plural,
            false,
            "deploying, watching and removing services",
        );
    }
    add(&["patch"], "apps", "deployments/scale", false, "scaling");
    add(
        &["list", "watch"],
        "apps",
        "replicasets",
        false,
        "telling whether a service is up",
    );
    add(
        &["get", "list", "watch"],
        "",
        "pods",
        false,
        "telling whether a service is up",
    );
    add(
        &["get"],
        "",
        "pods/log",
        false,
        "showing why a program ended (optional)",
    );
    add(
        &["list", "watch"],
        "",
        "events",
        false,
        "showing why a pod does not start (optional)",
    );
    add(&["list"], "", "nodes", true, "addresses of node ports (optional)");
    checks
}
