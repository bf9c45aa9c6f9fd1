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

/// Remembers since when each cause has lasted.
#[derive(Debug, Default)]
pub(crate) struct Watchlist {
    since: BTreeMap<(ObjectRef, Reason, String), Instant>,
}

impl Watchlist {
    /// Takes note of what is seen now, and decides.
    pub(crate) fn decide(&mut self, seen: &[(ObjectRef, Readiness)], now: Instant) -> Decision {
        let mut since = BTreeMap::new();
        let mut next: Option<Instant> = None;
        let mut waiting = false;
        for (object, readiness) in seen {
            let Readiness::Waiting(causes) = readiness else {
                continue;
            };
            waiting = true;
            for cause in causes {
                let key = (object.clone(), cause.reason, cause.subject.clone());
                let first = self.since.get(&key).copied().unwrap_or(now);
                since.insert(key, first);
                let Some(end) = cause.grace.and_then(|grace| first.checked_add(grace)) else {
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
                next = Some(next.map_or(end, |n| n.min(end)));
            }
        }
        self.since = since;
        if waiting { Decision::Wait(next) } else { Decision::Ready }
    }
}

/// The most telling cause of all, for when the deadline passes.
pub(crate) fn most_telling(seen: &[(ObjectRef, Readiness)]) -> Option<(&ObjectRef, &Cause)> {
    seen.iter()
        .filter_map(|(object, readiness)| match readiness {
            Readiness::Ready => None,
            Readiness::Waiting(causes) => causes.iter().min_by_key(|c| c.reason).map(|cause| (object, cause)),
        })
        .min_by_key(|(_, cause)| cause.reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manifest::Kind;

    fn seen(reason: Reason, grace: Option<u64>) -> Vec<(ObjectRef, Readiness)> {
        let cause = Cause::new(reason, "main", "m", grace.map(Duration::from_secs));
        vec![(ObjectRef::new(Kind::Deployment, "d"), Readiness::Waiting(vec![cause]))]
    }

    #[test]
    fn a_cause_is_final_when_it_lasted_its_grace_without_a_break() {
        let (mut list, t) = (Watchlist::default(), Instant::now());
        let at = |s| t + Duration::from_secs(s);
        let trouble = seen(Reason::Unschedulable, Some(10));
        assert_eq!(list.decide(&trouble, at(0)), Decision::Wait(Some(at(10))));
        assert_eq!(list.decide(&trouble, at(9)), Decision::Wait(Some(at(10))));
        assert!(matches!(list.decide(&trouble, at(10)), Decision::GiveUp(..)));
    }

    #[test]
    fn a_break_starts_the_grace_anew() {
        let (mut list, t) = (Watchlist::default(), Instant::now());
        let at = |s| t + Duration::from_secs(s);
        list.decide(&seen(Reason::ImagePull, Some(10)), at(0));
        list.decide(&seen(Reason::Starting, None), at(5));
        assert_eq!(
            list.decide(&seen(Reason::ImagePull, Some(10)), at(9)),
            Decision::Wait(Some(at(19)))
        );
    }

    #[test]
    fn no_grace_means_at_once_and_none_means_never() {
        let (mut list, t) = (Watchlist::default(), Instant::now());
        assert!(matches!(
            list.decide(&seen(Reason::JobFailed, Some(0)), t),
            Decision::GiveUp(..)
        ));
        let late = t + Duration::from_secs(100_000);
        assert_eq!(
            list.decide(&seen(Reason::ProbeFailing, None), late),
            Decision::Wait(None)
        );
    }

    #[test]
    fn nothing_to_wait_for_is_ready() {
        let ready = [(ObjectRef::new(Kind::Service, "s"), Readiness::Ready)];
        assert_eq!(Watchlist::default().decide(&ready, Instant::now()), Decision::Ready);
        assert_eq!(Watchlist::default().decide(&[], Instant::now()), Decision::Ready);
    }

    #[test]
    fn at_the_deadline_the_most_telling_cause_is_reported() {
        let mut all = seen(Reason::NoAddress, None);
        all.extend(seen(Reason::Configuration, Some(9)));
        assert_eq!(most_telling(&all).unwrap().1.reason, Reason::Configuration);
    }
}
