//! The custom resources, and the words that they share.
#![allow(clippy::duplicated_attributes, reason = "kube's printer columns repeat their type")]

mod condition;
mod identity;
mod peer;
mod swarm_pool;

pub use condition::{Condition, Truth};
pub use identity::{Category, Identity, IdentitySpec, IdentityState, IdentityStatus, TargetStatus, TargetedSwarm};
pub use peer::{Peer, PeerPresence, PeerSpec, PeerStatus};
pub use swarm_pool::{
    LoadBalancer, SwarmDefinition, SwarmNetwork, SwarmPool, SwarmPoolSpec, SwarmPoolStatus, SwarmSpec, SwarmStatus,
    SwarmStorage, Traefik,
};

/// API group of the custom resources.
pub const GROUP: &str = "peerdiscovery.irt-saintexupery.com";
/// Their version.
pub const VERSION: &str = "v1alpha1";
/// Annotation of a Peer: name of the Secret that holds the kubeconfig which that domain gave to this one.
pub const KUBECONFIG_SECRET: &str = "clusterdiscovery/kubeconfig-secret";
/// Annotation of a Peer: its peer id as it is written; the object's name is the same in lower case.
pub const PEER_ID: &str = "peerdiscovery.irt-saintexupery.com/peer-id";
/// Finalizer of Identities and SwarmPools: the others are told before the object goes.
pub const FINALIZER: &str = "peerdiscovery.irt-saintexupery.com/withdrawal";
/// Label of everything that the agent makes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGER: &str = "hanse";
/// Label: name of the pool for which an object was made.
pub const POOL: &str = "peerdiscovery.irt-saintexupery.com/swarmpool";
/// Label: name of the swarm for which an object was made.
pub const SWARM: &str = "peerdiscovery.irt-saintexupery.com/swarm";
/// Annotation of a Peer: fingerprints of the keys of the swarms that it is in.
pub const SWARMS: &str = "peerdiscovery.irt-saintexupery.com/swarms";
/// Key of the swarm's key in its Secret.
pub const SWARM_KEY: &str = "swarm-key";
