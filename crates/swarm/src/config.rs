//! What a domain brings to a swarm.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use libp2p::PeerId;

use crate::domain_key::DomainKey;
use crate::key::SwarmKey;
use crate::message::SealingSecret;
use crate::model::SwarmAddress;
use crate::peers::Limits;
use crate::record::Schedule;
use crate::relay::RelayConfig;

/// How a domain takes part in a swarm.
#[derive(Debug, Clone)]
pub struct SwarmConfig {
    /// Lets it in.
    pub key: SwarmKey,
    /// Says who it is.
    pub domain: DomainKey,
    /// Opens what is sealed to it. What it publishes must have the public half.
    pub sealing: SealingSecret,
    /// Where it listens. Port 0 takes any that is free.
    pub listen: Vec<SwarmAddress>,
    /// Where others can reach it, if that is not where it listens (load balancers, port forwarding).
    pub external: Vec<SwarmAddress>,
    /// Members to begin with; each says who answers there. One that can be reached is enough, and none is needed once others are
    /// known.
    pub bootstrap: Vec<SwarmAddress>,
    /// A folder of its own, for what survives a restart.
    pub folder: PathBuf,
    /// When its record is signed and given to the holders.
    pub schedule: Schedule,
    /// How long it looks after others, and how many.
    pub peers: Limits,
    /// How often it compares what it knows with what a neighbour knows.
    pub compare_every: Duration,
    /// How many bytes blobs may take on the disk. Those of others make room, the first first; the domain's own stay, and what does not
    /// fit beside them is refused.
    pub most_blob_bytes: u64,
    /// What it carries for domains that nobody can call, and when others do so for it.
    pub relay: RelayConfig,
    /// Whether members are looked for in the local networks on which it listens, by multicast DNS.
    pub mdns: bool,
    /// How many connections there may be; half of them may come in.
    pub most_connections: u32,
    /// Who is not connected to, whatever it does.
    pub blocked: BTreeSet<PeerId>,
    /// If set, nobody else is connected to.
    pub allowed: Option<BTreeSet<PeerId>>,
}

impl SwarmConfig {
    /// The usual figures.
    pub fn new(key: SwarmKey, domain: DomainKey, sealing: SealingSecret, folder: PathBuf) -> Self {
        Self {
            key,
            domain,
            sealing,
            listen: Vec::new(),
            external: Vec::new(),
            bootstrap: Vec::new(),
            folder,
            schedule: Schedule::default(),
            peers: Limits::default(),
            compare_every: Duration::from_secs(30),
            most_blob_bytes: 10 << 30,
            relay: RelayConfig::default(),
            mdns: false,
            most_connections: 1024,
            blocked: BTreeSet::new(),
            allowed: None,
        }
    }

    /// Whether the whole Internet may reach the domain. Then it takes part in the distributed hash table of public addresses.
    pub(crate) fn is_public(&self) -> bool {
        let addresses = if self.external.is_empty() {
            &self.listen
        } else {
            &self.external
        };
        addresses.iter().any(SwarmAddress::is_public)
    }
}
