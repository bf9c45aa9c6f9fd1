//! How many are asked until a record is found in the distributed hash table.

use std::collections::{BTreeMap, HashSet};

use libp2p::PeerId;
use libp2p::kad::KBucketKey;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use zeroize::Zeroizing;

use super::routing::Routing;
use super::{Conditions, Figures};
use crate::DomainKey;

/// How many are asked at a time (libp2p's `parallelism`, the Kademlia paper's α).
const AT_A_TIME: usize = 3;

/// What lookups cost.
#[derive(Debug, Clone, PartialEq)]
pub struct LookUps {
    /// How many domains there are.
    pub domains: usize,
    /// How many lookups were made.
    pub count: usize,
    /// From the asker to a holder of the record, each hop a question: median.
    pub hops_p50: u64,
    /// 99th percentile.
    pub hops_p99: u64,
    /// How many peers were asked until one had the record: median.
    pub asked_p50: u64,
    /// 99th percentile.
    pub asked_p99: u64,
    /// Lookups that ended without finding a holder.
    pub failed: usize,
}

/// Looks up `count` records of random domains, each from another random domain. Holders of a record are the twenty peers nearest
/// to its name, as libp2p chooses them.
pub fn look_up(domains: usize, count: usize, conditions: Conditions) -> LookUps {
    let mut random = StdRng::seed_from_u64(conditions.seed);
    let name = |random: &mut StdRng| DomainKey::from_secret(Zeroizing::new(random.random())).peer_id();
    let names: Vec<_> = (0..domains).map(|_| name(&mut random)).collect();
    let mut routing = Routing::new(names);
    let (mut hops, mut asked, mut failed) = (Figures::default(), Figures::default(), 0);
    for _ in 0..count {
        let target = KBucketKey::from(name(&mut random));
        let from = random.random_range(0..routing.len());
        match one(&mut routing, from, &target, conditions.loss, &mut random) {
            Some((its_hops, its_asked)) => {
                hops.saw(its_hops);
                asked.saw(its_asked);
            }
            None => failed += 1,
        }
    }
    LookUps {
        domains,
        count,
        hops_p50: hops.percentile(50),
        hops_p99: hops.percentile(99),
        asked_p50: asked.percentile(50),
        asked_p99: asked.percentile(99),
        failed,
    }
}

/// Asks the nearest that are known, they name nearer ones, and so on: hops and number of the asked until a holder was among them.
fn one(
    routing: &mut Routing,
    from: usize,
    target: &KBucketKey<PeerId>,
    loss: f64,
    random: &mut StdRng,
) -> Option<(u64, u64)> {
    let holders: HashSet<_> = routing.nearest_of_all(target).into_iter().collect();
    if holders.contains(&from) {
        return Some((0, 0));
    }
    // By distance, which no two share: the peer, and how many hops it is away.
    let mut known = BTreeMap::new();
    for peer in routing.answer(from, target, random) {
        known.insert(routing.distance(peer, target), (peer, 1));
    }
    let mut asked = HashSet::from([from]);
    loop {
        let next = known.values().filter(|(peer, _)| !asked.contains(peer));
        let next: Vec<_> = next.take(AT_A_TIME).copied().collect();
        if next.is_empty() {
            return None;
        }
        for (peer, hops) in next {
            asked.insert(peer);
            if random.random_bool(loss) {
                continue;
            }
            if holders.contains(&peer) {
                return Some((hops, asked.len() as u64 - 1));
            }
            for nearer in routing.answer(peer, target, random) {
                let distance = routing.distance(nearer, target);
                known.entry(distance).or_insert((nearer, hops + 1));
            }
        }
    }
}
