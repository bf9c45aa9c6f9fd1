//! `Identity`: what this domain says of itself.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;

/// What this domain publishes of itself, and in which swarms.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "peerdiscovery.irt-saintexupery.com",
    version = "v1alpha1",
    kind = "Identity",
    plural = "identities",
    namespaced,
    shortname = "ident",
    category = "hanse",
    status = "IdentityStatus",
    derive = "PartialEq",
    doc = "What this domain publishes of itself, and in which swarms.",
    printcolumn(name = "PeerName", type_ = "string", json_path = ".spec.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Published")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IdentitySpec {
    /// In which swarms.
    #[schemars(length(min = 1, max = 16))]
    pub swarms: Vec<TargetedSwarm>,
    /// What the domain says about itself.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub description: String,
    /// What the domain calls itself.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Where it can be called.
    #[serde(rename = "URL")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.startsWith('https://') || self.startsWith('http://')")
        .message("URL is an http or https URL"))]
    pub url: String,
    /// What it offers.
    #[serde(default)]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub categories: Vec<Category>,
}

/// One thing that a domain offers.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
pub struct Category {
    /// Its name.
    #[schemars(length(min = 1, max = 48))]
    pub name: String,
}

/// A swarm of a pool.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetedSwarm {
    /// The pool's namespace; absent: that of the Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// The pool's name.
    #[schemars(length(min = 1, max = 253))]
    pub swarm_pool: String,
    /// The swarm's name in the pool.
    #[schemars(length(min = 1, max = 63))]
    pub swarm: String,
}

/// What became of an Identity.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// Of all swarms together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<IdentityState>,
    /// The swarms, in the order of the spec.
    #[serde(default)]
    pub swarms: Vec<TargetStatus>,
    /// The generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is in order and what is not.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How far an Identity is.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityState {
    /// It is published in every swarm that it names.
    Published,
    /// In some of them.
    PartlyPublished,
    /// In none.
    NotPublished,
    /// It is being deleted, and the others are being told.
    Withdrawing,
}

/// What became of an Identity in one swarm.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// The pool's namespace.
    pub namespace: String,
    /// The pool's name.
    pub swarm_pool: String,
    /// The swarm's name in the pool.
    pub swarm: String,
    /// Whether it is published there, or why not: the reasons of the condition `Published`.
    pub state: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How many domains there are known here, with a valid record, and answer.
    #[serde(default)]
    pub synchronized: u32,
    /// How many members there are known here and do not answer, or have not published who they are.
    #[serde(default)]
    pub out_of_sync: u32,
}
