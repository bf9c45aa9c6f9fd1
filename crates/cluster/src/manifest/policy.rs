//! What a domain lets others deploy.

use std::collections::BTreeSet;

use super::kind::Kind;

/// Bounds on a manifest; everything beyond them is refused before it is looked at closely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the text in bytes. Kubernetes itself takes at most 1.5 MiB for one object (etcd's request limit).
    pub bytes: usize,
    /// Number of YAML documents.
    pub documents: usize,
    /// Nesting of mappings and sequences.
    pub depth: usize,
    /// Replicas of one Deployment, or parallel pods of one Job.
    pub replicas: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            documents: 64,
            depth: 40,
            replicas: 1000,
        }
    }
}

/// Which kinds may be deployed, and how large a manifest may be.
///
/// The default allows ConfigMap, Secret, Service, Deployment and Job. ServiceAccount is left out: pods of a foreign
/// manifest get no API token (see [`Manifest`](crate::Manifest)), so an account would serve no purpose but to carry
/// annotations that some clouds turn into rights; [`KindPolicy::allow`] adds it for those who need pull secrets on accounts.
///
/// Independent of the policy, pods are held to the *baseline* level of the Kubernetes Pod Security Standards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindPolicy {
    kinds: BTreeSet<Kind>,
    limits: Limits,
}

impl Default for KindPolicy {
    fn default() -> Self {
        Self {
            kinds: BTreeSet::from([
                Kind::ConfigMap,
                Kind::Secret,
                Kind::Service,
                Kind::Deployment,
                Kind::Job,
            ]),
            limits: Limits::default(),
        }
    }
}

impl KindPolicy {
    /// A policy that allows these kinds only, with default limits.
    pub fn only(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            kinds: kinds.into_iter().collect(),
            limits: Limits::default(),
        }
    }

    /// Allows one kind more.
    #[must_use]
    pub fn allow(mut self, kind: Kind) -> Self {
        self.kinds.insert(kind);
        self
    }

    /// Sets the bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether this kind may be deployed.
    pub fn allows(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The bounds in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The allowed kinds as a list for people.
    pub(crate) fn list(&self) -> String {
        self.kinds.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ")
    }
}
