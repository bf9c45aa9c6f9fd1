//! Points in time.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Sums and differences stop at the ends instead of going round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This long after.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This long before.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long `earlier` is ago; nothing if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// As RFC 3339 in UTC with nanoseconds, as IPNS writes it.
    pub(crate) fn to_rfc3339(self) -> Option<String> {
        let instant = jiff::Timestamp::from_millisecond(i64::try_from(self.0).ok()?).ok()?;
        Some(format!("{instant:.9}"))
    }

    /// From RFC 3339, cut to milliseconds; `None` for anything else and for times before 1970.
    pub(crate) fn from_rfc3339(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(instant.as_millisecond()).ok().map(Self)
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_rfc3339() {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ms after 1970", self.0),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_go_and_js_write_them() {
        let time = UnixMillis(4_102_542_245_678);
        assert_eq!(time.to_rfc3339().unwrap(), "2100-01-02T03:04:05.678000000Z");
        for text in [
            "2100-01-02T03:04:05.678999999Z",
            "2100-01-02T03:04:05.678Z",
            "2100-01-02T05:04:05.678+02:00",
        ] {
            assert_eq!(UnixMillis::from_rfc3339(text).unwrap(), time, "{text}");
        }
        for text in ["", "now", "2100-01-02", "1969-12-31T23:59:59Z", "2100-13-02T03:04:05Z"] {
            assert_eq!(UnixMillis::from_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0..253_402_207_200_000_u64) {
            let time = UnixMillis(millis);
            prop_assert_eq!(UnixMillis::from_rfc3339(&time.to_rfc3339().unwrap()), Some(time));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "\\PC{0,40}") {
            let _ = UnixMillis::from_rfc3339(&text);
        }
    }
}
