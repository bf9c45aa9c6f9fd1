//! Workloads on Kubernetes: apply, ready, address, scale, patch, logs, delete.
//!
//! # What this crate promises
//!
//! A service is described by a [`Manifest`]: text from another owner, parsed strictly and held to what a foreign workload
//! may do before anything of it reaches a cluster. A [`Cluster`] runs manifests in any Kubernetes cluster, always through
//! the Kubernetes API:
//!
//! 1. [`Cluster::ensure_namespace`], then [`Cluster::apply`] puts the objects in place, what others refer to first. Both
//!    are idempotent: after a crash in the middle, calling them again completes the work and changes nothing else.
//! 2. [`Cluster::wait_ready`] ends when all of it runs, or as soon as it is clear that it will not, with a [`Reason`], a
//!    message that a person understands and the last lines of the program's log. Causes that may pass by themselves are
//!    given grace ([`Patience`]).
//! 3. [`Cluster::addresses`] tells where the services answer.
//! 4. [`Cluster::scale`], [`Cluster::patch_config_map`] and [`Cluster::rollout_restart`] change what runs;
//!    [`Cluster::wait_rollout`] tells when the change is in effect.
//! 5. [`Cluster::delete`], [`Cluster::prune`] and [`Cluster::delete_pods_by_prefix`] remove it and return when the pods are
//!    really gone.
//!
//! Every object carries labels that name its [`Owner`] (one agreement). An object that is not the owner's is never changed
//! and never deleted.
//!
//! # What callers must do
//!
//! - Compare [`ManifestHash::of`] the received text with the agreed hash *before* parsing it.
//! - Give each agreement its own [`Owner`] id and preferably its own namespace.
//! - Persist an intention before acting on it; every call here may then be repeated.
//! - Put wishes that shall last (replicas, configuration) into the manifest before applying it again: [`Cluster::apply`]
//!   makes the manifest true, also over earlier calls of [`Cluster::scale`] and [`Cluster::patch_config_map`].
//! - Retry [`ClusterError::Temporary`] with a pause; do not retry [`ClusterError::Permanent`].
//!
//! Every wait takes the time it may last; every single request is given 30 s. Watches re-list by themselves after
//! `410 Gone` and re-connect with backoff.

mod access;
mod address;
mod adjust;
mod apply;
mod cluster;
mod delete;
mod error;
mod follow;
mod logs;
mod manifest;
mod observation;
mod owner;
mod readiness;
mod status;
mod wait;

pub use access::{AccessCheck, AccessReport};
pub use address::{AddressError, Exposure, Host, Protocol, ServiceAddress, ServicePort};
pub use adjust::Replicas;
pub use apply::Change;
pub use cluster::Cluster;
pub use error::{ClusterError, Permanent, Temporary};
pub use logs::{ContainerLog, LogSource};
pub use manifest::{
    Kind, KindPolicy, Limits, Manifest, ManifestError, ManifestHash, Object, ObjectRef, Place, ResourceTotals,
    SecretValues,
};
pub use owner::{
    AGREEMENT_ANNOTATION, AGREEMENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, MANIFEST_ANNOTATION, Owner, OwnerError,
};
pub use readiness::{Cause, NotReady, Patience, Readiness, Reason};
pub use status::{ObjectStatus, PodStatus, State};
pub use wait::Ready;
