//! Waiting longer after each failure in a row.

use std::time::Duration;

/// Delays that double from a base to a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after one more failure: `base`, twice that, and so on up to `max`.
    pub(super) fn next(&mut self, base: Duration, max: Duration) -> Duration {
        let factor = 1u32
            .checked_shl(self.failures)
            .filter(|factor| *factor != 0)
            .unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        base.checked_mul(factor).unwrap_or(max).min(max)
    }

    /// As [`Backoff::next`], but the first failure costs nothing: a crashed container is first
    /// restarted at once.
    pub(super) fn next_after_free(&mut self, base: Duration, max: Duration) -> Duration {
        if self.failures == 0 {
            self.failures = 1;
            return Duration::ZERO;
        }
        self.failures -= 1;
        let delay = self.next(base, max);
        self.failures += 1;
        delay
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_never_overflow() {
        let (base, max) = (Duration::from_secs(10), Duration::from_secs(300));
        let mut backoff = Backoff::default();
        let delays: Vec<u64> = (0..8).map(|_| backoff.next_after_free(base, max).as_secs()).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        for _ in 0..100 {
            assert_eq!(backoff.next(base, max), max);
        }
        backoff.reset();
        assert_eq!(backoff.next(base, max), base);
    }
}
