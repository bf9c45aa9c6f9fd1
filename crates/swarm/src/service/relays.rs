//! Relays: those that carry for this domain, and what it carries for others.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, identify};
use libp2p_dcutr as dcutr;
use libp2p_relay as relay;

use super::now;
use super::run::Run;
use crate::model::{MOST_ADDRESSES, SwarmAddress, UnixMillis};
use crate::relay::{Candidate, Reachability, RelayUse};

/// What this domain carries for others now.
#[derive(Debug, Default)]
pub(super) struct Served {
    reserved: HashSet<PeerId>,
    /// By the two ends.
    circuits: HashMap<(PeerId, PeerId), usize>,
}

impl Served {
    pub fn event(&mut self, event: &relay::Event) {
        use relay::Event::{
            CircuitClosed, CircuitReqAccepted, CircuitReqDenied, ReservationClosed, ReservationReqAccepted,
            ReservationReqDenied, ReservationTimedOut,
        };
        match event {
            ReservationReqAccepted { src_peer_id, renewed } => {
                if !renewed {
                    tracing::info!(peer = %src_peer_id, "can be called over this domain");
                }
                self.reserved.insert(*src_peer_id);
            }
            ReservationClosed { src_peer_id } | ReservationTimedOut { src_peer_id } => {
                self.reserved.remove(src_peer_id);
            }
            CircuitReqAccepted {
                src_peer_id,
                dst_peer_id,
            } => *self.circuits.entry((*src_peer_id, *dst_peer_id)).or_default() += 1,
            CircuitClosed {
                src_peer_id,
                dst_peer_id,
                ..
            } => {
                let ends = (*src_peer_id, *dst_peer_id);
                if let Some(count) = self.circuits.get_mut(&ends) {
                    *count -= 1;
                    if *count == 0 {
                        self.circuits.remove(&ends);
                    }
                }
            }
            ReservationReqDenied { src_peer_id, status } => {
                tracing::debug!(peer = %src_peer_id, ?status, "wants to be called over this domain, which is refused");
            }
            CircuitReqDenied {
                src_peer_id,
                dst_peer_id,
                status,
            } => tracing::debug!(from = %src_peer_id, to = %dst_peer_id, ?status, "a circuit is refused"),
            _ => {}
        }
    }

    /// How many domains can be called over this one.
    pub fn reservations(&self) -> usize {
        self.reserved.len()
    }

    /// How many circuits it carries.
    pub fn circuits(&self) -> usize {
        self.circuits.values().sum()
    }
}

impl Run {
    /// Whether others can call this domain.
    pub(super) fn reachability(&self) -> Reachability {
        let external = !self.config.external.is_empty() || !self.external.is_empty();
        match self.config.relay.using {
            RelayUse::Always => Reachability::Hidden,
            _ if external => Reachability::Reachable,
            _ => self.links.reachability(),
        }
    }

    /// Has itself called over relays if it must, and over others when one goes.
    pub(super) fn use_relays(&mut self, now: UnixMillis) {
        self.offer_to_relay();
        for connection in self.links.superseded(now) {
            self.swarm.close_connection(connection);
        }
        for listener in self.reservations.late(now) {
            self.swarm.remove_listener(listener);
            self.listens_no_more(listener, None);
        }
        match (self.config.relay.using, self.reachability()) {
            (RelayUse::Never, _) | (_, Reachability::Reachable) => self.give_up_relays(),
            (_, Reachability::Hidden) => self.ask_relays(now),
            // Nobody says anything right now: what there is stays.
            (_, Reachability::Unknown) => {}
        }
    }

    fn ask_relays(&mut self, now: UnixMillis) {
        let mut candidates = self.links.candidates();
        if self.config.relay.at.is_empty() {
            for candidate in &mut candidates {
                candidate.preferred = self.bootstrap.iter().any(|it| it.is(&candidate.relay));
            }
        } else {
            let named = |address: &SwarmAddress| {
                Some(Candidate {
                    relay: address.peer().ok()?,
                    address: address.clone(),
                    preferred: true,
                })
            };
            candidates = self.config.relay.at.iter().filter_map(named).collect();
        }
        for candidate in self.reservations.due(&self.name, candidates, now) {
            let address = candidate.address.over(candidate.relay);
            let listening = address.map(|address| self.swarm.listen_on(address.multiaddr().clone()));
            match listening {
                Ok(Ok(listener)) => self.reservations.asked(listener, candidate, now),
                refused => tracing::debug!(relay = %candidate.relay, ?refused, "is not asked to relay"),
            }
        }
    }

    fn give_up_relays(&mut self) {
        for (listener, candidate) in self.reservations.give_up() {
            tracing::info!(relay = %candidate.relay, "is needed as a relay no more");
            self.swarm.remove_listener(listener);
            self.forget_circuit(&candidate);
        }
    }

    /// libp2p counts a circuit address as one of this domain's until the connection with the relay is closed.
    fn forget_circuit(&mut self, candidate: &Candidate) {
        let name = self.name;
        let over = candidate.address.over(candidate.relay);
        if let Ok(Ok(address)) = over.map(|over| over.multiaddr().clone().with_p2p(name)) {
            self.swarm.remove_external_address(&address);
        }
    }

    /// A relay tells those who reserve where it can be called, and refuses them if it does not know. Who can't be called itself
    /// promises nothing.
    fn offer_to_relay(&mut self) {
        let direct = |address: &&Multiaddr| SwarmAddress::new((*address).clone()).is_ok_and(|it| it.relay().is_none());
        let listeners: HashSet<_> = self.swarm.listeners().filter(direct).cloned().collect();
        let known: HashSet<_> = self.swarm.external_addresses().cloned().collect();
        if self.config.relay.serve.is_some() && self.reachability() != Reachability::Hidden {
            for address in listeners.difference(&known) {
                self.swarm.add_external_address(address.clone());
            }
            return;
        }
        let configured = |address: &Multiaddr| {
            self.config.external.iter().any(|it| it.multiaddr() == address) || self.external.contains(address)
        };
        let offered: Vec<_> = listeners.intersection(&known).filter(|it| !configured(it)).collect();
        for address in offered {
            self.swarm.remove_external_address(address);
        }
    }

    /// This domain can be called at another address.
    pub(super) fn listens(&mut self, listener: ListenerId, address: &Multiaddr) {
        match self.reservations.accepted(listener) {
            Some(relay) => tracing::info!(%relay, "this domain can be called over a relay"),
            None => tracing::info!(%address, "listening"),
        }
    }

    /// It can be called there no more.
    pub(super) fn listens_no_more(&mut self, listener: ListenerId, reason: Option<std::io::Error>) {
        if let Some(candidate) = self.reservations.ended(listener, now()) {
            let reason = reason.map_or("it did not answer, or went".to_owned(), |reason| reason.to_string());
            tracing::info!(relay = %candidate.relay, %reason, "this domain can't be called over a relay");
            self.forget_circuit(&candidate);
        }
    }

    /// Somebody said where it sees this domain.
    pub(super) fn identified(&mut self, peer: PeerId, connection: ConnectionId, info: &identify::Info) {
        let listeners = self
            .swarm
            .listeners()
            .filter_map(|address| match address.iter().next()? {
                Protocol::Ip4(ip) => Some(IpAddr::from(ip)),
                Protocol::Ip6(ip) => Some(IpAddr::from(ip)),
                _ => None,
            });
        let own = listeners.collect();
        let relays = info.protocols.contains(&relay::HOP_PROTOCOL_NAME);
        self.links.identified(connection, &info.observed_addr, &own, relays);
        if self.links.is_to_be_called_back(connection) {
            self.call_back(peer, &info.listen_addrs);
        }
    }

    /// Calls one directly that called over a relay.
    fn call_back(&mut self, peer: PeerId, listens: &[Multiaddr]) {
        let addresses = listens
            .iter()
            .filter_map(|address| SwarmAddress::new(address.clone()).ok());
        let direct = addresses.filter(|address| address.relay().is_none());
        let direct: Vec<_> = direct.map(|it| it.multiaddr().clone()).take(MOST_ADDRESSES).collect();
        if direct.is_empty() {
            return;
        }
        let call = DialOpts::peer_id(peer)
            .condition(PeerCondition::NotDialing)
            .addresses(direct);
        if let Err(error) = self.swarm.dial(call.build()) {
            tracing::debug!(%peer, %error, "is not called back");
        }
    }

    /// A circuit has become a direct connection, or has not.
    pub(super) fn upgraded(&mut self, event: dcutr::Event) {
        let peer = event.remote_peer_id;
        match event.result {
            Ok(connection) => {
                self.links.punched(connection);
                tracing::info!(%peer, "is connected directly; a relay was needed before");
            }
            Err(error) => tracing::debug!(%peer, %error, "can't be connected directly"),
        }
    }
}
