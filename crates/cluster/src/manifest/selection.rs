//! Taking one component out of a manifest, with everything it needs and nothing else.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodSpec;

use super::Manifest;
use super::error::{ManifestError, Place};
use super::kind::{Kind, ObjectRef};
use super::object::Object;

impl Manifest {
    /// The named workloads (Deployments or Jobs), the Services that select their pods, and the ConfigMaps, Secrets and
    /// ServiceAccounts that their pods refer to. That is what to *deploy* of a component. To *remove* one, do not delete this
    /// (the rest may refer to the same ConfigMaps): prune what [`without`](Self::without) does not keep.
    ///
    /// # Errors
    /// [`ManifestError::NoSuchObject`] when a name is neither a Deployment nor a Job of the manifest.
    pub fn only(&self, workloads: &[&str]) -> Result<Self, ManifestError> {
        let keep = self.closure(&self.named(workloads)?);
        Ok(self.filtered(|object| keep.contains(&object.reference())))
    }

    /// The manifest less the named workloads and less what only they need: Services that select no remaining pods,
    /// ConfigMaps, Secrets and ServiceAccounts that no remaining pod refers to. What nobody ever referred to stays.
    ///
    /// The result may be empty; it is meant as the `keep` of [`Cluster::prune`](crate::Cluster::prune).
    ///
    /// # Errors
    /// As [`only`](Self::only).
    pub fn without(&self, workloads: &[&str]) -> Result<Self, ManifestError> {
        let removed = self.named(workloads)?;
        let staying: BTreeSet<ObjectRef> = self
            .objects
            .iter()
            .filter(|o| o.pod_template().is_some())
            .map(Object::reference)
            .filter(|r| !removed.contains(r))
            .collect();
        let needed_by_removed = self.closure(&removed);
        let needed_by_staying = self.closure(&staying);
        Ok(self.filtered(|object| {
            let reference = object.reference();
            !needed_by_removed.contains(&reference) || needed_by_staying.contains(&reference)
        }))
    }

    /// The objects of some kinds.
    pub fn of_kinds(&self, kinds: &[Kind]) -> Self {
        self.filtered(|object| kinds.contains(&object.kind()))
    }

    fn filtered(&self, keep: impl Fn(&Object) -> bool) -> Self {
        Self {
            hash: self.hash,
            objects: self.objects.iter().filter(|o| keep(o)).cloned().collect(),
        }
    }

    fn named(&self, workloads: &[&str]) -> Result<BTreeSet<ObjectRef>, ManifestError> {
        let mut found = BTreeSet::new();
        for name in workloads {
            let is_named = |o: &&Object| o.pod_template().is_some() && o.name() == *name;
            let matching: Vec<ObjectRef> = self.objects.iter().filter(is_named).map(Object::reference).collect();
            if matching.is_empty() {
                return Err(self.no_such(Kind::Deployment, name));
            }
            found.extend(matching);
        }
        Ok(found)
    }

    /// The workloads and everything they stand in relation to.
    fn closure(&self, workloads: &BTreeSet<ObjectRef>) -> BTreeSet<ObjectRef> {
        let mut closure = workloads.clone();
        for workload in self.objects.iter().filter(|o| workloads.contains(&o.reference())) {
            closure.extend(workload.pod_spec().map(references).unwrap_or_default());
            closure.extend(
                self.objects
                    .iter()
                    .filter(|o| selects(o, workload))
                    .map(Object::reference),
            );
        }
        // References may point outside of the manifest; only what is in it counts.
        closure.retain(|r| self.objects.iter().any(|o| o.reference() == *r));
        closure
    }
}

/// Whether `service` is a Service whose selector matches the pods of `workload`.
fn selects(service: &Object, workload: &Object) -> bool {
    let Object::Service(service) = service else {
        return false;
    };
    let Some(selector) = service
        .spec
        .as_ref()
        .and_then(|s| s.selector.as_ref())
        .filter(|s| !s.is_empty())
    else {
        return false;
    };
    let labels = workload
        .pod_template()
        .and_then(|t| t.metadata.as_ref())
        .and_then(|m| m.labels.as_ref());
    labels.is_some_and(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// What a pod's spec refers to by name.
fn references(pod: &PodSpec) -> BTreeSet<ObjectRef> {
    let mut found = BTreeSet::new();
    let mut add = |kind: Kind, name: &str| {
        found.insert(ObjectRef::new(kind, name));
    };
    for account in pod.service_account_name.iter().chain(&pod.service_account) {
        add(Kind::ServiceAccount, account);
    }
    for secret in pod.image_pull_secrets.iter().flatten() {
        add(Kind::Secret, &secret.name);
    }
    for volume in pod.volumes.iter().flatten() {
        if let Some(source) = &volume.config_map {
            add(Kind::ConfigMap, &source.name);
        }
        if let Some(name) = volume.secret.as_ref().and_then(|s| s.secret_name.as_deref()) {
            add(Kind::Secret, name);
        }
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            if let Some(source) = &source.config_map {
                add(Kind::ConfigMap, &source.name);
            }
            if let Some(source) = &source.secret {
                add(Kind::Secret, &source.name);
            }
        }
    }
    for container in pod.init_containers.iter().flatten().chain(&pod.containers) {
        for source in container.env_from.iter().flatten() {
            if let Some(source) = &source.config_map_ref {
                add(Kind::ConfigMap, &source.name);
            }
            if let Some(source) = &source.secret_ref {
                add(Kind::Secret, &source.name);
            }
        }
        for value in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
            if let Some(key) = &value.config_map_key_ref {
                add(Kind::ConfigMap, &key.name);
            }
            if let Some(key) = &value.secret_key_ref {
                add(Kind::Secret, &key.name);
            }
        }
    }
    found
}

/// Refuses pods that run as an account which the manifest does not bring along: it could be one with rights.
pub(super) fn check_accounts(objects: &[Object]) -> Result<(), ManifestError> {
    for (index, object) in objects.iter().enumerate() {
        let Some(pod) = object.pod_spec() else { continue };
        for account in pod.service_account_name.iter().chain(&pod.service_account) {
            let own = objects
                .iter()
                .any(|o| o.kind() == Kind::ServiceAccount && o.name() == account);
            if account != "default" && !account.is_empty() && !own {
                let kind = Some(object.kind().name().to_owned());
                return Err(ManifestError::NotPermitted {
                    place: Place {
                        document: index + 1,
                        kind,
                        name: Some(object.name().to_owned()),
                    },
                    field: "spec.template.spec.serviceAccountName".to_owned(),
                    rule: format!("service account \"{account}\" is not part of the manifest; remove it"),
                });
            }
        }
    }
    Ok(())
}
