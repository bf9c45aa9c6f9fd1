//! When to probe a container, and what the answers mean. Pure.
//!
//! As in Kubernetes a probe runs every `periodSeconds` (at least 1), and `failureThreshold` failures
//! or `successThreshold` successes in a row change the verdict. One thing is different, because a
//! whole application shall be ready some 100 ms after its programs listen: until its first success a
//! readiness or startup probe is *eager*. It runs at once and is repeated after 20 ms to 100 ms (for
//! at most [`EAGER`], then every period). Failures of eager probes count at most once a period and not
//! before `initialDelaySeconds`, so the verdicts are the same as without.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Probe, jiff::Timestamp};

/// How long a probe that never succeeded is repeated eagerly.
pub(super) const EAGER: Duration = Duration::from_secs(30);
const EAGER_FIRST: Duration = Duration::from_millis(20);
const EAGER_LAST: Duration = Duration::from_millis(100);

/// The three probes of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// What a result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Enough successes in a row.
    Up,
    /// A failure that counts but is not one too many.
    Failing,
    /// Enough failures in a row.
    Down,
    /// Nothing to say yet.
    Undecided,
}

/// One probe of one running container.
#[derive(Clone, Debug)]
pub(super) struct ProbePlan {
    pub(super) kind: ProbeKind,
    period: Duration,
    success_threshold: i32,
    failure_threshold: i32,
    successes: i32,
    failures: i32,
    eager: Option<Eager>,
    /// Failures before this time do not count.
    counts_from: Timestamp,
    /// `None` while a probe is under way.
    next: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Eager {
    until: Timestamp,
    delay: Duration,
}

impl ProbePlan {
    /// The plan of `probe` for a container that runs since `now`.
    pub(super) fn new(kind: ProbeKind, probe: &Probe, now: Timestamp) -> Self {
        let seconds = |value: Option<i32>, default: i32| {
            Duration::from_secs(
                value
                    .filter(|value| *value > 0)
                    .unwrap_or(default)
                    .unsigned_abs()
                    .into(),
            )
        };
        let period = seconds(probe.period_seconds, 10);
        let delay = seconds(probe.initial_delay_seconds, 0);
        let (eager, first) = match kind {
            // Never eager: an early failure could kill a container that is still starting.
            ProbeKind::Liveness => (None, now + delay.max(period)),
            _ => (
                Some(Eager {
                    until: now + EAGER + delay,
                    delay: EAGER_FIRST,
                }),
                now,
            ),
        };
        Self {
            kind,
            period,
            success_threshold: probe.success_threshold.unwrap_or(1).max(1),
            failure_threshold: probe.failure_threshold.unwrap_or(3).max(1),
            successes: 0,
            failures: 0,
            eager,
            counts_from: now + delay.max(Duration::from_millis(1)),
            next: Some(first),
        }
    }

    /// When the next probe is due, unless one is under way.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.next
    }

    /// Marks a probe as under way if one is due.
    pub(super) fn take_due(&mut self, now: Timestamp) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = None;
        }
        due
    }

    /// Takes the result of the probe under way and plans the next one.
    pub(super) fn result(&mut self, success: bool, now: Timestamp) -> Verdict {
        if success {
            self.eager = None;
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            self.next = Some(now + self.period);
            return if self.successes >= self.success_threshold {
                Verdict::Up
            } else {
                Verdict::Undecided
            };
        }
        self.successes = 0;
        match self.eager.as_mut().filter(|eager| now < eager.until) {
            Some(eager) => {
                self.next = Some(now + eager.delay);
                eager.delay = eager.delay.mul_f64(1.5).min(EAGER_LAST);
            }
            None => self.next = Some(now + self.period),
        }
        if self.eager.is_some() && now < self.counts_from {
            return Verdict::Undecided;
        }
        self.counts_from = now + self.period;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.failure_threshold {
            Verdict::Down
        } else {
            Verdict::Failing
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
    }

    fn probe(period: i32, failures: i32) -> Probe {
        Probe {
            period_seconds: Some(period),
            failure_threshold: Some(failures),
            ..Probe::default()
        }
    }

    #[test]
    fn readiness_is_noticed_within_100_ms_of_listening() {
        for listens_at in [0, 35, 333, 2_000, 9_000] {
            let mut plan = ProbePlan::new(ProbeKind::Readiness, &probe(10, 3), at(0));
            let ready_at = loop {
                let now = plan.due().unwrap();
                assert!(plan.take_due(now) && !plan.take_due(now), "only one at a time");
                if plan.result(now >= at(listens_at), now) == Verdict::Up {
                    break now;
                }
            };
            assert!(
                ready_at.duration_since(at(listens_at)).as_millis() <= 100,
                "{listens_at}: {ready_at}"
            );
        }
    }

    #[test]
    fn eager_failures_count_once_a_period_as_without_eagerness() {
        let mut plan = ProbePlan::new(ProbeKind::Startup, &probe(1, 5), at(0));
        let mut probes = 0;
        let killed_at = loop {
            let now = plan.due().unwrap();
            plan.take_due(now);
            probes += 1;
            if plan.result(false, now) == Verdict::Down {
                break now;
            }
        };
        let seconds = killed_at.duration_since(at(0)).as_secs_f64();
        assert!(
            (4.0..6.0).contains(&seconds),
            "five failures a second apart, not {seconds} s"
        );
        assert!(probes > 30, "eager");
    }

    #[test]
    fn a_probe_that_never_succeeds_stops_being_eager() {
        let mut plan = ProbePlan::new(ProbeKind::Readiness, &probe(10, 3), at(0));
        let mut probes = 0;
        while plan.due().unwrap() < at(3_600_000) {
            let now = plan.due().unwrap();
            plan.take_due(now);
            plan.result(false, now);
            probes += 1;
        }
        assert!(probes < 320 + 360, "{probes} probes in an hour");
    }

    #[test]
    fn liveness_waits_and_kills_only_after_the_threshold() {
        let mut plan = ProbePlan::new(ProbeKind::Liveness, &probe(1, 3), at(0));
        assert_eq!(plan.due(), Some(at(1000)));
        let verdicts: Vec<Verdict> = [false, false, true, false, false, false]
            .into_iter()
            .map(|success| {
                let now = plan.due().unwrap();
                plan.take_due(now);
                plan.result(success, now)
            })
            .collect();
        use Verdict::{Down, Failing, Up};
        assert_eq!(verdicts, [Failing, Failing, Up, Failing, Failing, Down]);
    }
}
