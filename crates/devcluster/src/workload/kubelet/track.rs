//! What is known of one container of a pod. Pure.

use k8s_openapi::{api::core::v1::Container, jiff::Timestamp};

use super::{
    backoff::Backoff,
    probe_plan::{ProbeKind, ProbePlan},
};

/// The end of a container's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Exit code; 128 + number for a signal.
    pub(super) code: i32,
    pub(super) reason: String,
    pub(super) message: Option<String>,
    pub(super) started: Option<Timestamp>,
    pub(super) finished: Timestamp,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing runs. `retry_at` is when to try again; `None` means as soon as allowed.
    Waiting {
        reason: &'static str,
        message: Option<String>,
        retry_at: Option<Timestamp>,
    },
    /// It was asked to be started and has not answered.
    Starting,
    /// Its process runs.
    Running { since: Timestamp },
    /// Its process has ended.
    Terminated(Ended),
}

/// One container, from its first start to the end of its pod.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) spec: Container,
    /// Runs to completion before the ordinary containers.
    pub(super) init: bool,
    pub(super) state: State,
    pub(super) last: Option<Ended>,
    pub(super) restarts: i32,
    /// Number of the start that messages from outside refer to; late ones of an earlier are ignored.
    pub(super) attempt: u32,
    pub(super) ever_ran: bool,
    pub(super) ready: bool,
    pub(super) started: bool,
    pub(super) probes: Vec<ProbePlan>,
    pub(super) crash: Backoff,
    pub(super) pull: Backoff,
    /// It has been told to stop.
    pub(super) stopping: bool,
}

impl Track {
    pub(super) fn new(spec: Container, init: bool) -> Self {
        let reason = if init { "PodInitializing" } else { "ContainerCreating" };
        Self {
            spec,
            init,
            state: State::Waiting {
                reason,
                message: None,
                retry_at: None,
            },
            last: None,
            restarts: 0,
            attempt: 0,
            ever_ran: false,
            ready: false,
            started: false,
            probes: Vec::new(),
            crash: Backoff::default(),
            pull: Backoff::default(),
            stopping: false,
        }
    }

    /// A process exists or may exist.
    pub(super) fn alive(&self) -> bool {
        matches!(self.state, State::Starting | State::Running { .. })
    }

    pub(super) fn succeeded(&self) -> bool {
        matches!(&self.state, State::Terminated(ended) if ended.code == 0)
    }

    /// Notes that the process runs since `now` and plans its probes.
    pub(super) fn run(&mut self, now: Timestamp) {
        if self.ever_ran {
            self.restarts = self.restarts.saturating_add(1);
        }
        self.ever_ran = true;
        self.stopping = false;
        self.pull.reset();
        self.state = State::Running { since: now };
        self.probes.clear();
        match self.spec.startup_probe.as_ref().filter(|_| !self.init) {
            Some(probe) => self.probes.push(ProbePlan::new(ProbeKind::Startup, probe, now)),
            None => self.begin_service(now),
        }
    }

    /// The start-up is over: readiness and liveness count from now on.
    pub(super) fn begin_service(&mut self, now: Timestamp) {
        self.started = true;
        self.probes.clear();
        if self.init {
            return;
        }
        match &self.spec.readiness_probe {
            Some(probe) => self.probes.push(ProbePlan::new(ProbeKind::Readiness, probe, now)),
            None => self.ready = true,
        }
        if let Some(probe) = &self.spec.liveness_probe {
            self.probes.push(ProbePlan::new(ProbeKind::Liveness, probe, now));
        }
    }

    /// Notes the end of the process.
    pub(super) fn end(&mut self, code: i32, reason: &str, message: Option<String>, now: Timestamp) {
        let started = match self.state {
            State::Running { since } => Some(since),
            _ => None,
        };
        self.state = State::Terminated(Ended {
            code,
            reason: reason.to_owned(),
            message,
            started,
            finished: now,
        });
        self.ready = false;
        self.started = false;
        self.stopping = false;
        self.probes.clear();
    }

    /// Waits, remembering how it ended before.
    pub(super) fn wait(&mut self, reason: &'static str, message: Option<String>, retry_at: Option<Timestamp>) {
        if let State::Terminated(ended) = &self.state {
            self.last = Some(ended.clone());
        }
        self.state = State::Waiting {
            reason,
            message,
            retry_at,
        };
    }

    /// Asks for a start.
    pub(super) fn start(&mut self) -> u32 {
        if let State::Terminated(ended) = &self.state {
            self.last = Some(ended.clone());
        }
        self.state = State::Starting;
        self.attempt += 1;
        self.attempt
    }
}
