//! When to answer the engine's first question. Pure.
//!
//! A proposal sent before the others are connected is lost, and the first decision then takes several timeouts. So the
//! first height starts once all other validators are connected. If some stay away: with a quorum connected after a short
//! grace, without one after a longer, since a node that was away may have to learn from fewer that the set has changed.

use std::time::{Duration, Instant};

/// Between a connection and the moment a message published on it is delivered, topics are exchanged.
const SETTLE: Duration = Duration::from_millis(150);
const GRACE_WITH_QUORUM: Duration = Duration::from_secs(1);
const GRACE_WITHOUT: Duration = Duration::from_secs(3);

/// Watches the connections while the engine waits for its first height.
#[derive(Debug)]
pub struct Gate {
    opened: Instant,
    all_since: Option<Instant>,
}

impl Gate {
    /// Starts to watch.
    pub fn new(now: Instant) -> Self {
        Self {
            opened: now,
            all_since: None,
        }
    }

    /// Whether to start, with `connected` of `others` connected and `needed` of them enough for a quorum.
    pub fn pass(&mut self, now: Instant, connected: usize, others: usize, needed: usize) -> bool {
        if others == 0 {
            return true;
        }
        if connected < others {
            self.all_since = None;
        } else if now >= *self.all_since.get_or_insert(now) + SETTLE {
            return true;
        }
        let grace = if connected >= needed {
            GRACE_WITH_QUORUM
        } else {
            GRACE_WITHOUT
        };
        now >= self.opened + grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes_after_ms(connected: usize, others: usize, needed: usize) -> u64 {
        let start = Instant::now();
        let mut gate = Gate::new(start);
        (0..)
            .step_by(10)
            .find(|ms| gate.pass(start + Duration::from_millis(*ms), connected, others, needed))
            .expect("a gate opens at last")
    }

    #[test]
    fn the_wait_is_short_with_all_bounded_with_some_and_absent_when_alone() {
        assert_eq!(passes_after_ms(0, 0, 0), 0);
        assert_eq!(passes_after_ms(3, 3, 2), 150);
        assert_eq!(passes_after_ms(2, 3, 2), 1000);
        assert_eq!(passes_after_ms(1, 3, 2), 3000);
        assert_eq!(passes_after_ms(0, 3, 2), 3000);
    }
}
