//! What is wrong with one pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};
use k8s_openapi::jiff::Timestamp;

use super::patience::Patience;
use super::verdict::{Cause, Reason};

/// Whether a crashing program ends the wait: a Deployment's does, a Job counts its own failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crashes {
    AreFinal,
    AreCounted,
}

/// Everything that keeps `pod` from becoming ready. `events` may hold events of other objects; only this pod's count.
pub(super) fn causes(pod: &Pod, events: &[&Event], crashes: Crashes, patience: &Patience) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(status) = &pod.status else { return causes };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if status.phase.as_deref() == Some("Failed") && crashes == Crashes::AreFinal {
        let reason = status.reason.as_deref().unwrap_or("Failed");
        let message = status.message.as_deref().unwrap_or("no further message");
        // Its ReplicaSet makes another one; only the deadline says that this does not help.
        causes.push(Cause::new(
            Reason::Evicted,
            "",
            format!("pod {name}: {reason}: {message}"),
            None,
        ));
        return causes;
    }
    for condition in status.conditions.iter().flatten() {
        if condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
        {
            let message = condition.message.as_deref().unwrap_or("no node fits");
            let grace = Some(patience.scheduling);
            causes.push(Cause::new(
                Reason::Unschedulable,
                "",
                format!("pod {name} finds no node: {message}"),
                grace,
            ));
        }
    }
    let statuses = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten());
    let mut creating = false;
    let mut unready = false;
    for container in statuses {
        let waiting = container
            .state
            .as_ref()
            .and_then(|s| s.waiting.as_ref())
            .and_then(|w| w.reason.as_deref());
        creating |= matches!(waiting, Some("ContainerCreating" | "PodInitializing"));
        unready |= container.state.as_ref().is_some_and(|s| s.running.is_some()) && !container.ready;
        causes.extend(container_cause(name, container, crashes, patience));
    }
    causes.extend(event_cause(pod, name, events, creating, unready, patience));
    causes
}

fn container_cause(pod: &str, status: &ContainerStatus, crashes: Crashes, patience: &Patience) -> Option<Cause> {
    let container = status.name.as_str();
    let state = status.state.as_ref()?;
    let last_end = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    if let Some(end) = &state.terminated {
        return crash(pod, status, end, crashes, patience);
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let said = waiting.message.as_deref().unwrap_or_default();
    let cause = |kind, text: String, grace| Cause::new(kind, container, text, Some(grace));
    match reason {
        "InvalidImageName" | "ErrImageNeverPull" => {
            let text = format!(
                "container {container} of pod {pod}: {}",
                image_text(status, reason, said)
            );
            Some(cause(Reason::ImagePull, text, Duration::ZERO))
        }
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            let grace = if is_definite(said) {
                Duration::ZERO
            } else {
                patience.image_pull
            };
            let text = format!(
                "container {container} of pod {pod}: {}",
                image_text(status, reason, said)
            );
            Some(cause(Reason::ImagePull, text, grace))
        }
        "CreateContainerConfigError" => {
            let text = format!("container {container} of pod {pod} cannot be configured: {said}");
            Some(cause(Reason::Configuration, text, patience.configuration))
        }
        "CreateContainerError" | "RunContainerError" | "PreCreateHookError" | "PostStartHookError" => {
            let text = format!("container {container} of pod {pod} cannot be started: {reason}: {said}");
            Some(cause(Reason::CannotStart, text, patience.configuration).with_log(pod, container))
        }
        "CrashLoopBackOff" => match last_end {
            Some(end) => crash(pod, status, end, crashes, patience),
            None => {
                let text = format!("container {container} of pod {pod} keeps ending: {said}");
                Some(cause(Reason::CrashLoop, text, patience.configuration).with_log(pod, container))
            }
        },
        _ => None,
    }
}

fn crash(
    pod: &str,
    status: &ContainerStatus,
    end: &ContainerStateTerminated,
    crashes: Crashes,
    patience: &Patience,
) -> Option<Cause> {
    let container = status.name.as_str();
    let restarts = u32::try_from(status.restart_count).unwrap_or(0);
    let code = end.exit_code;
    // A finished init container, or a Job's container that did its work.
    if code == 0 && (status.ready || crashes == Crashes::AreCounted) {
        return None;
    }
    let how = match (end.reason.as_deref(), end.signal.filter(|s| *s != 0)) {
        (Some("OOMKilled"), _) => "was killed because it used more memory than its limit".to_owned(),
        (Some("StartError" | "ContainerCannotRun"), _) => "could not be started".to_owned(),
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        _ if code == 0 => "ended by itself (exit code 0)".to_owned(),
        _ => format!("ended with exit code {code}"),
    };
    let said = end
        .message
        .as_deref()
        .map(|m| format!(": {}", m.trim()))
        .unwrap_or_default();
    let times = match restarts {
        0 => String::new(),
        1 => " and was restarted once".to_owned(),
        n => format!(" and was restarted {n} times"),
    };
    let text = format!("container {container} of pod {pod} {how}{times}{said}");
    let is_final = crashes == Crashes::AreFinal && restarts >= patience.restarts;
    let cause = Cause::new(Reason::CrashLoop, container, text, is_final.then_some(Duration::ZERO));
    Some(cause.with_log(pod, container))
}

/// Whether the registry (or the name itself) gave an answer that will be the same next time.
fn is_definite(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "not found",
        "manifest unknown",
        "does not exist",
        "no such image",
        "unauthorized",
        "denied",
        "invalid reference",
    ]
    .iter()
    .any(|answer| message.contains(answer))
}

fn image_text(status: &ContainerStatus, reason: &str, said: &str) -> String {
    if said.is_empty() {
        format!("image {} cannot be pulled ({reason})", status.image)
    } else {
        format!("image {} cannot be pulled ({reason}): {said}", status.image)
    }
}

/// Causes that kubelet only tells in events: volumes that do not mount, sandboxes that do not start, probes that fail.
fn event_cause(
    pod: &Pod,
    name: &str,
    events: &[&Event],
    creating: bool,
    unready: bool,
    patience: &Patience,
) -> Option<Cause> {
    let own = events
        .iter()
        .filter(|e| e.involved_object.uid.is_some() && e.involved_object.uid == pod.metadata.uid);
    let latest = own.max_by_key(|e| last_seen(e))?;
    let said = latest.message.as_deref().unwrap_or_default();
    match latest.reason.as_deref()? {
        "FailedMount" | "FailedAttachVolume" if creating => {
            let text = format!("pod {name} cannot mount its volumes: {said}");
            Some(Cause::new(
                Reason::Configuration,
                "volumes",
                text,
                Some(patience.configuration),
            ))
        }
        "FailedCreatePodSandBox" | "FailedPodSandBoxStatus" if creating => {
            let text = format!("pod {name} cannot be set up: {said}");
            Some(Cause::new(
                Reason::CannotStart,
                "sandbox",
                text,
                Some(patience.image_pull),
            ))
        }
        "Unhealthy" if unready => Some(Cause::new(
            Reason::ProbeFailing,
            "probe",
            format!("pod {name} runs but does not answer: {said}"),
            None,
        )),
        _ => None,
    }
}

/// Running this long by the cluster's word is proof enough, whatever our clock says: clocks differ by less.
const PROVEN: Duration = Duration::from_secs(60);

/// The pod's containers that have no readiness probe and started less than a minute ago, and how often each was restarted.
pub(super) fn fresh_programs(pod: &Pod, now: Timestamp) -> Vec<(String, i32)> {
    let containers = pod.spec.iter().flat_map(|s| &s.containers);
    let probed: Vec<&str> = containers
        .filter(|c| c.readiness_probe.is_some())
        .map(|c| c.name.as_str())
        .collect();
    let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    let is_fresh = |status: &&ContainerStatus| {
        let started = status
            .state
            .as_ref()
            .and_then(|s| s.running.as_ref())
            .and_then(|r| r.started_at.as_ref());
        let age = started.map(|t| now.duration_since(t.0).unsigned_abs());
        !probed.contains(&status.name.as_str()) && age.is_none_or(|age| age < PROVEN)
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    statuses
        .filter(is_fresh)
        .map(|status| (format!("{name}/{}", status.name), status.restart_count))
        .collect()
}

/// When the event happened last, in whatever field its writer used.
pub(super) fn last_seen(event: &Event) -> Option<i128> {
    let series = event
        .series
        .as_ref()
        .and_then(|s| s.last_observed_time.as_ref())
        .map(|t| t.0);
    let micro = event.event_time.as_ref().map(|t| t.0);
    let second = event
        .last_timestamp
        .as_ref()
        .or(event.first_timestamp.as_ref())
        .map(|t| t.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|t| t.0);
    series.or(second).or(micro).or(created).map(|t| t.as_nanosecond())
}
