//! A pod's status from what is known of its containers, and back after a restart. Pure.

use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
        HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::{
    machine::Machine,
    track::{Ended, State, Track},
};

/// Addresses that the status tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) pod: String,
    pub(super) host: String,
}

/// The status of the pod, keeping what others wrote (scheduling and disruption conditions, QoS).
pub(super) fn pod_status(machine: &Machine, addresses: &Addresses, now: Timestamp) -> PodStatus {
    let mut before = machine.pod.status.clone().unwrap_or_default();
    if let Some(reported) = &machine.reported {
        let others = before
            .conditions
            .into_iter()
            .flatten()
            .filter(|other| !OWN.contains(&other.type_.as_str()));
        let own = reported
            .conditions
            .iter()
            .flatten()
            .filter(|own| OWN.contains(&own.type_.as_str()))
            .cloned();
        before.conditions = Some(own.chain(others).collect());
        before.start_time = reported.start_time.clone().or(before.start_time);
    }
    let phase = phase(machine);
    let uid = machine.pod.metadata.uid.clone().unwrap_or_default();
    let statuses = |init: bool| -> Option<Vec<ContainerStatus>> {
        let list: Vec<_> = machine
            .tracks
            .iter()
            .filter(|track| track.init == init)
            .map(|track| container(track, &uid))
            .collect();
        (!list.is_empty()).then_some(list)
    };
    PodStatus {
        conditions: Some(conditions(machine, phase, before.conditions.unwrap_or_default(), now)),
        container_statuses: statuses(false),
        init_container_statuses: statuses(true),
        host_ip: Some(addresses.host.clone()),
        host_ips: Some(vec![HostIP {
            ip: addresses.host.clone(),
        }]),
        phase: Some(phase.to_owned()),
        pod_ip: Some(addresses.pod.clone()),
        pod_ips: Some(vec![PodIP {
            ip: addresses.pod.clone(),
        }]),
        start_time: before.start_time.or(Some(Time(now))),
        ..before
    }
}

/// `Pending` until every container has run, `Running` while one may run, then `Succeeded` or `Failed`.
pub(super) fn phase(machine: &Machine) -> &'static str {
    let over = |track: &Track| match &track.state {
        State::Terminated(ended) => !machine.restarts(track, ended),
        _ => false,
    };
    let failed = |track: &Track| over(track) && !track.succeeded();
    if machine.tracks.iter().any(|track| track.init && failed(track)) {
        return "Failed";
    }
    if !machine.initialized() {
        return "Pending";
    }
    let mut ordinary = machine.tracks.iter().filter(|track| !track.init).peekable();
    if ordinary.peek().is_some() && ordinary.clone().all(over) {
        return if ordinary.any(failed) { "Failed" } else { "Succeeded" };
    }
    if ordinary.all(|track| track.ever_ran) {
        "Running"
    } else {
        "Pending"
    }
}

fn conditions(machine: &Machine, phase: &str, before: Vec<PodCondition>, now: Timestamp) -> Vec<PodCondition> {
    let unready = names(machine, |track| !track.init && !track.ready);
    let waiting_init = names(machine, |track| track.init && !track.succeeded());
    let done = phase == "Succeeded";
    let ready = match (done, unready.is_empty()) {
        (true, _) => Some(("PodCompleted", None)),
        (_, false) if phase == "Failed" => Some(("PodFailed", None)),
        (_, false) => Some((
            "ContainersNotReady",
            Some(format!("containers with unready status: [{unready}]")),
        )),
        (_, true) => None,
    };
    let initialized = (!waiting_init.is_empty()).then(|| {
        (
            "ContainersNotInitialized",
            Some(format!("containers with incomplete status: [{waiting_init}]")),
        )
    });
    let mut next = vec![
        condition("PodReadyToStartContainers", None, &before, now),
        condition("Initialized", initialized, &before, now),
        condition("Ready", ready.clone(), &before, now),
        condition("ContainersReady", ready, &before, now),
    ];
    next.extend(before.into_iter().filter(|other| !OWN.contains(&other.type_.as_str())));
    next
}

/// The conditions that the kubelet writes.
const OWN: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

fn names(machine: &Machine, which: impl Fn(&Track) -> bool) -> String {
    let names: Vec<&str> = machine
        .tracks
        .iter()
        .filter(|track| which(track))
        .map(|track| &*track.spec.name)
        .collect();
    names.join(" ")
}

/// A condition that is `True` without a problem; its transition time moves only when the status does.
fn condition(
    type_: &str,
    problem: Option<(&str, Option<String>)>,
    before: &[PodCondition],
    now: Timestamp,
) -> PodCondition {
    let status = if problem.is_none() { "True" } else { "False" };
    let same = before
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status);
    let (reason, message) = problem.unzip();
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message: message.flatten(),
        last_transition_time: same
            .and_then(|same| same.last_transition_time.clone())
            .or(Some(Time(now))),
        ..PodCondition::default()
    }
}

fn container(track: &Track, pod_uid: &str) -> ContainerStatus {
    let name = track.spec.name.clone();
    let image = track.spec.image.clone().unwrap_or_default();
    let id = |attempt: u32| format!("hanse://{pod_uid}/{name}/{attempt}");
    let ended = |ended: &Ended, attempt: u32| ContainerStateTerminated {
        container_id: Some(id(attempt)),
        exit_code: ended.code,
        reason: Some(ended.reason.clone()),
        message: ended.message.clone(),
        started_at: ended.started.map(Time),
        finished_at: Some(Time(ended.finished)),
        ..ContainerStateTerminated::default()
    };
    let waiting = |reason: &str, message: &Option<String>| ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: message.clone(),
        }),
        ..ContainerState::default()
    };
    let state = match &track.state {
        State::Waiting { reason, message, .. } => waiting(reason, message),
        State::Starting => waiting(
            if track.init {
                "PodInitializing"
            } else {
                "ContainerCreating"
            },
            &None,
        ),
        State::Running { since } => ContainerState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(*since)),
            }),
            ..ContainerState::default()
        },
        State::Terminated(end) => ContainerState {
            terminated: Some(ended(end, track.attempt)),
            ..ContainerState::default()
        },
    };
    let last = track
        .last
        .as_ref()
        .map(|end| ended(end, track.attempt.saturating_sub(1)));
    ContainerStatus {
        container_id: track.ever_ran.then(|| id(track.attempt)),
        image_id: if track.ever_ran { image.clone() } else { String::new() },
        image,
        last_state: Some(ContainerState {
            terminated: last,
            ..ContainerState::default()
        }),
        name,
        ready: if track.init { track.succeeded() } else { track.ready },
        restart_count: track.restarts,
        started: Some(track.started),
        state: Some(state),
        ..ContainerStatus::default()
    }
}

/// Takes over what the stored status says of a pod that ran before the cluster was restarted. What
/// ran then is dead (the supervisor's promise): it ended with an unknown result, code 255.
pub(super) fn recall(pod: &Pod, tracks: &mut [Track], now: Timestamp) {
    let Some(status) = &pod.status else { return };
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let known = lists.into_iter().flatten().flatten();
    for stored in known {
        let Some(track) = tracks.iter_mut().find(|track| track.spec.name == stored.name) else {
            continue;
        };
        track.restarts = stored.restart_count;
        track.ever_ran = stored.container_id.is_some();
        // The number of the last start, so that lock and log files of the next have a new name.
        let id = stored.container_id.as_deref().and_then(|id| id.rsplit('/').next());
        track.attempt = id.and_then(|attempt| attempt.parse().ok()).unwrap_or(0);
        let back = |end: &ContainerStateTerminated| Ended {
            code: end.exit_code,
            reason: end.reason.clone().unwrap_or_default(),
            message: end.message.clone(),
            started: end.started_at.as_ref().map(|time| time.0),
            finished: end.finished_at.as_ref().map_or(now, |time| time.0),
        };
        track.last = stored
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
            .map(back);
        let Some(state) = &stored.state else { continue };
        if let Some(end) = &state.terminated {
            track.state = State::Terminated(back(end));
        } else if let Some(running) = &state.running {
            let started = running.started_at.as_ref().map(|time| time.0);
            let message = Some("The development cluster was restarted".to_owned());
            let reason = "Unknown".to_owned();
            track.state = State::Terminated(Ended {
                code: 255,
                reason,
                message,
                started,
                finished: now,
            });
        }
    }
}
