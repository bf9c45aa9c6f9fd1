//! The kinds of object that a manifest may hold, in the order in which they are applied.

use std::fmt;

use serde::Serialize;

/// A kind this crate can deploy. The order is the order of application: what others refer to comes first.
///
/// Kinds that are absent here can never be deployed, whatever the policy: anything that is cluster-wide, that grants
/// rights, or that runs on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// `v1` ServiceAccount
    ServiceAccount,
    /// `v1` ConfigMap
    ConfigMap,
    /// `v1` Secret
    Secret,
    /// `v1` Service
    Service,
    /// `apps/v1` Deployment
    Deployment,
    /// `batch/v1` Job
    Job,
}

impl Kind {
    /// Every kind, in order of application.
    pub const ALL: [Self; 6] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Secret,
        Self::Service,
        Self::Deployment,
        Self::Job,
    ];

    /// The kind's name as in `kind:`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::Job => "Job",
        }
    }

    /// The group and version as in `apiVersion:`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::ServiceAccount | Self::ConfigMap | Self::Secret | Self::Service => "v1",
            Self::Deployment => "apps/v1",
            Self::Job => "batch/v1",
        }
    }

    pub(crate) fn named(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.name() == kind && k.api_version() == api_version)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An object's kind and name; its namespace is said elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectRef {
    /// The object's kind.
    pub kind: Kind,
    /// The object's name.
    pub name: String,
}

impl ObjectRef {
    /// Names an object.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.kind, self.name)
    }
}
