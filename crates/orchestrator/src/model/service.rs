//! A service as a domain offers it to its users: what to deploy, which part may move, and how to see that it works.

use hanse_agreement::Terms;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a domain knows about one of its services, besides the manifest.
///
/// How the parts find each other is not said here but in the manifest itself, by `wire.hanse.dev/keys` annotations on
/// ConfigMaps (see [`crate::wiring`]), because a provider needs it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceDefinition {
    /// DNS label; names the service in the API.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Name of the Deployment, and of the Service in front of it, that can be moved or scaled out alone.
    #[serde(default)]
    pub component: Option<String>,
    /// How to see that the service does its work.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// What a provider has to offer when a request does not say otherwise.
    #[schema(value_type = Object)]
    pub requirements: Terms,
}

/// A page that counts work done, by the domain that did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Service whose external address answers.
    pub service: String,
    /// TCP port.
    pub port: u16,
    /// Path of a JSON document.
    pub path: String,
    /// RFC 6901 pointer to a number in it that grows as work is done; `{domain}` stands for the name of the domain
    /// that has to do the work.
    pub counter: String,
    /// How much the counter has to grow before the service counts as answering.
    #[serde(default = "Probe::default_growth")]
    pub growth: u64,
}

impl Probe {
    fn default_growth() -> u64 {
        5
    }
}

/// Which part of a service goes to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// All of it moves.
    Whole,
    /// One component moves; the rest stays and talks to it.
    Component,
    /// Replicas of one component move; the others stay.
    Scale,
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole => "whole",
            Self::Component => "component",
            Self::Scale => "scale",
        })
    }
}

/// A service of this domain that runs, or should run, in this domain's own cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalService {
    /// What it is.
    pub definition: ServiceDefinition,
    /// The manifest as it was given, YAML.
    pub manifest: String,
    /// Where it runs.
    pub namespace: String,
    /// Replicas of the component that the owner asked for, before any were moved away.
    pub replicas: u32,
    /// Whether the owner wants it to run. A deleted service stays known until its objects are gone.
    pub wanted: bool,
    /// Whether all of it was seen ready since it was last applied.
    pub ready: bool,
    /// Why it is not ready, in words for people.
    pub trouble: Option<String>,
}
