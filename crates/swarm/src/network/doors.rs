//! How many callers from one address, or over one relay, may be half-way in.
//!
//! Who calls and says nothing holds a place until the handshake's time is over, without having the swarm's key. Places are
//! limited in all; this limit leaves some for those who call from elsewhere.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Too many callers from there are half-way in.
#[derive(Debug, thiserror::Error)]
#[error("{most} callers from {address} are being let in already")]
struct TooMany {
    address: Origin,
    most: usize,
}

/// Where a caller comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Address(IpAddr),
    /// The relay says who calls, which is no more than its word.
    Relay(Multiaddr),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Relay(relay) => write!(f, "{relay}"),
        }
    }
}

/// Counts callers that are half-way in, by address.
pub(crate) struct Doors {
    most: usize,
    waiting: HashMap<ConnectionId, Origin>,
}

impl Doors {
    /// At most this many from one address.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            waiting: HashMap::new(),
        }
    }
}

fn caller(local: &Multiaddr, remote: &Multiaddr) -> Option<Origin> {
    if local.iter().any(|part| part == Protocol::P2pCircuit) {
        return Some(Origin::Relay(local.clone()));
    }
    remote.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(Origin::Address(ip.into())),
        Protocol::Ip6(ip) => Some(Origin::Address(ip.into())),
        _ => None,
    })
}

impl NetworkBehaviour for Doors {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(address) = caller(local, remote) else {
            return Ok(());
        };
        let most = self.most;
        if self.waiting.values().filter(|other| **other == address).count() >= most {
            return Err(ConnectionDenied::new(TooMany { address, most }));
        }
        self.waiting.insert(connection, address);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.waiting.remove(&connection);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.waiting.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_relay_can_not_take_every_place() {
        let mut doors = Doors::new(2);
        let relay =
            |number: u8| -> Multiaddr { format!("/ip4/192.0.2.{number}/tcp/4001/p2p-circuit").parse().unwrap() };
        let mut knock = |number: usize, over: Multiaddr| {
            let caller = Multiaddr::empty().with(Protocol::P2p(PeerId::random()));
            doors.handle_pending_inbound_connection(ConnectionId::new_unchecked(number), &over, &caller)
        };
        knock(0, relay(7)).unwrap();
        knock(1, relay(7)).unwrap();
        assert!(knock(2, relay(7)).unwrap_err().downcast::<TooMany>().is_ok());
        knock(3, relay(8)).unwrap();
    }

    #[test]
    fn one_address_can_not_take_every_place() {
        let mut doors = Doors::new(3);
        let listener: Multiaddr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let mut knock = |number: usize, from: &str| {
            let caller = from.parse().unwrap();
            doors.handle_pending_inbound_connection(ConnectionId::new_unchecked(number), &listener, &caller)
        };
        for number in 0..3 {
            knock(number, "/ip4/192.0.2.7/tcp/1000").unwrap();
        }
        let refused = knock(3, "/ip4/192.0.2.7/tcp/1001").unwrap_err();
        assert!(refused.downcast::<TooMany>().is_ok());
        knock(4, "/ip4/192.0.2.8/tcp/1000").unwrap();
        doors
            .handle_established_inbound_connection(
                ConnectionId::new_unchecked(0),
                PeerId::random(),
                &listener,
                &listener,
            )
            .unwrap();
        let again: Multiaddr = "/ip4/192.0.2.7/tcp/1002".parse().unwrap();
        doors
            .handle_pending_inbound_connection(ConnectionId::new_unchecked(5), &listener, &again)
            .unwrap();
    }
}
