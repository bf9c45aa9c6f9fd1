//! What the handle shows.

use libp2p::PeerId;

use crate::key::Fingerprint;
use crate::model::{Identity, SwarmAddress, UnixMillis};
use crate::peers::Presence;
use crate::relay::{Reachability, Route};

/// Another domain, as it is seen now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// Its name in the swarm.
    pub name: PeerId,
    /// What it says of itself.
    pub identity: Identity,
    /// Whether it can be reached.
    pub presence: Presence,
    /// Since when it is known.
    pub since: UnixMillis,
    /// Over what there is a connection right now, if there is one.
    pub route: Option<Route>,
    /// Where it can be called, as far as the routing table of this domain has it.
    pub addresses: Vec<SwarmAddress>,
}

impl PeerView {
    /// Whether there is a connection right now.
    pub fn connected(&self) -> bool {
        self.route.is_some()
    }
}

/// How the network is doing.
#[derive(Debug, Clone)]
pub struct Status {
    /// What may be shown of the swarm's key: two domains that do not find each other compare it.
    pub fingerprint: Fingerprint,
    /// Where others can call, with the peer id.
    pub addresses: Vec<SwarmAddress>,
    /// How many peers are connected, domains and others.
    pub connected: usize,
    /// How many records are held for the swarm.
    pub held_records: usize,
    /// Whether holders have taken this domain's record; `None` if it has none.
    pub published: Option<bool>,
    /// Bootstrap members that do not answer. They are called again and again.
    pub unreachable: Vec<Unreachable>,
    /// Whether others can call this domain, as far as it can see.
    pub reachability: Reachability,
    /// The relays over which it can be called; their circuit addresses are among `addresses`.
    pub relays: Vec<PeerId>,
    /// How many domains can be called over this one.
    pub reservations_served: usize,
    /// How many circuits it carries for others right now.
    pub circuits_served: usize,
}

/// A bootstrap member that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// Where it is called.
    pub address: SwarmAddress,
    /// What happened when it was called last.
    pub reason: String,
    /// How often it was called in vain, one call after another.
    pub calls: u32,
    /// When it is called next; the pause doubles with each call, up to a minute.
    pub next_call: UnixMillis,
}
