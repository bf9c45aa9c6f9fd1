//! Former validators keep their connections for a while. Pure.
//!
//! Who left, was removed or has another key now must still learn of it: the block that says so may have been decided without
//! it, and once the others have hung up it would never hear of that block.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::peers::Peers;

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
        // Who comes back at the same address is there already; at another, or under another form, the old one goes first.
        let add: Vec<Multiaddr> = add
            .into_iter()
            .filter(|address| self.0.remove(address).is_none())
            .collect();
        let back = |address: &Multiaddr| add.iter().any(|new| peer(new).is_some() && peer(new) == peer(address));
        let mut gone: Vec<Multiaddr> = self.0.keys().filter(|address| back(address)).cloned().collect();
        for address in &gone {
            self.0.remove(address);
        }
        for address in remove {
            let stays = peer(&address).is_some_and(|peer| next.validator(&peer).is_none()) && !back(&address);
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

fn peer(address: &Multiaddr) -> Option<Vec<u8>> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer.to_bytes()),
        _ => None,
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
