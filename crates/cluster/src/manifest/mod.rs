//! A deployable description of a service: parsed, checked, adjusted, never half trusted.
//!
//! The text comes from another owner, so it is hostile until parsed: its size, number of documents, nesting and alias
//! expansion are bounded; only allowed kinds pass; pods are held to the baseline Pod Security Standard; unknown fields are
//! errors; and what is applied is the typed form that was checked, never the text. Everything here is pure.

mod adjust;
mod error;
mod kind;
mod object;
mod parse;
mod pod_rules;
mod policy;
mod quantity;
mod rules;
mod secrets;
mod selection;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_text;
mod text;
mod totals;

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use sha2::{Digest, Sha256};

pub use error::{ManifestError, Place};
pub use kind::{Kind, ObjectRef};
pub use object::Object;
pub use policy::{KindPolicy, Limits};
pub use secrets::SecretValues;
pub use totals::ResourceTotals;

/// SHA-256 of a manifest's bytes: the content address that is agreed on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestHash([u8; 32]);

impl ManifestHash {
    /// The hash of any text, whether or not it is a manifest: what arrives is compared before it is parsed.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The 32 bytes, as the ledger stores them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for ManifestHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ManifestHash {
    /// Lower-case hex without prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A checked manifest: typed objects in the order in which they are applied, and the hash of the text they came from.
///
/// Adjusting a manifest ([`with_replicas`](Self::with_replicas), [`override_config`](Self::override_config),
/// [`only`](Self::only), [`without`](Self::without), [`without_secret_values`](Self::without_secret_values)) keeps the hash: it says what was agreed, not what was made of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    hash: ManifestHash,
    objects: Vec<Object>,
}

impl Manifest {
    /// Parses and checks a multi-document YAML (or JSON) text.
    ///
    /// # Errors
    /// See [`ManifestError`]; each names the document, the object and what to change.
    pub fn parse(yaml: &str, policy: &KindPolicy) -> Result<Self, ManifestError> {
        let mut objects = parse::objects(yaml, policy)?;
        selection::check_accounts(&objects)?;
        objects.sort_by_key(Object::reference);
        Ok(Self {
            hash: ManifestHash::of(yaml),
            objects,
        })
    }

    /// SHA-256 of the parsed text's bytes.
    pub fn hash(&self) -> ManifestHash {
        self.hash
    }

    /// The objects, in order of application: kind by kind, by name within a kind.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The Deployments.
    pub fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.objects
            .iter()
            .filter_map(|o| if let Object::Deployment(d) = o { Some(d) } else { None })
    }

    /// The Services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.objects
            .iter()
            .filter_map(|o| if let Object::Service(s) = o { Some(s) } else { None })
    }

    /// The Jobs.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.objects
            .iter()
            .filter_map(|o| if let Object::Job(j) = o { Some(j) } else { None })
    }

    /// The images that the pods run, each once.
    pub fn images(&self) -> BTreeSet<&str> {
        self.objects
            .iter()
            .filter_map(Object::pod_spec)
            .flat_map(|pod| pod.init_containers.iter().flatten().chain(&pod.containers))
            .filter_map(|container| container.image.as_deref())
            .collect()
    }

    /// What all pods together reserve.
    pub fn resource_totals(&self) -> ResourceTotals {
        totals::of(&self.objects)
    }
}
