//! `Peer`: another domain, as it is seen from here.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::identity::Category;

/// Another domain, as it is seen from here. The agent makes, changes and removes Peers; their words are those of that
/// domain, and nobody vouches for them.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "peerdiscovery.irt-saintexupery.com",
    version = "v1alpha1",
    kind = "Peer",
    plural = "peers",
    namespaced,
    shortname = "pe",
    category = "hanse",
    status = "PeerStatus",
    derive = "PartialEq",
    doc = "Another domain, as it is seen from here. The agent makes, changes and removes Peers.",
    printcolumn(name = "PEERNAME", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "STATUS", type_ = "string", json_path = ".status.status"),
    printcolumn(name = "IP", type_ = "string", json_path = ".spec.URL"),
    printcolumn(name = "DESCRIPTION", type_ = "string", json_path = ".spec.description")
)]
#[serde(rename_all = "camelCase")]
pub struct PeerSpec {
    /// What it offers, by its own words.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub categories: Vec<Category>,
    /// What it says about itself.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub description: String,
    /// What it calls itself. Anybody can take any name; whom one deals with is the peer id.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub name: String,
    /// Where it says it can be called.
    #[serde(rename = "URL", default)]
    #[schemars(length(max = 256))]
    pub url: String,
}

/// Whether another domain answers.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// How many looks it missed one after another.
    #[serde(default)]
    pub missing_counter: u32,
    /// Whether it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<PeerPresence>,
    /// The generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is in order and what is not.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Whether another domain answers.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerPresence {
    /// It answered the last look.
    Online,
    /// It did not.
    Offline,
    /// Its record is there; nobody has looked yet.
    Unknown,
}
