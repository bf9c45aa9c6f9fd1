//! What the agent's configuration says.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hanse_swarm::model::{Party, SwarmAddress};
use hanse_swarm::peers::Limits;
use hanse_swarm::{DomainKey, PeerId, SealingSecret, Swarm, SwarmKey};
use tokio::sync::watch;

use crate::credentials::{ApiServer, Policy};

/// How discovery works in this agent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The domain's name; the agent's own Identity is called so.
    pub domain: String,
    /// Who the domain is, in every swarm.
    pub domain_key: DomainKey,
    /// Opens what is sealed to the domain; its public half is published with every Identity.
    pub sealing: SealingSecret,
    /// The agent's data folder: swarms of their own are kept in `swarms/FINGERPRINT` below it.
    pub data_dir: PathBuf,
    /// Namespace of the objects that the agent makes by itself.
    pub namespace: String,
    /// Whether the definitions of the custom resources are applied at start.
    pub install_definitions: bool,
    /// If set, the agent makes a SwarmPool `hanse` for the default swarm, and an Identity in it.
    pub identity: Option<OwnIdentity>,
    /// Where swarms of their own, and their HTTP APIs, listen.
    pub listen: IpAddr,
    /// Addresses of this agent that the cluster can reach: its pod's, or those of the machine. Services lead there.
    pub addresses: Vec<IpAddr>,
    /// How long the deletion of an Identity waits until others took the withdrawal.
    pub withdraw_within: Duration,
    /// How swarms of their own look after peers.
    pub peers: Limits,
    /// What peers get in this domain's cluster.
    pub credentials: Credentials,
    /// What the domain says of itself as a party of agreements, in the default swarm only.
    pub party: watch::Receiver<Option<Party>>,
}

/// What peers get in this domain's cluster.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Who gets what. It was checked.
    pub policy: watch::Receiver<Policy>,
    /// The peers with a running agreement with this domain; none as long as that is not known: then nobody is given anything or
    /// loses it if the policy depends on it.
    pub agreements: watch::Receiver<Option<BTreeSet<PeerId>>>,
    /// Where peers call the API server, or why that is not known: then nobody gets anything.
    pub server: Result<ApiServer, String>,
}

impl Credentials {
    /// A policy that stays as it is, without agreements.
    pub fn fixed(policy: Policy, server: Result<ApiServer, String>) -> Self {
        Self {
            policy: watch::channel(policy).1,
            agreements: watch::channel(Some(BTreeSet::new())).1,
            server,
        }
    }
}

/// What the domain says of itself by its configuration.
#[derive(Debug, Clone)]
pub struct OwnIdentity {
    /// What it says about itself.
    pub description: String,
    /// Where it can be called.
    pub url: String,
    /// What it offers.
    pub categories: Vec<String>,
}

/// The swarm of the agent's configuration.
#[derive(Debug, Clone)]
pub struct DefaultSwarm {
    /// The running swarm.
    pub swarm: Arc<Swarm>,
    /// Its key.
    pub key: SwarmKey,
    /// The members to begin with.
    pub bootstrap: Vec<SwarmAddress>,
    /// The port on which it listens.
    pub port: u16,
}

impl Settings {
    /// The usual figures: everything on this machine, the definitions are applied, no Identity of its own.
    pub fn new(domain: String, domain_key: DomainKey, sealing: SealingSecret, data_dir: PathBuf) -> Self {
        Self {
            domain,
            domain_key,
            sealing,
            data_dir,
            namespace: "default".into(),
            install_definitions: true,
            identity: None,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            withdraw_within: Duration::from_secs(10),
            peers: Limits::default(),
            credentials: Credentials::fixed(
                Policy::default(),
                Err("the agent was not told where peers can call the API server".into()),
            ),
            party: watch::channel(None).1,
        }
    }
}
