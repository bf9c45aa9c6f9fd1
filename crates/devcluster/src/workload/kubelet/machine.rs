//! The life of one pod as a pure state machine: state + input + time → effects.
//!
//! Init containers run one after the other, then the ordinary containers together. The restart policy,
//! crash-loop and image-pull back-offs, probes and graceful deletion are those of a kubelet; messages
//! and event texts too. The machine never starts a container while a process of its earlier life may
//! exist, and asks for the pod's removal only when nothing runs any more.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};

use super::{
    messages::{Effect, Input},
    probe_plan::{ProbeKind, Verdict},
    refusal,
    track::{Ended, State, Track},
};
use crate::workload::Timing;

/// Why a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Deleted through the API, with the grace that has been ordered so far.
    Deleted {
        grace: Duration,
    },
    /// Removed from the store by force.
    Gone,
    ShutDown,
}

/// One pod.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) pod: Arc<Pod>,
    pub(super) tracks: Vec<Track>,
    timing: Timing,
    ending: Option<Ending>,
    removed: bool,
    /// The status that was last written; the watch may not have brought it back yet.
    pub(super) reported: Option<PodStatus>,
}

impl Machine {
    /// The machine of a pod that was just assigned to this node, or of one that ran here before the
    /// cluster was restarted (its status says so).
    pub(super) fn new(pod: Arc<Pod>, timing: Timing, now: Timestamp) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let init = spec
            .init_containers
            .unwrap_or_default()
            .into_iter()
            .map(|spec| Track::new(spec, true));
        let ordinary = spec.containers.into_iter().map(|spec| Track::new(spec, false));
        let mut tracks: Vec<Track> = init.chain(ordinary).collect();
        super::status::recall(&pod, &mut tracks, now);
        Self {
            pod,
            tracks,
            timing,
            ending: None,
            removed: false,
            reported: None,
        }
    }

    /// Takes an input, and does everything that is due at `now`.
    pub(super) fn apply(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Desired(pod) => {
                self.pod = pod;
                self.order_deletion(&mut effects);
            }
            Input::Gone => self.end(Ending::Gone, Duration::ZERO, &mut effects),
            Input::ShutDown(grace) => self.end(Ending::ShutDown, grace, &mut effects),
            Input::Started { container, attempt } => self.started(container, attempt, now, &mut effects),
            Input::Refused {
                container,
                attempt,
                refusal,
            } => {
                if let Some(track) = self.current(container, attempt) {
                    refusal::refuse(track, refusal, now, &mut effects);
                }
            }
            Input::Exited {
                container,
                attempt,
                code,
                message,
            } => {
                let reset = self.timing.crash_backoff_reset;
                if let Some(track) = self.current(container, attempt) {
                    if let State::Running { since } = track.state
                        && Duration::try_from(now.duration_since(since)).is_ok_and(|ran| ran >= reset)
                    {
                        track.crash.reset();
                    }
                    track.end(code, if code == 0 { "Completed" } else { "Error" }, message, now);
                }
            }
            Input::Probed {
                container,
                attempt,
                kind,
                result,
            } => {
                self.probed(container, attempt, kind, result, now, &mut effects);
            }
        }
        self.advance_into(now, &mut effects);
        effects
    }

    /// Does everything that is due at `now`.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.advance_into(now, &mut effects);
        effects
    }

    /// When [`Machine::advance`] has something to do next, if nothing happens before.
    pub(super) fn next_wakeup(&self) -> Option<Timestamp> {
        if self.ending.is_some() {
            return None;
        }
        let retries = self.tracks.iter().filter_map(|track| match track.state {
            State::Waiting { retry_at, .. } => retry_at,
            _ => None,
        });
        let probes = self
            .tracks
            .iter()
            .flat_map(|track| track.probes.iter().filter_map(|probe| probe.due()));
        retries.chain(probes).min()
    }

    /// Whether the pod is over: nothing runs and nothing is to be done.
    pub(super) fn is_over(&self) -> bool {
        self.ending.is_some() && !self.tracks.iter().any(Track::alive)
    }

    /// Whether every init container has succeeded.
    pub(super) fn initialized(&self) -> bool {
        self.tracks.iter().filter(|track| track.init).all(Track::succeeded)
    }

    /// Whether a container that ended is started again.
    pub(super) fn restarts(&self, track: &Track, ended: &Ended) -> bool {
        if self.ending.is_some() {
            return false;
        }
        let policy = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref())
            .unwrap_or("Always");
        match policy {
            "Never" => false,
            "OnFailure" => ended.code != 0,
            _ => !track.init || ended.code != 0,
        }
    }

    /// `main of pod NAME in NAMESPACE` in the form of the kubelet's messages.
    fn full_name(&self) -> (String, String, String) {
        let meta = &self.pod.metadata;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        (text(&meta.name), text(&meta.namespace), text(&meta.uid))
    }

    fn current(&mut self, container: usize, attempt: u32) -> Option<&mut Track> {
        self.tracks
            .get_mut(container)
            .filter(|track| track.attempt == attempt && track.alive())
    }

    fn started(&mut self, container: usize, attempt: u32, now: Timestamp, effects: &mut Vec<Effect>) {
        let ending = self.ending;
        let Some(track) = self.current(container, attempt) else {
            return;
        };
        track.run(now);
        let (name, image) = (&track.spec.name, track.spec.image.clone().unwrap_or_default());
        let mut event = |reason, message| {
            effects.push(Effect::Event {
                warning: false,
                reason,
                message,
            })
        };
        event(
            "Pulled",
            format!("Container image \"{image}\" already present on machine"),
        );
        event("Created", format!("Created container: {name}"));
        event("Started", format!("Started container {name}"));
        // The order to stop came between the order to start and its success.
        if let Some(ending) = ending {
            track.stopping = true;
            let grace = if let Ending::Deleted { grace } = ending {
                grace
            } else {
                Duration::ZERO
            };
            effects.push(Effect::Stop { container, grace });
        }
    }

    fn probed(
        &mut self,
        container: usize,
        attempt: u32,
        kind: ProbeKind,
        result: Result<(), String>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let grace = self.grace();
        let Some(track) = self.current(container, attempt) else {
            return;
        };
        let Some(plan) = track.probes.iter_mut().find(|plan| plan.kind == kind) else {
            return;
        };
        let verdict = plan.result(result.is_ok(), now);
        if let (Verdict::Failing | Verdict::Down, Err(output)) = (verdict, &result) {
            let message = format!("{} probe failed: {output}", kind.name());
            effects.push(Effect::Event {
                warning: true,
                reason: "Unhealthy",
                message,
            });
        }
        match (kind, verdict) {
            (ProbeKind::Startup, Verdict::Up) => track.begin_service(now),
            (ProbeKind::Readiness, Verdict::Up) => track.ready = true,
            (ProbeKind::Readiness, Verdict::Down) => track.ready = false,
            (ProbeKind::Startup | ProbeKind::Liveness, Verdict::Down) if !track.stopping => {
                track.stopping = true;
                track.probes.clear();
                let kind = kind.name().to_lowercase();
                let message = format!("Container {} failed {kind} probe, will be restarted", track.spec.name);
                effects.push(Effect::Event {
                    warning: false,
                    reason: "Killing",
                    message,
                });
                effects.push(Effect::Stop { container, grace });
            }
            _ => {}
        }
    }

    /// The pod's own grace period.
    fn grace(&self) -> Duration {
        let seconds = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds)
            .unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Begins to stop when the pod is marked for deletion, or hurries when the grace became shorter.
    fn order_deletion(&mut self, effects: &mut Vec<Effect>) {
        if self.pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let ordered = self.pod.metadata.deletion_grace_period_seconds;
        let grace = ordered.map_or(self.grace(), |seconds| {
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        });
        match self.ending {
            None => self.end(Ending::Deleted { grace }, grace, effects),
            Some(Ending::Deleted { grace: before }) if grace < before => {
                self.end(Ending::Deleted { grace }, grace, effects);
            }
            Some(_) => {}
        }
    }

    fn end(&mut self, ending: Ending, grace: Duration, effects: &mut Vec<Effect>) {
        self.ending = Some(ending);
        for (container, track) in self.tracks.iter_mut().enumerate() {
            if !matches!(track.state, State::Running { .. }) {
                continue;
            }
            track.probes.clear();
            if !track.stopping {
                let message = format!("Stopping container {}", track.spec.name);
                effects.push(Effect::Event {
                    warning: false,
                    reason: "Killing",
                    message,
                });
            }
            track.stopping = true;
            effects.push(Effect::Stop { container, grace });
        }
    }

    fn advance_into(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(ending) = self.ending {
            if self.is_over() && !self.removed && matches!(ending, Ending::Deleted { .. }) {
                self.removed = true;
                effects.push(Effect::Remove);
            }
            return;
        }
        let turn = self.tracks.iter().position(|track| track.init && !track.succeeded());
        for index in 0..self.tracks.len() {
            // Only the first unfinished init container has its turn, or all ordinary ones.
            if turn.map_or(!self.tracks[index].init, |turn| turn == index) {
                self.consider_start(index, now, effects);
            }
            let track = &mut self.tracks[index];
            let attempt = track.attempt;
            for plan in &mut track.probes {
                if plan.take_due(now) {
                    effects.push(Effect::Probe {
                        container: index,
                        attempt,
                        kind: plan.kind,
                    });
                }
            }
        }
    }

    fn consider_start(&mut self, container: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let track = &self.tracks[container];
        match track.state.clone() {
            State::Starting | State::Running { .. } => {}
            State::Waiting {
                retry_at,
                reason,
                message,
            } => {
                if retry_at.is_some_and(|at| at > now) {
                    return;
                }
                if reason == "ErrImagePull" {
                    self.back_off_pull(container, message, now, effects);
                    return;
                }
                let attempt = self.tracks[container].start();
                effects.push(Effect::Start { container, attempt });
            }
            State::Terminated(ended) if self.restarts(track, &ended) => {
                let Timing {
                    crash_backoff,
                    crash_backoff_max,
                    ..
                } = self.timing;
                let (pod, namespace, uid) = self.full_name();
                let track = &mut self.tracks[container];
                let delay = track.crash.next_after_free(crash_backoff, crash_backoff_max);
                if delay.is_zero() {
                    let attempt = track.start();
                    effects.push(Effect::Start { container, attempt });
                    return;
                }
                let name = track.spec.name.clone();
                let message = format!(
                    "back-off {} restarting failed container={name} pod={pod}_{namespace}({uid})",
                    go(delay)
                );
                track.wait("CrashLoopBackOff", Some(message), Some(now + delay));
                let message = format!("Back-off restarting failed container {name} in pod {pod}_{namespace}({uid})");
                effects.push(Effect::Event {
                    warning: true,
                    reason: "BackOff",
                    message,
                });
            }
            State::Terminated(_) => {}
        }
    }

    /// `ErrImagePull` turns into `ImagePullBackOff` until the next try.
    fn back_off_pull(&mut self, container: usize, error: Option<String>, now: Timestamp, effects: &mut Vec<Effect>) {
        let Timing {
            crash_backoff,
            crash_backoff_max,
            ..
        } = self.timing;
        let track = &mut self.tracks[container];
        let delay = track.pull.next(crash_backoff, crash_backoff_max);
        let back_off = format!(
            "Back-off pulling image \"{}\"",
            track.spec.image.as_deref().unwrap_or_default()
        );
        effects.push(Effect::Event {
            warning: false,
            reason: "BackOff",
            message: back_off.clone(),
        });
        let failed = "Error: ImagePullBackOff".to_owned();
        effects.push(Effect::Event {
            warning: true,
            reason: "Failed",
            message: failed,
        });
        let message = format!("{back_off}: ErrImagePull: {}", error.unwrap_or_default());
        track.wait("ImagePullBackOff", Some(message), Some(now + delay));
    }
}

/// A duration as Go prints it, which is what the kubelet's messages contain: `10s`, `1m20s`, `5m0s`.
fn go(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs_f64() % 60.0);
    if minutes == 0 {
        format!("{seconds}s")
    } else {
        format!("{minutes}m{seconds}s")
    }
}

#[cfg(test)]
mod tests;
