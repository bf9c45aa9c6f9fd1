//! Own clients' transactions, offered to the other nodes again and again while they wait.
//!
//! A node that was full, away or unlucky when a transaction was passed on does not know it. Without a second offer it would
//! wait for this node's turn to propose, which never comes if this node is no validator.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use alloy::primitives::B256;

/// A transaction that still waits after this time is offered again: long after a sound ledger has taken it.
pub const OFFER_AGAIN: Duration = Duration::from_secs(2);

/// Offers that are repeated in a second: enough for all that is lost, and no second flood where the first one was too much.
pub const MAX_REPEATS: usize = 256;

const SECOND: Duration = Duration::from_secs(1);

/// Which transactions were offered, the longest ago first.
#[derive(Debug, Default)]
pub struct Offers {
    queue: VecDeque<(Instant, B256)>,
    queued: HashSet<B256>,
    repeated: Option<Instant>,
}

impl Offers {
    /// A transaction was offered. Of the last `bound` at least those that still wait are remembered.
    pub fn add(&mut self, hash: B256, now: Instant, bound: usize, waits: impl Fn(&B256) -> bool) {
        if !self.queued.insert(hash) {
            return;
        }
        if self.queue.len() >= bound.saturating_mul(2) {
            self.queue.retain(|(_, hash)| waits(hash));
            self.queued = self.queue.iter().map(|(_, hash)| *hash).chain([hash]).collect();
        }
        self.queue.push_back((now, hash));
    }

    /// Those that it is time to offer again.
    pub fn due(&mut self, now: Instant, waits: impl Fn(&B256) -> bool) -> Vec<B256> {
        if self.repeated.is_some_and(|last| now.duration_since(last) < SECOND) {
            return Vec::new();
        }
        let mut due = Vec::new();
        while due.len() < MAX_REPEATS
            && let Some((offered, hash)) = self.queue.front().copied()
            && now.duration_since(offered) >= OFFER_AGAIN
        {
            self.queue.pop_front();
            if waits(&hash) {
                self.queue.push_back((now, hash));
                due.push(hash);
            } else {
                self.queued.remove(&hash);
            }
        }
        if !due.is_empty() {
            self.repeated = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: usize) -> B256 {
        B256::left_padding_from(&n.to_be_bytes())
    }

    #[test]
    fn what_waits_is_offered_again_until_it_waits_no_longer() {
        let start = Instant::now();
        let mut offers = Offers::default();
        offers.add(hash(1), start, 10, |_| true);
        offers.add(hash(2), start, 10, |_| true);
        assert!(offers.due(start + SECOND, |_| true).is_empty());
        let later = start + OFFER_AGAIN;
        assert_eq!(offers.due(later, |waiting| *waiting == hash(2)), [hash(2)]);
        assert!(offers.due(later + SECOND, |_| true).is_empty(), "not before its time");
        assert_eq!(offers.due(later + OFFER_AGAIN, |_| true), [hash(2)]);
        assert!(offers.due(later + OFFER_AGAIN * 2, |_| false).is_empty());
        assert!(offers.queue.is_empty() && offers.queued.is_empty());
    }

    #[test]
    fn repeats_are_few_and_reach_everything_in_turn() {
        let start = Instant::now();
        let mut offers = Offers::default();
        for n in 0..MAX_REPEATS * 2 {
            offers.add(hash(n), start, 10_000, |_| true);
        }
        let later = start + OFFER_AGAIN;
        let first = offers.due(later, |_| true);
        assert!(offers.due(later, |_| true).is_empty(), "only so many in a second");
        let second = offers.due(later + SECOND, |_| true);
        let all: HashSet<B256> = first.iter().chain(&second).copied().collect();
        assert_eq!(
            (first.len(), second.len(), all.len()),
            (MAX_REPEATS, MAX_REPEATS, MAX_REPEATS * 2)
        );
    }

    #[test]
    fn what_left_is_forgotten_without_waiting_for_its_time() {
        let now = Instant::now();
        let mut offers = Offers::default();
        // One transaction, replaced a thousand times.
        for n in 0..1000 {
            offers.add(hash(n), now, 10, |waiting| *waiting == hash(n));
            assert!(offers.queue.len() <= 20 && offers.queued.len() <= 20);
        }
        assert_eq!(
            offers.due(now + OFFER_AGAIN, |waiting| *waiting == hash(999)),
            [hash(999)]
        );
    }
}
