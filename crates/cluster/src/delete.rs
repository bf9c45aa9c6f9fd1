//! Taking down what was deployed, and waiting until it is really gone.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::runtime::watcher::Config;
use kube::{Api, ResourceExt};

use crate::cluster::{Cluster, in_namespace, other_owner};
use crate::error::{ClusterError, Permanent, classify};
use crate::follow::{Deadline, Step, follow};
use crate::manifest::{Kind, Manifest, Object, ObjectRef};
use crate::owner::{MANAGED_BY, MANAGED_BY_LABEL, Owner};

/// An object that is about to be deleted.
struct Doomed {
    reference: ObjectRef,
    uid: Option<String>,
}

impl Doomed {
    fn new(kind: Kind, object: &DynamicObject) -> Self {
        Self {
            reference: ObjectRef::new(kind, object.name_any()),
            uid: object.metadata.uid.clone(),
        }
    }
}

/// Which pods a deletion waits for.
struct Remains<'a> {
    /// Label selector of the pods to look at.
    labels: String,
    /// Which of them must be gone.
    are: Box<dyn Fn(&Pod) -> bool + Send + Sync + 'a>,
}

impl Cluster {
    /// Deletes the manifest's objects that are `owner`'s and waits until they and their pods are gone. Objects of that name
    /// that are someone else's, and ones that do not exist, are left alone. Returns what was deleted.
    ///
    /// # Errors
    /// [`Temporary::Deadline`] naming what is still there; deleting goes on in the cluster, repeat the call to wait longer.
    pub async fn delete(
        &self,
        namespace: &str,
        manifest: &Manifest,
        owner: &Owner,
        within: Duration,
    ) -> Result<Vec<ObjectRef>, ClusterError> {
        let mut doomed = Vec::new();
        for object in manifest.objects() {
            let reference = object.reference();
            let doing = format!("deleting {}", in_namespace(&reference, namespace));
            let found = self
                .request(&doing, self.api(namespace, reference.kind).get_opt(&reference.name))
                .await?;
            if let Some(found) = found.filter(|found| other_owner(found, Some(owner)).is_none()) {
                doomed.push(Doomed::new(reference.kind, &found));
            }
        }
        // Not only the pods of what was found: an earlier call may have deleted the rest and not waited long enough.
        let selectors: Vec<Labels> = manifest.objects().iter().filter_map(pod_labels).collect();
        let are = move |pod: &Pod| selectors.iter().any(|selector| matches(selector, pod.labels()));
        let remains = Remains {
            labels: owner.selector(),
            are: Box::new(are),
        };
        self.delete_all(namespace, doomed, remains, within).await
    }

    /// Deletes everything in the namespace that is `owner`'s and not in `keep`: what a newer manifest no longer wants, or
    /// with `None` all of it. Waits until the objects and their pods are gone. Returns what was deleted.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn prune(
        &self,
        namespace: &str,
        owner: &Owner,
        keep: Option<&Manifest>,
        within: Duration,
    ) -> Result<Vec<ObjectRef>, ClusterError> {
        let kept =
            |reference: &ObjectRef| keep.is_some_and(|m| m.objects().iter().any(|o| o.reference() == *reference));
        let mut doomed = Vec::new();
        for (kind, object) in self.owned(namespace, &owner.selector()).await? {
            let candidate = Doomed::new(kind, &object);
            if !kept(&candidate.reference) {
                doomed.push(candidate);
            }
        }
        let are = |pod: &Pod| keep.is_none() || pod.metadata.deletion_timestamp.is_some();
        let remains = Remains {
            labels: owner.selector(),
            are: Box::new(are),
        };
        self.delete_all(namespace, doomed, remains, within).await
    }

    /// Deletes the Deployments and Jobs whose pods' names start with one of the prefixes (`object-detector-` is every pod of
    /// Deployment `object-detector`), and the Services that select those pods; only what Hanse manages. Waits until they and
    /// their pods are gone. Returns what was deleted.
    ///
    /// # Errors
    /// [`Permanent::Request`] when a prefix is empty, as it would mean everything; else as [`delete`](Self::delete).
    pub async fn delete_pods_by_prefix(
        &self,
        namespace: &str,
        prefixes: &[&str],
        within: Duration,
    ) -> Result<Vec<ObjectRef>, ClusterError> {
        if prefixes.iter().any(|prefix| prefix.trim_matches('-').is_empty()) {
            let text = "a pod name prefix is empty and would match everything: give the Deployment's name";
            return Err(Permanent::Request(text.to_owned()).into());
        }
        let owned = self
            .owned(namespace, &format!("{MANAGED_BY_LABEL}={MANAGED_BY}"))
            .await?;
        let mut doomed = Vec::new();
        let mut templates: Vec<Labels> = Vec::new();
        for (kind, object) in owned
            .iter()
            .filter(|(kind, _)| matches!(kind, Kind::Deployment | Kind::Job))
        {
            // Pods are named after their Deployment or Job, then a dash and a random part.
            let stem = format!("{}-", object.name_any());
            if prefixes.iter().any(|prefix| stem.starts_with(prefix)) {
                doomed.push(Doomed::new(*kind, object));
                templates.push(string_map(object, "/spec/template/metadata/labels"));
            }
        }
        for (kind, object) in owned.iter().filter(|(kind, _)| *kind == Kind::Service) {
            let selector = string_map(object, "/spec/selector");
            if !selector.is_empty() && templates.iter().any(|labels| matches(&selector, labels)) {
                doomed.push(Doomed::new(*kind, object));
            }
        }
        let are = |pod: &Pod| prefixes.iter().any(|prefix| pod.name_any().starts_with(prefix));
        let remains = Remains {
            labels: format!("{MANAGED_BY_LABEL}={MANAGED_BY}"),
            are: Box::new(are),
        };
        self.delete_all(namespace, doomed, remains, within).await
    }

    /// Every object of a deployable kind with these labels, in order of application.
    pub(crate) async fn owned(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<(Kind, DynamicObject)>, ClusterError> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let doing = format!("listing {kind} objects in namespace \"{namespace}\"");
            let list = self
                .request(
                    &doing,
                    self.api(namespace, kind).list(&ListParams::default().labels(selector)),
                )
                .await;
            match list {
                Ok(list) => found.extend(list.items.into_iter().map(|object| (kind, object))),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn delete_all(
        &self,
        namespace: &str,
        doomed: Vec<Doomed>,
        remains: Remains<'_>,
        within: Duration,
    ) -> Result<Vec<ObjectRef>, ClusterError> {
        let deadline = Deadline::after(within);
        // The reverse of the order of application: nothing loses what it needs before it ends itself. Services go first of
        // all, so that no traffic is sent to pods that are ending.
        let mut order: Vec<&Doomed> = doomed.iter().collect();
        order.sort_by_key(|d| (d.reference.kind != Kind::Service, std::cmp::Reverse(d.reference.kind)));
        for one in &order {
            self.delete_one(namespace, one).await?;
        }
        for one in &order {
            let doing = format!("deleting {}", in_namespace(&one.reference, namespace));
            let api = self.api(namespace, one.reference.kind);
            self.wait_gone(api, &one.reference.name, one.uid.as_deref(), &doing, deadline)
                .await?;
        }
        self.wait_pods_gone(namespace, &remains, deadline).await?;
        Ok(doomed.into_iter().map(|d| d.reference).collect())
    }

    async fn delete_one(&self, namespace: &str, one: &Doomed) -> Result<(), ClusterError> {
        let doing = format!("deleting {}", in_namespace(&one.reference, namespace));
        // Foreground: the object stays until its ReplicaSets and pods are gone, so a repeated call finds it and waits on.
        // With the uid, so that an object that someone made anew meanwhile is not deleted in its predecessor's place.
        let params = DeleteParams::foreground().preconditions(Preconditions {
            uid: one.uid.clone(),
            resource_version: None,
        });
        let api = self.api(namespace, one.reference.kind);
        match self.attempt(&doing, api.delete(&one.reference.name, &params)).await? {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            other => other.map(drop).map_err(|e| classify(&doing, e)),
        }
    }

    /// Waits until none of these pods is left. Foreground deletion implies it for pods that still have their owner.
    async fn wait_pods_gone(
        &self,
        namespace: &str,
        remains: &Remains<'_>,
        deadline: Deadline,
    ) -> Result<(), ClusterError> {
        let doing = format!("waiting for deleted pods in namespace \"{namespace}\" to end");
        let api: Api<Pod> = Api::namespaced(self.client().clone(), namespace);
        let (store, mut steps) = follow(api, Config::default().labels(&remains.labels));
        let (mut listed, mut trouble) = (false, None);
        loop {
            let pending: Vec<String> = store
                .state()
                .iter()
                .filter(|pod| (remains.are)(pod))
                .map(|pod| pod.name_any())
                .collect();
            if listed && pending.is_empty() {
                return Ok(());
            }
            match tokio::time::timeout_at(deadline.at, steps.next()).await {
                Ok(Some(Step::Listed)) => listed = true,
                Ok(Some(Step::Changed)) => {}
                Ok(Some(Step::Failed(error @ ClusterError::Permanent(_)))) => return Err(error),
                Ok(Some(Step::Failed(error))) => trouble = Some(error.to_string()),
                Ok(None) | Err(_) => {
                    let pods = format!("these pods still run: {}", pending.join(", "));
                    let pending = if listed {
                        pods
                    } else {
                        trouble.unwrap_or_else(|| "no answer".to_owned())
                    };
                    return Err(deadline.passed(&doing, pending));
                }
            }
        }
    }
}

type Labels = BTreeMap<String, String>;

/// Whether a selector of equalities selects these labels.
fn matches(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Labels that an object's pods, and no others of its owner, have.
fn pod_labels(object: &Object) -> Option<Labels> {
    match object {
        Object::Deployment(d) => d.spec.selector.match_labels.clone().filter(|labels| !labels.is_empty()),
        // Set by the Job controller.
        Object::Job(_) => Some(Labels::from([(
            "batch.kubernetes.io/job-name".to_owned(),
            object.name().to_owned(),
        )])),
        _ => None,
    }
}

fn string_map(object: &DynamicObject, pointer: &str) -> BTreeMap<String, String> {
    object
        .data
        .pointer(pointer)
        .and_then(|v| serde_json::from_value(v.clone()).ok())
        .unwrap_or_default()
}
