//! libp2p's DCUtR within bounds: it never forgets an attempt, and whoever has the swarm's key can have it make some with each circuit.

use std::task::{Context, Poll};
use std::time::Duration;

use either::Either;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};
use libp2p_dcutr as dcutr;
use tokio::time::Instant;

/// How many circuits in a row may become direct connections.
const BURST: u32 = 256;
/// And one more in this time.
const ONE_MORE: Duration = Duration::from_secs(5);
/// And how many until the domain is started again: about ten megabytes of attempts. Later ones stay circuits.
const MOST: u32 = 65_536;

/// How many circuits may still be tried.
#[derive(Debug)]
struct Allowance {
    /// In a row.
    left: u32,
    filled_at: Instant,
    /// Ever.
    tried: u32,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            filled_at: now,
            tried: 0,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.filled_at).as_secs() / ONE_MORE.as_secs();
        if more > 0 {
            self.left = u32::try_from(more)
                .unwrap_or(u32::MAX)
                .saturating_add(self.left)
                .min(BURST);
            self.filled_at = now;
        }
        if self.left == 0 || self.tried >= MOST {
            return false;
        }
        (self.left, self.tried) = (self.left - 1, self.tried + 1);
        true
    }
}

/// DCUtR.
pub(crate) struct Upgrades {
    inner: dcutr::Behaviour,
    allowance: Allowance,
}

impl Upgrades {
    /// Of the domain with this name.
    pub fn new(name: PeerId) -> Self {
        Self {
            inner: dcutr::Behaviour::new(name),
            allowance: Allowance::new(Instant::now()),
        }
    }

    /// A circuit that stays one.
    fn stays(&mut self, address: &Multiaddr) -> bool {
        address.iter().any(|part| part == Protocol::P2pCircuit) && !self.allowance.take(Instant::now())
    }
}

impl NetworkBehaviour for Upgrades {
    type ConnectionHandler = <dcutr::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = dcutr::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.stays(local) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner
            .handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.stays(address) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner
            .handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_circuits_makes_few_attempts_and_never_more_than_all() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let taken = |allowance: &mut Allowance, seconds: u64, calls: usize| {
            let now = start + Duration::from_secs(seconds);
            (0..calls).filter(|_| allowance.take(now)).count()
        };
        assert_eq!(taken(&mut allowance, 0, 10_000), 256);
        assert_eq!(taken(&mut allowance, 60, 10_000), 12);
        assert_eq!(
            taken(&mut allowance, 86_400, 10_000),
            256,
            "a day's rest gives no more than the burst"
        );
        let rest: usize = (1..1000).map(|day| taken(&mut allowance, day * 86_400, 10_000)).sum();
        assert_eq!(256 + 12 + 256 + rest, 65_536);
    }
}
