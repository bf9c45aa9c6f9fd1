//! With whom a domain keeps a connection, and whom it tells what it hears.
//!
//! In a small swarm everybody is connected with everybody: presence is seen directly, and an author tells all others itself.
//! Beyond [`FULL_MESH`] domains that would cost each of them as many connections as there are domains. Then a domain keeps a few:
//! * those next to it on the *ring* of names, on both sides: whatever else is lost, records go round the ring, and its neighbours
//!   watch it;
//! * some at random, over which a record reaches all in a number of hops that grows with the logarithm of the swarm.
//!
//! In a swarm of any size only these few are told what was heard from others, so that a record costs each member a fixed number
//! of messages. Names are hashes or public keys, hence spread evenly; who makes up many names gets near to one domain, but
//! does not fill its random places faster than its share of the swarm.

use std::collections::BTreeSet;

use libp2p::PeerId;
use rand::Rng;

/// Up to this many other domains are all connected with each other.
pub const FULL_MESH: usize = 64;
/// Neighbours on each side of the ring.
const RING: usize = 2;
/// Neighbours at random.
const RANDOM: usize = 4;

/// The choice of a domain.
#[derive(Debug, Clone)]
pub struct Neighbours {
    ring: BTreeSet<PeerId>,
    random: BTreeSet<PeerId>,
    full_mesh: bool,
}

/// Of a domain that knows nobody yet: it wants to know everybody.
impl Default for Neighbours {
    fn default() -> Self {
        Self {
            ring: BTreeSet::new(),
            random: BTreeSet::new(),
            full_mesh: true,
        }
    }
}

impl Neighbours {
    /// Chooses anew for the domain `own`. `there`: the others that are not known to be offline, in ascending order. Who was chosen at
    /// random stays as long as it is there.
    pub fn review(&mut self, own: &PeerId, there: &[PeerId], random: &mut impl Rng) {
        self.full_mesh = there.len() <= FULL_MESH;
        self.ring.clear();
        if there.is_empty() {
            return self.random.clear();
        }
        let after = there.partition_point(|name| name <= own);
        for step in 0..RING.min(there.len()) {
            self.ring.insert(there[(after + step) % there.len()]);
            self.ring.insert(there[(after + there.len() - 1 - step) % there.len()]);
        }
        let ring = &self.ring;
        self.random
            .retain(|name| !ring.contains(name) && there.binary_search(name).is_ok());
        let places = RANDOM.min(there.len() - self.ring.len());
        while self.random.len() < places {
            let name = there[random.random_range(0..there.len())];
            if !self.ring.contains(&name) {
                self.random.insert(name);
            }
        }
    }

    /// Who is told what was heard: at most eight.
    pub fn told(&self) -> impl Iterator<Item = &PeerId> {
        self.ring.iter().chain(&self.random)
    }

    /// Whether everybody is connected with everybody.
    pub fn is_full_mesh(&self) -> bool {
        self.full_mesh
    }

    /// Whether to keep a connection with this domain.
    pub fn wants(&self, name: &PeerId) -> bool {
        self.full_mesh || self.ring.contains(name) || self.random.contains(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn names(count: usize) -> Vec<PeerId> {
        let names: BTreeSet<_> = (0..count).map(|_| PeerId::random()).collect();
        names.into_iter().collect()
    }

    fn others(names: &[PeerId], own: &PeerId) -> Vec<PeerId> {
        names.iter().filter(|name| *name != own).copied().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        /// From every domain each other one is reached over those that are told, however many there are.
        #[test]
        fn everybody_is_reached_over_few(count in 1_usize..200, seed in any::<u64>()) {
            let (names, mut random) = (names(count), StdRng::seed_from_u64(seed));
            let mut edges = BTreeMap::new();
            for own in &names {
                let mut neighbours = Neighbours::default();
                let others = others(&names, own);
                neighbours.review(own, &others, &mut random);
                let told: Vec<_> = neighbours.told().copied().collect();
                prop_assert!(told.len() == others.len().min(8) && !told.contains(own));
                prop_assert_eq!(neighbours.is_full_mesh(), others.len() <= FULL_MESH);
                prop_assert_eq!(others.iter().filter(|name| neighbours.wants(name)).count(),
                    if others.len() <= FULL_MESH { others.len() } else { 8 });
                edges.insert(*own, told);
            }
            let (mut reached, mut next) = (BTreeSet::from([names[0]]), vec![names[0]]);
            while let Some(name) = next.pop() {
                next.extend(edges[&name].iter().filter(|name| reached.insert(**name)));
            }
            prop_assert_eq!(reached.len(), count);
        }

        /// Connections are not given up without need, and those who went are replaced.
        #[test]
        fn who_is_there_stays_chosen(count in 80_usize..150, seed in any::<u64>()) {
            let (names, mut random) = (names(count), StdRng::seed_from_u64(seed));
            let own = names[count / 2];
            let mut there = others(&names, &own);
            let mut neighbours = Neighbours::default();
            neighbours.review(&own, &there, &mut random);
            let before: BTreeSet<_> = neighbours.told().copied().collect();
            neighbours.review(&own, &there, &mut random);
            prop_assert_eq!(&before, &neighbours.told().copied().collect());
            let went = *before.first().unwrap();
            there.retain(|name| *name != went);
            neighbours.review(&own, &there, &mut random);
            let after: BTreeSet<_> = neighbours.told().copied().collect();
            prop_assert_eq!(after.len(), 8);
            prop_assert!(before.difference(&after).count() <= 2, "{:?} {:?}", before, after);
        }
    }
}
