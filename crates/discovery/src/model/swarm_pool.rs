//! `SwarmPool`: the swarms that a domain takes part in.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::condition::Condition;

/// The swarms that this domain takes part in, and how others reach it there.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "peerdiscovery.irt-saintexupery.com",
    version = "v1alpha1",
    kind = "SwarmPool",
    plural = "swarmpools",
    namespaced,
    shortname = "sp",
    category = "hanse",
    status = "SwarmPoolStatus",
    derive = "PartialEq",
    doc = "The swarms that this domain takes part in, and how others reach it there.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SwarmPoolSpec {
    /// The swarms, each with a name of its own.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub swarms: Vec<SwarmSpec>,
    /// Version of IPFS for swarms that name none. The agent itself speaks the protocols; no image of that version is run.
    #[serde(rename = "IPFSVersion", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub ipfs_version: Option<String>,
}

/// One swarm.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SwarmSpec {
    /// What Identities call it.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name of a swarm has lower-case letters, digits and hyphens only, and begins and ends with a letter or digit"))]
    pub name: String,
    /// Which swarm; absent: the default swarm of the agent's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm_definition: Option<SwarmDefinition>,
    /// How others reach this domain; absent: only where the agent listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<SwarmNetwork>,
    /// How much the agent may store for the swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<SwarmStorage>,
    /// Version of IPFS; absent: that of the pool. The agent itself speaks the protocols; no image of that version is run.
    #[serde(rename = "IPFSVersion", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub ipfs_version: Option<String>,
}

/// A private swarm.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SwarmDefinition {
    /// Name of the Secret in the pool's namespace whose key `swarm-key` holds the swarm's key. It is made, with a new key, when
    /// it is missing.
    #[schemars(length(min = 1, max = 253))]
    pub swarm_key_secret_ref: String,
    /// Members to begin with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 512)))]
    #[x_kube(validation = Rule::new("self.all(address, address.startsWith('/') && address.contains('/p2p/'))")
        .message("each bootstrap address is a multiaddr that says who must answer there, such as /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…"))]
    pub bootstrap_node_addresses: Vec<String>,
}

/// How others reach this domain.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.loadBalancer) != has(self.traefik)")
        .message("network takes exactly one of loadBalancer and traefik"),
    validation = Rule::new("self.swarmPort != self.apiPort")
        .message("swarmPort and apiPort must be different")
)]
pub struct SwarmNetwork {
    /// By a Service of type LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// By a TCP route of Traefik.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traefik: Option<Traefik>,
    /// Port of the swarm.
    #[serde(default = "swarm_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub swarm_port: u16,
    /// Port of the read-only HTTP API.
    #[serde(default = "api_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub api_port: u16,
}

fn swarm_port() -> u16 {
    4001
}

fn api_port() -> u16 {
    5001
}

/// A Service of type LoadBalancer.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    /// `auto`, or the address that the load balancer is to have.
    #[serde(rename = "loadBalancerIP", default = "auto")]
    #[schemars(length(max = 45))]
    #[x_kube(validation = Rule::new("self == 'auto' || self.matches('^[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+$') || self.matches('^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$')")
        .message("loadBalancerIP is auto or an IP address"))]
    pub load_balancer_ip: String,
    /// Whether the read-only HTTP API is reached through the load balancer too.
    #[serde(rename = "exposedAPI", default)]
    pub exposed_api: bool,
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self {
            load_balancer_ip: auto(),
            exposed_api: false,
        }
    }
}

fn auto() -> String {
    "auto".into()
}

/// A TCP route of Traefik.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Traefik {
    /// Traefik's entry point for the swarm.
    #[schemars(length(min = 1, max = 63))]
    pub traefik_entry_point: String,
    /// The Service through which Traefik itself is reached.
    #[schemars(length(min = 1, max = 63))]
    pub traefik_load_balancer_service_name: String,
    /// That Service's namespace.
    #[schemars(length(min = 1, max = 63))]
    pub traefik_load_balancer_namespace: String,
}

/// How much may be stored.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SwarmStorage {
    /// A Kubernetes quantity of bytes, such as 1Gi.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+([.][0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$')")
        .message("capacity is a quantity of bytes, such as 1Gi or 500M"))]
    pub capacity: String,
}

/// What became of a pool.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SwarmPoolStatus {
    /// Sixteen bytes of the SHA-256 hash of the spec that this status is about, in base64.
    #[serde(default)]
    pub hash: String,
    /// When the status changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_update: Option<String>,
    /// The swarms by their names.
    #[serde(default)]
    pub status: BTreeMap<String, SwarmStatus>,
    /// The generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is in order and what is not.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How one swarm is doing. The keys are those of the original, spaces included.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Default, PartialEq, Eq)]
pub struct SwarmStatus {
    /// Where others can call, with the peer id: what they take for `bootstrapNodeAddresses`.
    #[serde(rename = "Addresses", default)]
    pub addresses: Vec<String>,
    /// The swarm's name.
    #[serde(rename = "Name", default)]
    pub name: String,
    /// How many members are called to get into the swarm: those of the spec, and from the first Identity on all domains that published
    /// one.
    #[serde(rename = "Number of bootstraps", default)]
    pub bootstraps: u32,
    /// How many members are connected.
    #[serde(rename = "Number of connected peers", default)]
    pub connected: u32,
    /// This domain's name in the swarm.
    #[serde(rename = "Peer Id", default)]
    pub peer_id: String,
}
