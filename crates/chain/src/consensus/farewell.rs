//! Former validators keep their connections for a while. Pure.
//!
//! Who left, was removed or has another key now must still learn of it: the block that says so may have been decided without
//! it, and once the others have hung up it would never hear of that block.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::peers::{Peers, peer_of};

/// How long they stay: several status updates and a reconnection.
const STAY: Duration = Duration::from_secs(30);

/// Addresses that are still among the engine's peers although they belong to no validator any more.
#[derive(Debug, Default)]
pub struct Farewell(HashMap<Multiaddr, Instant>);

impl Farewell {
    /// What to take from the engine's peers at once and what to add, when `remove` go and `add` come. The addresses of those
    /// who are no validators under `next` stay for now.
    pub fn part(
        &mut self,
        now: Instant,
        next: &Peers,
        add: Vec<Multiaddr>,
        remove: Vec<Multiaddr>,
    ) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
        let returning: HashSet<PeerId> = add.iter().filter_map(peer_of).collect();
        let is_back = |address: &Multiaddr| peer_of(address).is_some_and(|peer| returning.contains(&peer));
        // Who comes back at the same address is there already; otherwise what was known of it goes first.
        let held: Vec<Multiaddr> = self.0.keys().filter(|address| is_back(address)).cloned().collect();
        let elsewhere: HashSet<PeerId> = held
            .iter()
            .filter(|address| !add.contains(address))
            .filter_map(peer_of)
            .collect();
        let moved = |address: &Multiaddr| peer_of(address).is_some_and(|peer| elsewhere.contains(&peer));
        let add = add
            .into_iter()
            .filter(|address| moved(address) || !held.contains(address))
            .collect();
        let mut gone: Vec<Multiaddr> = held.iter().filter(|address| moved(address)).cloned().collect();
        self.0.retain(|address, _| !held.contains(address));
        for address in remove {
            let stays = peer_of(&address).is_some_and(|peer| !next.is_validator(&peer)) && !is_back(&address);
            if stays {
                self.0.insert(address, now + STAY);
            } else {
                gone.push(address);
            }
        }
        (add, gone)
    }

    /// Those whose time is over.
    pub fn over(&mut self, now: Instant) -> Vec<Multiaddr> {
        let over: Vec<Multiaddr> = self
            .0
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(address, _)| address.clone())
            .collect();
        for address in &over {
            self.0.remove(address);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::identity::Keypair;

    use super::*;

    fn address(port: u16, key: &Keypair) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", key.public().to_peer_id())
            .parse()
            .unwrap()
    }

    #[test]
    fn who_leaves_stays_connected_for_a_while() {
        let (start, key) = (Instant::now(), Keypair::generate_ed25519());
        let mut farewell = Farewell::default();
        let parted = farewell.part(start, &Peers::default(), vec![], vec![address(1, &key)]);
        assert_eq!(parted, (vec![], vec![]));
        assert!(farewell.over(start + STAY / 2).is_empty());
        assert_eq!(farewell.over(start + STAY), [address(1, &key)]);
        assert!(farewell.over(start + 2 * STAY).is_empty());
    }

    #[test]
    fn who_moves_is_called_at_the_new_address_only() {
        let (start, key) = (Instant::now(), Keypair::generate_ed25519());
        let parted = Farewell::default().part(start, &Peers::default(), vec![address(2, &key)], vec![address(1, &key)]);
        assert_eq!(parted, (vec![address(2, &key)], vec![address(1, &key)]));
    }

    #[test]
    fn who_comes_back_in_time_has_never_been_away() {
        let (start, key) = (Instant::now(), Keypair::generate_ed25519());
        for (port, expected) in [
            (1, (vec![], vec![])),
            (2, (vec![address(2, &key)], vec![address(1, &key)])),
        ] {
            let mut farewell = Farewell::default();
            farewell.part(start, &Peers::default(), vec![], vec![address(1, &key)]);
            let parted = farewell.part(start, &Peers::default(), vec![address(port, &key)], vec![]);
            assert_eq!(parted, expected);
            assert!(farewell.over(start + STAY).is_empty());
        }
    }
}
