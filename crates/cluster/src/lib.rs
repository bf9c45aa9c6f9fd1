//! Workloads on Kubernetes.

mod manifest;
mod owner;

pub use manifest::{
    Kind, KindPolicy, Limits, Manifest, ManifestError, ManifestHash, Object, ObjectRef, Place, ResourceTotals,
};
pub use owner::{
    AGREEMENT_ANNOTATION, AGREEMENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, MANIFEST_ANNOTATION, Owner, OwnerError,
};
