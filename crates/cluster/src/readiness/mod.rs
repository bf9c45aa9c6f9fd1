//! Is it up, and if not, why? Pure judgements over what the cluster shows; the waiting itself is in `wait.rs`.

mod deployment;
mod job;
mod patience;
mod pod;
mod service;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_jobs_and_services;
mod verdict;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(crate) use deployment::{pods_of_deployment, readiness as deployment_readiness};
pub(crate) use job::readiness as job_readiness;
pub use patience::Patience;
pub(crate) use patience::{Decision, Watchlist, most_telling};
pub(crate) use service::{external as service_addresses, readiness as service_readiness};
pub use verdict::{Cause, NotReady, Readiness, Reason};

/// Whether `object` is controlled by the object with this uid.
pub(crate) fn is_controlled_by(object: &ObjectMeta, uid: Option<&str>) -> bool {
    uid.is_some_and(|uid| {
        object
            .owner_references
            .iter()
            .flatten()
            .any(|o| o.controller == Some(true) && o.uid == uid)
    })
}
