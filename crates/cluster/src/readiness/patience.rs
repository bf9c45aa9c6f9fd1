//! How long a cause may last before it is final.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::verdict::{Cause, Readiness, Reason};
use crate::manifest::ObjectRef;

/// Grace times: how long a cause that may still pass by itself is given.
///
/// What cannot pass by itself (an invalid image name, an image that the registry says it does not have, a failed Job, the
/// Deployment's own progress deadline) has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For pulls that failed without a definite answer from the registry. Kubelet retries after 10 s, then 20 s.
    pub image_pull: Duration,
    /// Restarts of one container before its crashes count as a loop. Programs that need another one to be up first often
    /// crash once or twice; kubelet restarts at once, then after 10 s and 20 s, so 2 is seen after about 10 s.
    pub restarts: u32,
    /// For pods without a node. A cluster autoscaler needs longer; raise it where there is one.
    pub scheduling: Duration,
    /// For pods that quota or admission refuse. An old pod that is about to end may free quota.
    pub admission: Duration,
    /// For missing ConfigMaps, Secrets, keys and volumes, and containers that cannot be started.
    pub configuration: Duration,
    /// For objects that are not there, e.g. because a cache is behind.
    pub missing: Duration,
    /// How long programs without a readiness probe must have kept running before they count as up: they are "ready" the
    /// moment they start, also when they are about to crash. Five times as long for those that have already crashed. With a
    /// readiness probe nothing is added.
    pub settle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            image_pull: Duration::from_secs(15),
            restarts: 2,
            scheduling: Duration::from_secs(20),
            admission: Duration::from_secs(10),
            configuration: Duration::from_secs(8),
            missing: Duration::from_secs(5),
            settle: Duration::from_secs(1),
        }
    }
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Everything is ready.
    Ready,
    /// Nothing is final; look again on a change, or at this time even without one.
    Wait(Option<Instant>),
    /// This will not become ready.
    GiveUp(ObjectRef, Cause),
}

/// A cause that was away for less than this has not had a break: kubelets show it between their attempts, but not always
/// during one.
const BREAK: Duration = Duration::from_secs(5);

/// Remembers since when each cause has lasted, and each set of fresh programs has run.
#[derive(Debug, Default)]
pub(crate) struct Watchlist {
    causes: BTreeMap<(ObjectRef, Reason, String), Seen>,
    settling: BTreeMap<(ObjectRef, String), Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    first: Instant,
    last: Instant,
}

impl Watchlist {
    /// Takes note of what is seen now, and decides.
    pub(crate) fn decide(&mut self, seen: &[(ObjectRef, Readiness)], settle: Duration, now: Instant) -> Decision {
        let mut settling = BTreeMap::new();
        let mut next: Option<Instant> = None;
        let mut look_again = |at: Instant| next = Some(next.map_or(at, |n| n.min(at)));
        let mut ready = true;
        self.causes
            .retain(|_, seen| now.saturating_duration_since(seen.last) < BREAK);
        for (object, readiness) in seen {
            match readiness {
                Readiness::Ready => {}
                Readiness::Settling { programs, restarted } => {
                    let settle = if *restarted { settle.saturating_mul(5) } else { settle };
                    let key = (object.clone(), programs.clone());
                    let first = self.settling.get(&key).copied().unwrap_or(now);
                    settling.insert(key, first);
                    if first + settle > now {
                        ready = false;
                        look_again(first + settle);
                    }
                }
                Readiness::Waiting(causes) => {
                    ready = false;
                    for cause in causes {
                        let key = (object.clone(), cause.reason, cause.subject.clone());
                        let entry = self.causes.entry(key).or_insert(Seen { first: now, last: now });
                        entry.last = now;
                        let Some(end) = cause.grace.and_then(|grace| entry.first.checked_add(grace)) else {
                            continue;
                        };
                        if end <= now {
                            // That time ran out says little; what kept it from being used says more.
                            let telling = if cause.reason == Reason::ProgressDeadline {
                                causes.first()
                            } else {
                                None
                            };
                            return Decision::GiveUp(object.clone(), telling.unwrap_or(cause).clone());
                        }
                        look_again(end);
                    }
                }
            }
        }
        self.settling = settling;
        if ready { Decision::Ready } else { Decision::Wait(next) }
    }
}

/// The most telling cause of all, for when the deadline passes.
pub(crate) fn most_telling(seen: &[(ObjectRef, Readiness)]) -> Option<(&ObjectRef, &Cause)> {
    seen.iter()
        .filter_map(|(object, readiness)| match readiness {
            Readiness::Ready | Readiness::Settling { .. } => None,
            Readiness::Waiting(causes) => causes.iter().min_by_key(|c| c.reason).map(|cause| (object, cause)),
        })
        .min_by_key(|(_, cause)| cause.reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manifest::Kind;

    const SETTLE: Duration = Duration::from_secs(1);

    fn seen(reason: Reason, grace: Option<u64>) -> Vec<(ObjectRef, Readiness)> {
        let cause = Cause::new(reason, "main", "m", grace.map(Duration::from_secs));
        vec![(ObjectRef::new(Kind::Deployment, "d"), Readiness::Waiting(vec![cause]))]
    }

    fn settling(programs: &str, restarted: bool) -> Vec<(ObjectRef, Readiness)> {
        let programs = programs.to_owned();
        vec![(
            ObjectRef::new(Kind::Deployment, "d"),
            Readiness::Settling { programs, restarted },
        )]
    }

    /// A clock that starts now, and a list that decides by it.
    struct Clock(Watchlist, Instant);

    impl Clock {
        fn new() -> Self {
            Self(Watchlist::default(), Instant::now())
        }

        fn at(&self, seconds: u64) -> Instant {
            self.1 + Duration::from_secs(seconds)
        }

        fn decide(&mut self, seen: &[(ObjectRef, Readiness)], seconds: u64) -> Decision {
            let now = self.at(seconds);
            self.0.decide(seen, SETTLE, now)
        }
    }

    #[test]
    fn a_cause_is_final_when_it_lasted_its_grace_without_a_break() {
        let mut clock = Clock::new();
        let trouble = seen(Reason::Unschedulable, Some(10));
        for seconds in [0, 4, 8] {
            assert_eq!(clock.decide(&trouble, seconds), Decision::Wait(Some(clock.at(10))));
        }
        assert!(matches!(clock.decide(&trouble, 10), Decision::GiveUp(..)));
    }

    #[test]
    fn a_break_starts_the_grace_anew_but_a_kubelet_that_tries_again_is_none() {
        let mut clock = Clock::new();
        let (trouble, starting) = (seen(Reason::ImagePull, Some(10)), seen(Reason::Starting, None));
        clock.decide(&trouble, 0);
        clock.decide(&starting, 3);
        assert_eq!(
            clock.decide(&trouble, 4),
            Decision::Wait(Some(clock.at(10))),
            "it was away for less than a break"
        );
        clock.decide(&starting, 6);
        assert_eq!(
            clock.decide(&trouble, 9),
            Decision::Wait(Some(clock.at(19))),
            "it was away for five seconds"
        );
    }

    #[test]
    fn no_grace_means_at_once_and_none_means_never() {
        assert!(matches!(
            Clock::new().decide(&seen(Reason::JobFailed, Some(0)), 0),
            Decision::GiveUp(..)
        ));
        let mut clock = Clock::new();
        for seconds in [0, 100_000] {
            assert_eq!(
                clock.decide(&seen(Reason::ProbeFailing, None), seconds),
                Decision::Wait(None)
            );
        }
    }

    #[test]
    fn programs_without_a_probe_count_when_the_same_ones_have_run_for_a_while() {
        let mut clock = Clock::new();
        assert_eq!(
            clock.decide(&settling("a", false), 0),
            Decision::Wait(Some(clock.at(1)))
        );
        assert_eq!(clock.decide(&settling("a", false), 1), Decision::Ready);
        assert_eq!(
            clock.decide(&settling("b", true), 2),
            Decision::Wait(Some(clock.at(7))),
            "it crashed before"
        );
        assert_eq!(clock.decide(&settling("b", true), 7), Decision::Ready);
        let at_once = Watchlist::default().decide(&settling("a", true), Duration::ZERO, Instant::now());
        assert_eq!(at_once, Decision::Ready);
    }

    #[test]
    fn nothing_to_wait_for_is_ready() {
        let ready = [(ObjectRef::new(Kind::Service, "s"), Readiness::Ready)];
        assert_eq!(Clock::new().decide(&ready, 0), Decision::Ready);
        assert_eq!(Clock::new().decide(&[], 0), Decision::Ready);
    }

    #[test]
    fn at_the_deadline_the_most_telling_cause_is_reported() {
        let mut all = seen(Reason::NoAddress, None);
        all.extend(seen(Reason::Configuration, Some(9)));
        assert_eq!(most_telling(&all).unwrap().1.reason, Reason::Configuration);
    }
}
