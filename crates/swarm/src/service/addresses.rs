//! Addresses: where others can call this domain, and where it can call them.

use std::collections::HashMap;

use futures::StreamExt;
use libp2p::kad::store::RecordStore;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId};

use super::look::Bootstrap;
use super::run::Run;
use super::{StartError, Status};
use crate::model::{MOST_ADDRESSES, SwarmAddress};
use crate::network::Behaviour;

/// How many addresses of a peer are shown and written down.
const MOST_PLACES: usize = 8;

impl Run {
    pub(super) fn set_external(&mut self, addresses: Vec<SwarmAddress>) {
        let addresses: Vec<Multiaddr> = addresses.iter().map(|address| address.multiaddr().clone()).collect();
        let configured = |address: &Multiaddr| self.config.external.iter().any(|it| it.multiaddr() == address);
        for address in std::mem::take(&mut self.external) {
            let listens = self.swarm.listeners().any(|listener| *listener == address);
            if !addresses.contains(&address) && !configured(&address) && !listens {
                self.swarm.remove_external_address(&address);
            }
        }
        for address in &addresses {
            self.swarm.add_external_address(address.clone());
        }
        self.external = addresses;
    }

    /// Where the domains can be called, as far as the routing table has it.
    pub(super) fn places(&mut self) -> HashMap<PeerId, Vec<SwarmAddress>> {
        let mut places = HashMap::new();
        for bucket in self.swarm.behaviour_mut().kad.kbuckets() {
            for entry in bucket.iter() {
                let known = entry.node.value.iter();
                let known = known.filter_map(|address| SwarmAddress::new(address.clone()).ok());
                places.insert(*entry.node.key.preimage(), known.take(MOST_PLACES).collect());
            }
        }
        places
    }

    /// Where others can call directly, without the peer id: what was configured, or where it listens.
    fn direct_addresses(&self) -> Vec<SwarmAddress> {
        let configured = self
            .config
            .external
            .iter()
            .map(SwarmAddress::multiaddr)
            .chain(&self.external);
        let without_name = |address: &Multiaddr| SwarmAddress::new(address.clone()).ok();
        let mut addresses: Vec<_> = configured.filter_map(without_name).collect();
        if addresses.is_empty() {
            addresses = self.swarm.listeners().filter_map(without_name).collect();
            addresses.retain(|address| address.relay().is_none());
        }
        addresses
    }

    /// What is published: where others can call, without the peer id, and the ways over relays last. The own machine's loopback counts
    /// only if there is nothing else.
    pub(super) fn own_addresses(&self) -> Vec<SwarmAddress> {
        let mut addresses = self.direct_addresses();
        if addresses.iter().any(|address| !address.is_loopback()) {
            addresses.retain(|address| !address.is_loopback());
        }
        addresses.sort_by_key(|address| (!address.is_public(), address.to_string()));
        addresses.dedup();
        let circuits = self.reservations.addresses();
        addresses.truncate(MOST_ADDRESSES.saturating_sub(circuits.len()));
        addresses.extend(circuits);
        addresses
    }

    pub(super) fn status(&mut self) -> Status {
        let circuits = self.reservations.addresses();
        let with_name = |address: &SwarmAddress| {
            let address = address.multiaddr().clone().with_p2p(self.name).ok()?;
            SwarmAddress::new(address).ok()
        };
        let addresses = self.direct_addresses();
        let addresses = addresses.iter().chain(&circuits).filter_map(with_name).collect();
        Status {
            fingerprint: self.config.key.fingerprint(),
            addresses,
            connected: self.swarm.connected_peers().count(),
            held_records: RecordStore::records(self.swarm.behaviour_mut().kad.store_mut()).count(),
            published: self.publishing.is_put(),
            unreachable: self.bootstrap.iter().filter_map(Bootstrap::trouble).collect(),
            reachability: self.reachability(),
            relays: circuits.iter().filter_map(SwarmAddress::relay).collect(),
            reservations_served: self.served.reservations(),
            circuits_served: self.served.circuits(),
        }
    }
}

/// Listens, and waits until the system has said where.
pub(super) async fn listen(swarm: &mut libp2p::Swarm<Behaviour>, address: &SwarmAddress) -> Result<(), StartError> {
    let failed = |reason: String| StartError::Listen {
        address: address.to_string(),
        reason,
    };
    let listener = swarm
        .listen_on(address.multiaddr().clone())
        .map_err(|error| failed(error.to_string()))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == listener => return Ok(()),
            SwarmEvent::ListenerClosed {
                listener_id,
                reason: Err(error),
                ..
            } if listener_id == listener => {
                return Err(failed(error.to_string()));
            }
            SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                return Err(failed(error.to_string()));
            }
            _ => {}
        }
    }
}
