//! Addresses on which a swarm with a key may listen, and at which it may call.
//!
//! A domain that nobody can call directly has *circuit* addresses: those of a relay, with `/p2p/RELAY/p2p-circuit` behind them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

/// An address of a private swarm: a host, a TCP port, perhaps the relay that answers there and leads on, and perhaps the peer that
/// must answer. Nothing else is covered by the swarm's key.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SwarmAddress {
    address: Multiaddr,
    relay: Option<PeerId>,
    peer: Option<PeerId>,
}

/// Why an address is not one of a private swarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No multiaddr.
    #[error("{0:?} is no multiaddr; write it as /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…")]
    Format(String),
    /// QUIC or something on top of it. The key encrypts TCP connections alone: a peer without the key could come in.
    #[error(
        "{0} is refused: a swarm key does not protect QUIC or WebTransport, so a peer without the key could connect; use /tcp"
    )]
    Unprotected(Multiaddr),
    /// Something else than a host and a TCP port.
    #[error(
        "{0} is no address of a private swarm; write it as /ip4/192.0.2.7/tcp/4001 or /dns4/name/tcp/4001, perhaps with /p2p/12D3KooW…, and over a relay as /ip4/192.0.2.7/tcp/4001/p2p/RELAY/p2p-circuit/p2p/12D3KooW…"
    )]
    Kind(Multiaddr),
    /// The peer is missing.
    #[error("{0} does not say who must answer there; add /p2p/ and the peer id, as `hanse swarm status` shows it")]
    NoPeer(Multiaddr),
}

impl SwarmAddress {
    /// Checks an address.
    ///
    /// # Errors
    /// [`AddressError::Unprotected`] and [`AddressError::Kind`].
    pub fn new(address: Multiaddr) -> Result<Self, AddressError> {
        let unprotected = |part: &Protocol<'_>| {
            use Protocol::{Quic, QuicV1, Udp, WebRTCDirect, WebTransport};
            matches!(part, Udp(_) | Quic | QuicV1 | WebTransport | WebRTCDirect)
        };
        if address.iter().any(|part| unprotected(&part)) {
            return Err(AddressError::Unprotected(address));
        }
        let parts: Vec<_> = address.iter().collect();
        let host = |part: &Protocol<'_>| {
            use Protocol::{Dns, Dns4, Dns6, Ip4, Ip6};
            matches!(part, Ip4(_) | Ip6(_) | Dns(_) | Dns4(_) | Dns6(_))
        };
        let (relay, peer, length) = match parts.as_slice() {
            [first, Protocol::Tcp(_)] if host(first) => (None, None, 2),
            [first, Protocol::Tcp(_), Protocol::P2p(peer)] if host(first) => (None, Some(*peer), 2),
            [first, Protocol::Tcp(_), Protocol::P2p(relay), Protocol::P2pCircuit] if host(first) => {
                (Some(*relay), None, 4)
            }
            [
                first,
                Protocol::Tcp(_),
                Protocol::P2p(relay),
                Protocol::P2pCircuit,
                Protocol::P2p(peer),
            ] if host(first) && relay != peer => (Some(*relay), Some(*peer), 4),
            _ => return Err(AddressError::Kind(address)),
        };
        let address = parts.iter().take(length).cloned().collect();
        Ok(Self { address, relay, peer })
    }

    /// Reads an address.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let address = text.parse().map_err(|_| AddressError::Format(text.to_owned()))?;
        Self::new(address)
    }

    /// Host and port, and the relay if there is one.
    pub fn multiaddr(&self) -> &Multiaddr {
        &self.address
    }

    /// Over which relay the way leads, if over one.
    pub fn relay(&self) -> Option<PeerId> {
        self.relay
    }

    /// The way over `relay`, which answers here.
    ///
    /// # Errors
    /// [`AddressError::Kind`] if this is a way over a relay already.
    pub fn over(&self, relay: PeerId) -> Result<Self, AddressError> {
        let address = self.address.clone().with(Protocol::P2p(relay));
        Self::new(address.with(Protocol::P2pCircuit))
    }

    /// Who must answer there.
    ///
    /// # Errors
    /// [`AddressError::NoPeer`] if the address does not say.
    pub fn peer(&self) -> Result<PeerId, AddressError> {
        self.peer.ok_or_else(|| AddressError::NoPeer(self.address.clone()))
    }

    /// Whether only its own machine can call it, or its relay.
    pub fn is_loopback(&self) -> bool {
        match self.address.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.is_loopback(),
            Some(Protocol::Ip6(ip)) => ip.is_loopback(),
            _ => false,
        }
    }

    /// Whether the whole Internet may reach it, or its relay: a name, or an IP address of no private or local range.
    pub fn is_public(&self) -> bool {
        match self.address.iter().next() {
            Some(Protocol::Ip4(ip)) => is_public_v4(ip),
            Some(Protocol::Ip6(ip)) => is_public_v6(ip),
            _ => true,
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
    !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let local = ip.is_unique_local() || ip.is_unicast_link_local();
    !(ip.is_loopback() || ip.is_unspecified() || local || ip.to_ipv4_mapped().is_some_and(|ip| !is_public_v4(ip)))
}

impl TryFrom<String> for SwarmAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<SwarmAddress> for String {
    fn from(address: SwarmAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for SwarmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.peer.map_or(Ok(()), |peer| write!(f, "/p2p/{peer}"))
    }
}

impl fmt::Debug for SwarmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7";

    #[test]
    fn what_the_key_does_not_protect_is_a_configuration_error() {
        for text in [
            "/ip4/127.0.0.1/udp/4001/quic-v1",
            "/ip4/127.0.0.1/udp/4001/quic",
            "/ip4/127.0.0.1/udp/4001/quic-v1/webtransport",
            "/ip4/127.0.0.1/udp/4001/webrtc-direct",
            "/ip4/127.0.0.1/udp/4001",
            "/ip4/127.0.0.1/udp/4001/quic-v1/p2p/12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7/p2p-circuit",
        ] {
            let error = SwarmAddress::parse(text).unwrap_err();
            assert!(
                matches!(error, AddressError::Unprotected(_)) && error.to_string().contains("use /tcp"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn addresses_of_the_originals_readme_are_read() {
        let text = "/ip4/104.155.27.210/tcp/4001/p2p/QmZ9JTRZdiARHzW1x28M51rareFNHtJ8xNohyT8Ewr7sQx";
        let address = SwarmAddress::parse(text).unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.multiaddr().to_string(), "/ip4/104.155.27.210/tcp/4001");
        assert!(address.peer().is_ok() && address.is_public());
    }

    const RELAY: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

    #[test]
    fn ways_over_a_relay_are_read() {
        let text = format!("/ip4/9.9.9.9/tcp/4001/p2p/{RELAY}/p2p-circuit/p2p/{PEER}");
        let address = SwarmAddress::parse(&text).unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.peer().unwrap().to_string(), PEER);
        assert_eq!(address.relay().unwrap().to_string(), RELAY);
        assert!(address.is_public() && !address.is_loopback());
        let nobody = SwarmAddress::parse("/ip4/9.9.9.9/tcp/4001").unwrap();
        let relayed = nobody.over(RELAY.parse().unwrap()).unwrap();
        assert_eq!(relayed.multiaddr(), address.multiaddr());
        assert!(relayed.peer().is_err() && nobody.relay().is_none());
        assert!(relayed.over(PEER.parse().unwrap()).is_err());
    }

    #[test]
    fn everything_else_is_refused_with_an_example() {
        let twice = format!("/ip4/9.9.9.9/tcp/1/p2p/{RELAY}/p2p-circuit/p2p/{PEER}/p2p-circuit");
        let to_itself = format!("/ip4/9.9.9.9/tcp/1/p2p/{RELAY}/p2p-circuit/p2p/{RELAY}");
        let no_tcp = format!("/ip4/9.9.9.9/p2p/{RELAY}/p2p-circuit/p2p/{PEER}");
        let nowhere = format!("/p2p/{RELAY}/p2p-circuit/p2p/{PEER}");
        let no_relay = format!("/ip4/9.9.9.9/tcp/1/p2p-circuit/p2p/{PEER}");
        for text in [
            &twice,
            &to_itself,
            &no_tcp,
            &nowhere,
            &no_relay,
            "",
            "127.0.0.1:4001",
            "/ip4/127.0.0.1",
            "/tcp/4001",
            "/ip4/127.0.0.1/tcp/4001/ws",
            "/unix/tmp",
        ] {
            let error = SwarmAddress::parse(text).unwrap_err().to_string();
            assert!(error.contains("/ip4/192.0.2.7/tcp/4001"), "{text}: {error}");
        }
        let nobody = SwarmAddress::parse("/dns4/agent.example/tcp/4001").unwrap();
        assert!(nobody.peer().unwrap_err().to_string().contains("/p2p/"));
    }

    #[test]
    fn private_and_local_addresses_are_told_from_public_ones() {
        for (text, public) in [
            ("/ip4/127.0.0.1/tcp/1", false),
            ("/ip4/10.1.2.3/tcp/1", false),
            ("/ip4/100.64.0.1/tcp/1", false),
            ("/ip4/169.254.0.1/tcp/1", false),
            ("/ip4/0.0.0.0/tcp/1", false),
            ("/ip4/9.9.9.9/tcp/1", true),
            ("/ip6/::1/tcp/1", false),
            ("/ip6/fd00::1/tcp/1", false),
            ("/ip6/::ffff:192.168.0.1/tcp/1", false),
            ("/ip6/2620:fe::fe/tcp/1", true),
            ("/dns4/agent.example/tcp/1", true),
        ] {
            assert_eq!(SwarmAddress::parse(text).unwrap().is_public(), public, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "(/(ip4|ip6|tcp|udp|dns4|p2p|quic-v1|p2p-circuit)(/[a-zA-Z0-9.:]{0,12})?){0,5}|\\PC{0,60}") {
            if let Ok(address) = SwarmAddress::parse(&text) {
                prop_assert_eq!(SwarmAddress::parse(&address.to_string()).unwrap(), address);
            }
        }

        #[test]
        fn any_bytes_are_an_address_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(address) = Multiaddr::try_from(bytes) {
                let _ = SwarmAddress::new(address);
            }
        }

        /// Whatever parts it has, in any order: what is read is what is shown, and only TCP, with at most one relay.
        #[test]
        fn any_parts_are_an_address_or_refused(parts in prop::collection::vec(0_usize..8, 0..7)) {
            let relay = format!("/p2p/{RELAY}");
            let peer = format!("/p2p/{PEER}");
            let words = ["/ip4/9.9.9.9", "/dns4/a.example", "/tcp/4001", "/udp/4001", "/quic-v1", &relay, &peer, "/p2p-circuit"];
            let text: String = parts.iter().map(|part| words[*part]).collect();
            if let Ok(address) = SwarmAddress::parse(&text) {
                prop_assert_eq!(address.to_string(), text);
                prop_assert!(!parts.contains(&3) && !parts.contains(&4) && parts[1] == 2);
                prop_assert_eq!(address.relay().is_some(), parts.contains(&7));
            }
        }

        #[test]
        fn who_must_answer_is_kept(port in any::<u16>()) {
            let text = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{PEER}");
            prop_assert_eq!(SwarmAddress::parse(&text).unwrap().peer().unwrap().to_string(), PEER);
        }
    }
}
