//! Which frames of a stream arrived, which are late, and which are lost.
//!
//! Frames are numbered from 0 without gaps and may arrive in any order and more than once. A number that is skipped is
//! *pending*; if it does not arrive within the window it is *lost*. The announced end of a stream makes the frames of
//! its tail pending too. Of a stream that breaks off unannounced nobody can know the tail, so none is counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Who joins a stream at a later frame than this has missed its beginning through no fault of the sender's, so the
/// frames before are not counted as lost (frames just before may still arrive).
const JOIN: u64 = 64;
/// Most pending numbers that are kept; what would exceed them is lost at once.
const MAX_PENDING: usize = 8192;
/// Lost numbers that are remembered, to tell late frames from doubled ones.
const MAX_REMEMBERED: usize = 1024;

/// What a frame is when it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first of its number, in time.
    New,
    /// Its number arrived before.
    Duplicate,
    /// Its number was already counted as lost, and stays so.
    Late,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    since: Instant,
    /// Whether it counts as lost when it does not come.
    counts: bool,
}

/// The numbers of one stream.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// The lowest number not yet heard of; `None` until the first frame.
    next: Option<u64>,
    pending: BTreeMap<u64, Pending>,
    given_up: BTreeSet<u64>,
    /// Lost without having been pending, not yet reported.
    skipped: u64,
    ended: bool,
}

impl Tracker {
    /// Frame `sequence` arrived.
    pub fn arrived(&mut self, sequence: u64, now: Instant) -> Arrival {
        if self.next.is_none_or(|next| sequence >= next) {
            self.advance_to(sequence, now);
            self.next = Some(sequence.saturating_add(1));
            return Arrival::New;
        }
        match self.pending.remove(&sequence) {
            Some(_) => Arrival::New,
            None if self.given_up.remove(&sequence) => Arrival::Late,
            None => Arrival::Duplicate,
        }
    }

    /// The stream has ended after `frames` frames.
    pub fn ended(&mut self, frames: u64, now: Instant) {
        if self.next.is_none_or(|next| frames > next) {
            self.advance_to(frames, now);
            self.next = Some(frames);
        }
        self.ended = true;
    }

    /// Gives up what is pending for longer than `window`; returns how many frames are newly lost.
    pub fn give_up(&mut self, now: Instant, window: Duration) -> u64 {
        let expired = |pending: &Pending| now.saturating_duration_since(pending.since) > window;
        let mut lost = std::mem::take(&mut self.skipped);
        self.pending.retain(|sequence, pending| {
            if expired(pending) && pending.counts {
                lost += 1;
                self.given_up.insert(*sequence);
            }
            !expired(pending)
        });
        while self.given_up.len() > MAX_REMEMBERED {
            self.given_up.pop_first();
        }
        lost
    }

    /// Frames that may still come before they count as lost.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending.values().filter(|pending| pending.counts).count() as u64
    }

    /// Whether its end was announced.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// All numbers below `sequence` that were not heard of are pending from now on.
    fn advance_to(&mut self, sequence: u64, now: Instant) {
        let (from, counts) = match self.next {
            Some(next) => (next, true),
            None if sequence <= JOIN => (0, true),
            None => (sequence - JOIN, false),
        };
        let room = (MAX_PENDING - self.pending.len().min(MAX_PENDING)) as u64;
        let kept = (sequence - from).min(room);
        self.skipped = self.skipped.saturating_add(sequence - from - kept);
        let newest = sequence - kept..sequence;
        self.pending
            .extend(newest.map(|missing| (missing, Pending { since: now, counts })));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(3);

    proptest! {
        /// Whatever the order and however often: what never arrives is lost, and nothing else.
        #[test]
        fn only_frames_that_never_arrive_are_lost(
            order in Just((0..50_u64).collect::<Vec<_>>()).prop_shuffle(), missing in prop::collection::btree_set(0..50_u64, 0..10),
            doubles in prop::collection::vec(0..50_u64, 0..10)
        ) {
            let start = Instant::now();
            let mut tracker = Tracker::default();
            let mut seen = BTreeSet::new();
            let mut duplicates = 0;
            for n in order.into_iter().chain(doubles).filter(|n| !missing.contains(n)) {
                let arrival = tracker.arrived(n, start);
                prop_assert_eq!(arrival, if seen.insert(n) { Arrival::New } else { Arrival::Duplicate });
                duplicates += u64::from(arrival == Arrival::Duplicate);
            }
            tracker.ended(50, start);
            prop_assert_eq!(tracker.pending(), missing.len() as u64);
            prop_assert_eq!(tracker.give_up(start + WINDOW, WINDOW), 0);
            prop_assert_eq!(tracker.give_up(start + WINDOW * 2, WINDOW), missing.len() as u64);
            prop_assert_eq!(tracker.give_up(start + WINDOW * 3, WINDOW), 0);
            prop_assert!(duplicates <= 10);
        }

        #[test]
        fn wild_numbers_cost_neither_memory_nor_time(wild in prop::collection::vec(any::<u64>(), 1..100)) {
            let mut tracker = Tracker::default();
            for n in wild {
                tracker.arrived(n, Instant::now());
                tracker.ended(n, Instant::now());
                prop_assert!(tracker.pending.len() <= MAX_PENDING);
            }
            tracker.give_up(Instant::now() + WINDOW * 2, WINDOW);
            prop_assert!(tracker.given_up.len() <= MAX_REMEMBERED);
        }
    }

    #[test]
    fn a_frame_that_comes_after_it_was_given_up_is_late() {
        let start = Instant::now();
        let mut tracker = Tracker::default();
        tracker.arrived(0, start);
        tracker.arrived(2, start);
        assert_eq!(tracker.give_up(start + WINDOW * 2, WINDOW), 1);
        assert_eq!(tracker.arrived(1, start), Arrival::Late);
        assert_eq!(tracker.arrived(1, start), Arrival::Duplicate);
    }

    #[test]
    fn who_joins_in_the_middle_does_not_miss_the_beginning() {
        let start = Instant::now();
        let mut tracker = Tracker::default();
        tracker.arrived(5000, start);
        assert_eq!(tracker.pending(), 0);
        assert_eq!(tracker.arrived(4999, start), Arrival::New, "overtaken by 5000");
        tracker.arrived(5002, start);
        assert_eq!(tracker.give_up(start + WINDOW * 2, WINDOW), 1);
    }
}
