//! What is held for others in the distributed hash table, and what has to go when there is no more room.
//!
//! A flood of records that nobody knows pushes out its own kind: those of domains that are there stay, and of the rest those go first
//! that came from whoever brought most.

use std::collections::HashMap;

use libp2p::PeerId;

/// Somebody's record, or somebody's word that it has a blob.
#[derive(Debug, Clone)]
struct Held {
    about: PeerId,
    source: PeerId,
    /// Grows with each one that comes.
    number: u64,
}

/// What is held, by its key in the hash table.
#[derive(Debug)]
pub(super) struct Holding {
    most: usize,
    held: HashMap<Vec<u8>, Held>,
    count: u64,
}

/// Whether there is room.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It can be held.
    Yes,
    /// It can be held if this one goes.
    InPlaceOf(Vec<u8>),
    /// Everything that is held is of more use.
    No,
}

impl Holding {
    /// Holds at most this many.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            held: HashMap::new(),
            count: 0,
        }
    }

    /// Somebody, `source`, brought what is to be held under `key` and is about `about`. `is_there`: whether a domain is there and
    /// answers. It counts as held if there is room.
    pub fn hold(&mut self, key: &[u8], about: PeerId, source: PeerId, is_there: impl Fn(&PeerId) -> bool) -> Room {
        let mut room = Room::Yes;
        if self.held.len() >= self.most && !self.held.contains_key(key) {
            let Some(goes) = self.least_useful(&source, &is_there) else {
                return Room::No;
            };
            self.held.remove(&goes);
            room = Room::InPlaceOf(goes);
        }
        self.count += 1;
        let number = self.count;
        self.held.insert(key.to_vec(), Held { about, source, number });
        room
    }

    /// The oldest of those from the source with most, not counting those of domains that are there.
    fn least_useful(&self, newcomer: &PeerId, is_there: impl Fn(&PeerId) -> bool) -> Option<Vec<u8>> {
        let mut of_source: HashMap<PeerId, usize> = HashMap::from([(*newcomer, 1)]);
        let strangers: Vec<_> = self.held.iter().filter(|(_, held)| !is_there(&held.about)).collect();
        for (_, held) in &strangers {
            *of_source.entry(held.source).or_default() += 1;
        }
        let goes = strangers.iter().max_by_key(|(_, held)| {
            let brought = of_source.get(&held.source).copied().unwrap_or_default();
            (brought, std::cmp::Reverse(held.number))
        });
        goes.map(|(key, _)| (*key).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 50;

    #[test]
    fn a_flood_takes_no_room_from_domains_that_are_there_and_little_from_others() {
        let mut holding = Holding::new(MOST);
        let domains: Vec<_> = (0..10).map(|_| PeerId::random()).collect();
        let away: Vec<_> = (0..10).map(|_| PeerId::random()).collect();
        let is_there = |name: &PeerId| domains.contains(name);
        for name in domains.iter().chain(&away) {
            assert_eq!(holding.hold(&name.to_bytes(), *name, *name, is_there), Room::Yes);
        }
        let flooder = PeerId::random();
        for _ in 0..1000 {
            let made_up = PeerId::random();
            assert_ne!(holding.hold(&made_up.to_bytes(), made_up, flooder, is_there), Room::No);
            assert!(holding.held.len() <= MOST);
        }
        for name in domains.iter().chain(&away) {
            assert!(holding.held.contains_key(&name.to_bytes()));
        }
    }

    #[test]
    fn a_flood_of_peers_pushes_out_the_oldest_of_its_own_kind() {
        let mut holding = Holding::new(MOST);
        let domains: Vec<_> = (0..10).map(|_| PeerId::random()).collect();
        let is_there = |name: &PeerId| domains.contains(name);
        for name in &domains {
            holding.hold(&name.to_bytes(), *name, *name, is_there);
        }
        let flood: Vec<_> = (0..1000).map(|_| PeerId::random()).collect();
        for name in &flood {
            holding.hold(&name.to_bytes(), *name, *name, is_there);
        }
        for name in domains.iter().chain(&flood[1000 - (MOST - 10)..]) {
            assert!(holding.held.contains_key(&name.to_bytes()));
        }
    }

    #[test]
    fn what_is_brought_again_takes_no_more_room_and_nothing_goes_for_it() {
        let mut holding = Holding::new(1);
        let name = PeerId::random();
        for _ in 0..3 {
            assert_eq!(holding.hold(b"key", name, name, |_| true), Room::Yes);
        }
        assert_eq!(holding.hold(b"other", name, name, |_| true), Room::No);
        assert_eq!(
            holding.hold(b"other", name, name, |_| false),
            Room::InPlaceOf(b"key".to_vec())
        );
    }
}
