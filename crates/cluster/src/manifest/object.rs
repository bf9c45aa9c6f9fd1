//! One object of a manifest, typed.

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec, PodTemplateSpec, Secret, Service, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::kind::{Kind, ObjectRef};
use crate::owner::{AGREEMENT_ANNOTATION, MANIFEST_ANNOTATION, Owner};

/// A deployable object. Serialises as the Kubernetes object itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant)] // a manifest has a few dozen of them at most
pub enum Object {
    /// `v1` ServiceAccount
    ServiceAccount(ServiceAccount),
    /// `v1` ConfigMap
    ConfigMap(ConfigMap),
    /// `v1` Secret
    Secret(Secret),
    /// `v1` Service
    Service(Service),
    /// `apps/v1` Deployment
    Deployment(Deployment),
    /// `batch/v1` Job
    Job(Job),
}

impl Object {
    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::ServiceAccount(_) => Kind::ServiceAccount,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Secret(_) => Kind::Secret,
            Self::Service(_) => Kind::Service,
            Self::Deployment(_) => Kind::Deployment,
            Self::Job(_) => Kind::Job,
        }
    }

    /// The object's name; never empty, [`Manifest::parse`](super::Manifest::parse) saw to that.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Kind and name.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(self.kind(), self.name())
    }

    pub(crate) fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::ServiceAccount(o) => &o.metadata,
            Self::ConfigMap(o) => &o.metadata,
            Self::Secret(o) => &o.metadata,
            Self::Service(o) => &o.metadata,
            Self::Deployment(o) => &o.metadata,
            Self::Job(o) => &o.metadata,
        }
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::ServiceAccount(o) => &mut o.metadata,
            Self::ConfigMap(o) => &mut o.metadata,
            Self::Secret(o) => &mut o.metadata,
            Self::Service(o) => &mut o.metadata,
            Self::Deployment(o) => &mut o.metadata,
            Self::Job(o) => &mut o.metadata,
        }
    }

    /// The template of the pods this object makes, if it makes any.
    pub(crate) fn pod_template(&self) -> Option<&PodTemplateSpec> {
        match self {
            Self::Deployment(o) => Some(&o.spec.template),
            Self::Job(o) => o.spec.as_ref().map(|s| &s.template),
            _ => None,
        }
    }

    pub(crate) fn pod_template_mut(&mut self) -> Option<&mut PodTemplateSpec> {
        match self {
            Self::Deployment(o) => Some(&mut o.spec.template),
            Self::Job(o) => o.spec.as_mut().map(|s| &mut s.template),
            _ => None,
        }
    }

    pub(crate) fn pod_spec(&self) -> Option<&PodSpec> {
        self.pod_template()?.spec.as_ref()
    }

    /// How many pods run at the same time when all is well.
    pub(crate) fn pods(&self) -> u32 {
        let wanted = match self {
            Self::Deployment(o) => o.spec.replicas.unwrap_or(1),
            Self::Job(o) => o.spec.as_ref().and_then(|s| s.parallelism).unwrap_or(1),
            _ => 0,
        };
        u32::try_from(wanted).unwrap_or(0)
    }

    /// The object as it is sent to the cluster: in its namespace, marked as the owner's, its pods without an API token.
    pub fn for_owner(&self, namespace: &str, owner: &Owner, manifest_hash: &str) -> Self {
        let mut object = self.clone();
        let metadata = object.metadata_mut();
        metadata.namespace = Some(namespace.to_owned());
        metadata.labels.get_or_insert_default().extend(owner.labels());
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(AGREEMENT_ANNOTATION.to_owned(), owner.id().to_owned());
        annotations.insert(MANIFEST_ANNOTATION.to_owned(), manifest_hash.to_owned());
        if let Self::Secret(secret) = &mut object {
            // `stringData` is for writing only: the cluster turns it into `data`, and field ownership would never settle.
            let texts = secret.string_data.take().unwrap_or_default();
            let data = texts
                .into_iter()
                .map(|(key, text)| (key, ByteString(text.into_bytes())));
            secret.data.get_or_insert_default().extend(data);
        }
        if let Some(template) = object.pod_template_mut() {
            template
                .metadata
                .get_or_insert_default()
                .labels
                .get_or_insert_default()
                .extend(owner.labels());
            if let Some(spec) = &mut template.spec {
                spec.automount_service_account_token = Some(false);
            }
        }
        object
    }
}
