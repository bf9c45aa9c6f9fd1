//! Decides when the engine has gone silent. Pure.
//!
//! After write-ahead log replay and on closed channels the engine has been seen to stop without a word. A height that
//! stands still although it should move, while a quorum is connected, gets the engine restarted within the process; the
//! write-ahead log keeps that safe. Each restart that helps nothing doubles the patience, so a network that is stuck for
//! another reason is not made worse.

use std::time::{Duration, Instant};

const LEAST: Duration = Duration::from_secs(10);
const MOST_DOUBLINGS: u32 = 4;

/// Watches the height of one node across engine restarts.
#[derive(Debug)]
pub struct Watchdog {
    height: u64,
    moved: Instant,
    quorum_since: Option<Instant>,
    fruitless_restarts: u32,
}

impl Watchdog {
    /// Starts to watch.
    pub fn new(height: u64, now: Instant) -> Self {
        Self {
            height,
            moved: now,
            quorum_since: None,
            fruitless_restarts: 0,
        }
    }

    /// Whether the engine was restarted since the height moved last.
    pub fn standstill(&self) -> bool {
        self.fruitless_restarts > 0
    }

    /// Tells the watchdog how things are; `true` means: restart the engine.
    pub fn stalled(&mut self, now: Instant, height: u64, heartbeat: Duration, quorum_connected: bool) -> bool {
        if height != self.height {
            *self = Self {
                quorum_since: self.quorum_since,
                ..Self::new(height, now)
            };
        }
        if !quorum_connected {
            self.quorum_since = None;
            return false;
        }
        let quorum_since = *self.quorum_since.get_or_insert(now);
        let patience = LEAST.max(5 * heartbeat) * 2u32.pow(self.fruitless_restarts.min(MOST_DOUBLINGS));
        let still = now.saturating_duration_since(self.moved.max(quorum_since));
        if still <= patience {
            return false;
        }
        self.moved = now;
        self.quorum_since = None;
        self.fruitless_restarts += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(1);

    fn seconds_until_stalled(watchdog: &mut Watchdog, from: Instant, height: u64, quorum: bool) -> Option<u64> {
        (1..1000).find(|s| watchdog.stalled(from + Duration::from_secs(*s), height, HEARTBEAT, quorum))
    }

    #[test]
    fn a_height_that_stands_still_with_a_quorum_is_noticed_and_patience_grows() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(7, start);
        let first = seconds_until_stalled(&mut watchdog, start, 7, true);
        assert_eq!(first, Some(12), "ten seconds since the quorum was first seen");
        let second = seconds_until_stalled(&mut watchdog, start + Duration::from_secs(12), 7, true);
        assert_eq!(second, Some(22));
        assert!(watchdog.standstill());
        assert!(!watchdog.stalled(start + Duration::from_secs(35), 8, HEARTBEAT, true));
        assert!(!watchdog.standstill(), "it moves again");
    }

    #[test]
    fn without_a_quorum_nothing_is_restarted_and_its_return_is_given_time() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(7, start);
        assert_eq!(seconds_until_stalled(&mut watchdog, start, 7, false), None);
        let later = start + Duration::from_secs(1000);
        assert_eq!(seconds_until_stalled(&mut watchdog, later, 7, true), Some(12));
    }

    #[test]
    fn a_moving_height_is_left_alone() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(0, start);
        for second in 1..1000 {
            assert!(!watchdog.stalled(start + Duration::from_secs(second), second / 9, HEARTBEAT, true));
        }
    }
}
