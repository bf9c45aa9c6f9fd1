//! How many records each peer may bring. To check one costs a signature's worth of time, whoever made it up.

use std::collections::HashMap;

use libp2p::PeerId;

use crate::model::UnixMillis;

/// How many records a peer may bring at once. A neighbour with more to tell tells the rest when both compare again.
const BURST: u64 = 1024;
/// How many it may bring a second after that.
const PER_SECOND: u64 = 100;
/// Of how many peers it is remembered what they brought; connections are fewer.
const MOST_PEERS: usize = 4096;

const THOUSAND: u64 = 1000;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In thousandths of a record.
    left: u64,
    at: UnixMillis,
}

impl Bucket {
    fn refill(&mut self, now: UnixMillis) {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.left = passed
            .saturating_mul(PER_SECOND)
            .saturating_add(self.left)
            .min(BURST * THOUSAND);
        self.at = now;
    }

    fn is_full(&self) -> bool {
        self.left == BURST * THOUSAND
    }
}

/// A token bucket for each peer.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<PeerId, Bucket>);

impl Rates {
    /// Whether `peer` may bring one more record now.
    pub fn take(&mut self, peer: PeerId, now: UnixMillis) -> bool {
        if self.0.len() >= MOST_PEERS && !self.0.contains_key(&peer) {
            self.forget(now);
        }
        let full = Bucket {
            left: BURST * THOUSAND,
            at: now,
        };
        let bucket = self.0.entry(peer).or_insert(full);
        bucket.refill(now);
        let may = bucket.left >= THOUSAND;
        if may {
            bucket.left -= THOUSAND;
        }
        may
    }

    /// Forgets those who have not brought anything for a while, and if there are none, the one that brought least.
    fn forget(&mut self, now: UnixMillis) {
        self.0.retain(|_, bucket| {
            bucket.refill(now);
            !bucket.is_full()
        });
        if self.0.len() >= MOST_PEERS {
            let least = self.0.iter().max_by_key(|(_, bucket)| bucket.left);
            if let Some(peer) = least.map(|(peer, _)| *peer) {
                self.0.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    #[test]
    fn a_flood_is_cut_to_the_rate_and_others_are_not_held_up_by_it() {
        let (mut rates, flooder, other) = (Rates::default(), PeerId::random(), PeerId::random());
        let mut taken = 0;
        for step in 0..10_000_u64 {
            let now = NOW.plus(Duration::from_millis(step));
            taken += u64::from(rates.take(flooder, now));
            if step % 1000 == 0 {
                assert!(rates.take(other, now));
            }
        }
        assert_eq!(taken, BURST + 9 * PER_SECOND + 99);
        let later = NOW.plus(Duration::from_secs(3600));
        assert_eq!(
            (0..2 * BURST).filter(|_| rates.take(flooder, later)).count() as u64,
            BURST
        );
    }

    #[test]
    fn peers_without_number_take_no_room_without_bound_and_a_flooder_is_not_forgotten_for_them() {
        let (mut rates, flooder) = (Rates::default(), PeerId::random());
        while rates.take(flooder, NOW) {}
        for _ in 0..2 * MOST_PEERS {
            assert!(rates.take(PeerId::random(), NOW));
            assert!(rates.0.len() <= MOST_PEERS);
        }
        assert!(!rates.take(flooder, NOW));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out_for_long() {
        let (mut rates, peer) = (Rates::default(), PeerId::random());
        while rates.take(peer, NOW) {}
        let back = NOW.minus(Duration::from_secs(86_400));
        assert!(!rates.take(peer, back));
        assert!(rates.take(peer, back.plus(Duration::from_millis(10))));
    }
}
