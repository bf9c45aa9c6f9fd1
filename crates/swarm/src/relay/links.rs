//! What the connections of a domain say about how it can be reached, and how it reaches others.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::reservations::Candidate;
use crate::model::{SwarmAddress, UnixMillis};

/// A circuit is kept for so long beside a direct connection: questions that are on their way over it are answered within this time.
const KEPT_BESIDE: Duration = Duration::from_secs(60);

/// Over what two domains talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// At least one connection goes from one to the other.
    Direct,
    /// All go over a relay.
    Relayed,
}

/// Whether others can call a domain, as far as it can see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reachability {
    /// It has not called anybody yet that said where it comes from.
    #[default]
    Unknown,
    /// Everybody sees it where it listens, or an external address is known. That a firewall lets calls in is not sure.
    Reachable,
    /// Members see it at an address on which it does not listen (NAT), or the configuration says that it can't be called.
    Hidden,
}

/// One connection.
#[derive(Debug)]
struct Link {
    peer: PeerId,
    relayed: bool,
    since: UnixMillis,
    /// Where this domain called, if it did and was let in like anybody.
    called_at: Option<SwarmAddress>,
    /// Whether the other one sees this domain at an address on which it does not listen.
    translated: Option<bool>,
    /// Whether the other one offers to relay.
    relays: bool,
    /// It is a circuit that the other one called, and it was not tried yet to call that one directly.
    to_call_back: bool,
}

/// All connections. There are as many as the limits of connections let be.
#[derive(Debug, Default)]
pub(crate) struct Links(HashMap<ConnectionId, Link>);

fn host(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(ip.into(), Into::into)),
        _ => None,
    }
}

impl Links {
    /// A new connection.
    pub fn opened(&mut self, connection: ConnectionId, peer: PeerId, endpoint: &ConnectedPoint, now: UnixMillis) {
        let called_at = match endpoint {
            // Who called at the same time met on the way: that does not show that calls come in there.
            ConnectedPoint::Dialer {
                address,
                role_override: Endpoint::Dialer,
                ..
            } => SwarmAddress::new(address.clone()).ok(),
            _ => None,
        };
        let relayed = endpoint.is_relayed();
        let link = Link {
            peer,
            relayed,
            since: now,
            called_at: called_at.filter(|_| !relayed),
            translated: None,
            relays: false,
            to_call_back: relayed && endpoint.is_listener(),
        };
        self.0.insert(connection, link);
    }

    /// It came about because both sides called at once.
    pub fn punched(&mut self, connection: ConnectionId) {
        if let Some(link) = self.0.get_mut(&connection) {
            link.called_at = None;
        }
    }

    /// It is closed.
    pub fn closed(&mut self, connection: ConnectionId) {
        self.0.remove(&connection);
    }

    /// The other one said at which address it sees this domain, which listens on `own`, and whether it relays.
    pub fn identified(&mut self, connection: ConnectionId, observed: &Multiaddr, own: &HashSet<IpAddr>, relays: bool) {
        let Some(link) = self.0.get_mut(&connection).filter(|link| link.called_at.is_some()) else {
            return;
        };
        link.relays = relays;
        // On its own machine anybody can be called anyhow.
        link.translated = host(observed).map(|seen| !seen.is_loopback() && !own.contains(&seen));
    }

    /// Whether to call the other one directly now that it said where it is: who can be called needs no circuit, even if the one that
    /// answers on it can't. Once for each circuit.
    pub fn is_to_be_called_back(&mut self, connection: ConnectionId) -> bool {
        let link = self.0.get_mut(&connection);
        link.is_some_and(|link| std::mem::take(&mut link.to_call_back))
    }

    /// What the neighbours' words come to. One that sees it elsewhere is enough: those beyond the same gateway can't call either.
    pub fn reachability(&self) -> Reachability {
        let mut said = self.0.values().filter_map(|link| link.translated).peekable();
        if said.peek().is_none() {
            return Reachability::Unknown;
        }
        if said.any(|translated| translated) {
            Reachability::Hidden
        } else {
            Reachability::Reachable
        }
    }

    /// Who could relay: members that this domain called and that offer it. Those that see it elsewhere are beyond its gateway; if
    /// there are any, only they are of use to those who are there as well.
    pub fn candidates(&self) -> Vec<Candidate> {
        let offered = || self.0.values().filter(|link| link.relays);
        let beyond = offered().any(|link| link.translated == Some(true));
        let mut candidates: Vec<Candidate> = Vec::new();
        for link in offered().filter(|link| !beyond || link.translated == Some(true)) {
            if let Some(address) = &link.called_at
                && candidates.iter().all(|other| other.relay != link.peer)
            {
                candidates.push(Candidate {
                    relay: link.peer,
                    address: address.clone(),
                    preferred: false,
                });
            }
        }
        candidates
    }

    /// How the peer is connected.
    pub fn route(&self, peer: &PeerId) -> Option<Route> {
        let mut links = self.0.values().filter(|link| link.peer == *peer).peekable();
        links.peek()?;
        Some(if links.all(|link| link.relayed) {
            Route::Relayed
        } else {
            Route::Direct
        })
    }

    /// Circuits that are no longer needed, as there is a direct connection.
    pub fn superseded(&self, now: UnixMillis) -> Vec<ConnectionId> {
        let old = |link: &&Link| link.since > now || now.since(link.since) >= KEPT_BESIDE;
        let direct = self.0.values().filter(|link| !link.relayed).filter(old);
        let direct: HashSet<_> = direct.map(|link| link.peer).collect();
        let circuits = self
            .0
            .iter()
            .filter(|(_, link)| link.relayed && direct.contains(&link.peer));
        circuits.map(|(connection, _)| *connection).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::core::transport::PortUse;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn called(address: &str) -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: address.parse().unwrap(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        }
    }

    fn own() -> HashSet<IpAddr> {
        ["192.168.1.7", "127.0.0.1"].map(|ip| ip.parse().unwrap()).into()
    }

    impl Links {
        fn call(&mut self, number: usize, at: &str, observed: &str) -> PeerId {
            let peer = PeerId::random();
            self.opened(id(number), peer, &called(at), NOW);
            self.identified(id(number), &observed.parse().unwrap(), &own(), true);
            peer
        }
    }

    #[test]
    fn whoever_is_seen_where_it_does_not_listen_is_hidden() {
        let mut links = Links::default();
        assert_eq!(links.reachability(), Reachability::Unknown);
        links.call(0, "/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.2/tcp/1000");
        links.call(1, "/ip4/192.168.1.8/tcp/4001", "/ip4/192.168.1.7/tcp/1000");
        assert_eq!(links.reachability(), Reachability::Reachable);
        let beyond = links.call(2, "/ip4/9.9.9.9/tcp/4001", "/ip4/5.5.5.5/tcp/1000");
        assert_eq!(links.reachability(), Reachability::Hidden);
        let candidates = links.candidates();
        assert_eq!(
            candidates.len(),
            1,
            "one behind the same gateway is no use: {candidates:?}"
        );
        assert_eq!(candidates[0].relay, beyond);
        links.closed(id(2));
        assert_eq!(links.reachability(), Reachability::Reachable);
        assert_eq!(links.candidates().len(), 2);
    }

    #[test]
    fn who_called_or_met_half_way_proves_nothing_of_how_to_be_called() {
        let mut links = Links::default();
        let inbound = ConnectedPoint::Listener {
            local_addr: "/ip4/192.168.1.7/tcp/4001".parse().unwrap(),
            send_back_addr: "/ip4/192.168.1.9/tcp/999".parse().unwrap(),
        };
        links.opened(id(0), PeerId::random(), &inbound, NOW);
        links.identified(id(0), &"/ip4/5.5.5.5/tcp/4001".parse().unwrap(), &own(), true);
        links.opened(id(1), PeerId::random(), &called("/ip4/9.9.9.9/tcp/4001"), NOW);
        links.punched(id(1));
        links.identified(id(1), &"/ip4/5.5.5.5/tcp/4001".parse().unwrap(), &own(), true);
        assert_eq!(links.reachability(), Reachability::Unknown);
        assert!(links.candidates().is_empty());
    }

    #[test]
    fn who_called_over_a_relay_is_called_back_once() {
        let mut links = Links::default();
        let circuit: Multiaddr = "/ip4/9.9.9.9/tcp/4001/p2p-circuit".parse().unwrap();
        let endpoint = |local_addr: &str| ConnectedPoint::Listener {
            local_addr: local_addr.parse().unwrap(),
            send_back_addr: "/ip4/9.9.9.8/tcp/999".parse().unwrap(),
        };
        links.opened(id(0), PeerId::random(), &endpoint(&circuit.to_string()), NOW);
        links.opened(id(1), PeerId::random(), &endpoint("/ip4/192.168.1.7/tcp/4001"), NOW);
        let due = [0, 0, 1, 2].map(|number| links.is_to_be_called_back(id(number)));
        assert_eq!(due, [true, false, false, false]);
    }

    #[test]
    fn a_circuit_is_given_up_a_while_after_a_direct_connection_came() {
        let (mut links, peer, relay) = (Links::default(), PeerId::random(), PeerId::random());
        let circuit = called(&format!("/ip4/9.9.9.9/tcp/4001/p2p/{relay}/p2p-circuit/p2p/{peer}"));
        links.opened(id(0), peer, &circuit, NOW);
        assert_eq!(links.route(&peer), Some(Route::Relayed));
        assert_eq!(links.superseded(NOW.plus(KEPT_BESIDE * 9)), []);
        let later = NOW.plus(Duration::from_secs(9));
        links.opened(id(1), peer, &called("/ip4/9.9.9.8/tcp/4001"), later);
        assert_eq!(links.route(&peer), Some(Route::Direct));
        assert_eq!(links.superseded(NOW.plus(KEPT_BESIDE)), []);
        assert_eq!(links.superseded(later.plus(KEPT_BESIDE)), [id(0)]);
        assert_eq!(links.route(&relay), None);
    }
}
