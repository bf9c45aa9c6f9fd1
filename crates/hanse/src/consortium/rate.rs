//! Bounds what strangers may ask for: a bucket of tokens that fills with time. Pure.

/// The bucket.
#[derive(Debug)]
pub struct Rate {
    left: f64,
    at_ms: u64,
    burst: f64,
    per_second: f64,
}

impl Rate {
    /// What strangers may ask for: three requests a second after a burst of 30.
    pub fn new(now_ms: u64) -> Self {
        Self::full(30.0, 3.0, now_ms)
    }

    /// A full bucket of `burst` requests, to which so many are added each second.
    pub fn full(burst: f64, per_second: f64, now_ms: u64) -> Self {
        Self {
            left: burst,
            at_ms: now_ms,
            burst,
            per_second,
        }
    }

    /// Whether one more is allowed.
    pub fn allows(&mut self, now_ms: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since the last request")]
        let seconds = now_ms.saturating_sub(self.at_ms) as f64 / 1000.0;
        self.left = (self.left + seconds * self.per_second).min(self.burst);
        self.at_ms = self.at_ms.max(now_ms);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_few_each_second() {
        let mut rate = Rate::new(0);
        assert_eq!((0..100).filter(|_| rate.allows(0)).count(), 30);
        assert_eq!((0..100).filter(|_| rate.allows(1000)).count(), 3);
        assert_eq!(
            (0..100).filter(|_| rate.allows(500)).count(),
            0,
            "a clock that goes back gives nothing"
        );
    }
}
