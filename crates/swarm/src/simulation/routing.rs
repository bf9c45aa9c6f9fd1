//! Routing tables of the distributed hash table, as libp2p fills them: of each distance (a power of two) up to [`K_VALUE`] peers.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use libp2p::PeerId;
use libp2p::kad::{K_VALUE, KBucketKey};
use rand::Rng;
use rand::seq::index;

/// How many peers a bucket holds, and an answer.
pub(super) const K: NonZeroUsize = K_VALUE;

/// All peers by the hash of their name, and the tables of those that were asked for.
pub(super) struct Routing {
    keys: Vec<KBucketKey<PeerId>>,
    tables: HashMap<usize, Vec<usize>>,
}

fn bit(bytes: &[u8], index: usize) -> bool {
    (bytes[index / 8] >> (7 - index % 8)) & 1 == 1
}

impl Routing {
    pub fn new(names: impl IntoIterator<Item = PeerId>) -> Self {
        let mut keys: Vec<_> = names.into_iter().map(KBucketKey::from).collect();
        keys.sort_unstable_by(|a, b| a.hashed_bytes().cmp(b.hashed_bytes()));
        Self {
            keys,
            tables: HashMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The [`K`] peers nearest to `target` of all that there are.
    pub fn nearest_of_all(&self, target: &KBucketKey<PeerId>) -> Vec<usize> {
        nearest(&self.keys, (0..self.len()).collect(), target)
    }

    /// What `peer` answers when it is asked for those nearest to `target`: itself and what is in its table.
    pub fn answer(&mut self, peer: usize, target: &KBucketKey<PeerId>, random: &mut impl Rng) -> Vec<usize> {
        let keys = &self.keys;
        let table = self.tables.entry(peer).or_insert_with(|| table(keys, peer, random));
        nearest(keys, table.clone(), target)
    }

    pub fn distance(&self, peer: usize, target: &KBucketKey<PeerId>) -> libp2p::kad::KBucketDistance {
        self.keys[peer].distance(target)
    }
}

fn nearest(keys: &[KBucketKey<PeerId>], mut peers: Vec<usize>, target: &KBucketKey<PeerId>) -> Vec<usize> {
    peers.sort_by_cached_key(|peer| keys[*peer].distance(target));
    peers.truncate(K.get());
    peers
}

/// For each distance, those peers that a domain met by chance: all of a bucket have the same chance.
fn table(keys: &[KBucketKey<PeerId>], own: usize, random: &mut impl Rng) -> Vec<usize> {
    let own_bytes = keys[own].hashed_bytes();
    // Those that begin as the own one does, up to some bit, lie side by side.
    let (mut from, mut to, mut table) = (0, keys.len(), Vec::new());
    for index in 0..own_bytes.len() * 8 {
        if to - from <= 1 {
            break;
        }
        let ones = from + keys[from..to].partition_point(|key| !bit(key.hashed_bytes(), index));
        let bucket = match bit(own_bytes, index) {
            true => std::mem::replace(&mut from, ones)..ones,
            false => ones..std::mem::replace(&mut to, ones),
        };
        let count = bucket.len().min(K.get());
        table.extend(
            index::sample(random, bucket.len(), count)
                .iter()
                .map(|it| bucket.start + it),
        );
    }
    table
}
