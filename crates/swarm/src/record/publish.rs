//! When a domain signs its record, and when it hands it to the holders again.

use std::time::Duration;

use super::ipns::{IpnsRecord, LAST_SEQUENCE};
use crate::model::UnixMillis;

/// How often things are done. Holders drop a record 36 to 48 hours after they were given it and do not pass it on.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// How long a record is valid.
    pub lifetime: Duration,
    /// A record is signed anew when less than this is left of its life.
    pub renew_when_left: Duration,
    /// How often the record is given to the holders.
    pub put_every: Duration,
    /// How soon it is tried again when nobody took the record.
    pub retry_after: Duration,
    /// How long those who looked a record up may go on without looking again.
    pub ttl: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            lifetime: 48 * HOUR,
            renew_when_left: 24 * HOUR,
            put_every: 4 * HOUR,
            retry_after: Duration::from_secs(10),
            ttl: Duration::from_secs(60),
        }
    }
}

/// The domain's own record, and how it fared.
#[derive(Debug, Clone)]
pub struct Own {
    /// The record that was signed last.
    pub record: IpnsRecord,
    /// When holders took it last.
    pub put_at: Option<UnixMillis>,
    /// When it was tried last and nobody took it.
    pub failed_at: Option<UnixMillis>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Sign a record with this number and end, write it to the disk, and ask again.
    Sign {
        /// Its sequence number.
        sequence: u64,
        /// Its end of life.
        valid_until: UnixMillis,
    },
    /// Give the record to the holders, note what came of it, and ask again.
    Put,
    /// There is nothing to do until then.
    Wait(UnixMillis),
}

impl Schedule {
    /// What is to be done to have `value` published. `own` is what this domain signed last, as far as it knows; `seen` is the highest
    /// number that was ever seen under its name, which matters when the folder was lost.
    pub fn next(&self, value: &str, own: Option<&Own>, seen: u64, now: UnixMillis) -> Step {
        let Some(own) = own.filter(|own| self.still_good(&own.record, value, seen, now)) else {
            return Step::Sign {
                sequence: sequence(own.map(|own| own.record.sequence()), seen, now),
                valid_until: now.plus(self.lifetime),
            };
        };
        let next_put = match (own.put_at, own.failed_at) {
            (_, Some(failed)) if own.put_at.is_none_or(|put| put <= failed) => failed.plus(self.retry_after),
            (Some(put), _) => put.plus(self.put_every),
            (None, _) => now,
        };
        // Times ahead of now come from a clock that was set back since.
        let clock_went_back = own.put_at.max(own.failed_at).is_some_and(|last| last > now);
        if next_put <= now || clock_went_back {
            return Step::Put;
        }
        Step::Wait(next_put.min(own.record.valid_until().minus(self.renew_when_left).plus(MOMENT)))
    }

    fn still_good(&self, record: &IpnsRecord, value: &str, seen: u64, now: UnixMillis) -> bool {
        let ends = record.valid_until();
        record.value() == value.as_bytes()
            && record.sequence() >= seen
            && ends >= now.plus(self.renew_when_left)
            // Signed while the clock was ahead: others would refuse it.
            && ends <= now.plus(self.lifetime)
    }
}

const MOMENT: Duration = Duration::from_millis(1);

/// The number of the next record: above all that are known, and at least the time. So a domain that lost its folder goes on above what
/// holders still keep, as long as its clock is right.
fn sequence(last: Option<u64>, seen: u64, now: UnixMillis) -> u64 {
    let above = last
        .map_or(0, |last| last.saturating_add(1))
        .max(seen.saturating_add(1));
    above.max(now.0).min(LAST_SEQUENCE)
}
