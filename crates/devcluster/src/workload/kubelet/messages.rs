//! What a pod's state machine is told and what it orders.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;

use super::probe_plan::ProbeKind;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Input {
    /// The pod as it is in the store now.
    Desired(Arc<Pod>),
    /// The pod is no longer in the store: stop everything at once.
    Gone,
    /// The cluster shuts down: stop everything within this time, and start nothing.
    ShutDown(Duration),
    /// Start number `attempt` of a container succeeded.
    Started { container: usize, attempt: u32 },
    /// It was not possible.
    Refused {
        container: usize,
        attempt: u32,
        refusal: Refusal,
    },
    /// Its process ended.
    Exited {
        container: usize,
        attempt: u32,
        code: i32,
        message: Option<String>,
    },
    /// A probe answered.
    Probed {
        container: usize,
        attempt: u32,
        kind: ProbeKind,
        result: Result<(), String>,
    },
}

/// Why a container could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No executable for the image.
    Image(String),
    /// Its environment refers to something that is missing.
    Config(String),
    /// A volume refers to something that is missing.
    Volume(String),
    /// The executable could not be executed.
    Start(String),
}

/// What shall be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Start {
        container: usize,
        attempt: u32,
    },
    /// SIGTERM, and SIGKILL after `grace` (at once when zero).
    Stop {
        container: usize,
        grace: Duration,
    },
    Probe {
        container: usize,
        attempt: u32,
        kind: ProbeKind,
    },
    Event {
        warning: bool,
        reason: &'static str,
        message: String,
    },
    /// Nothing runs any more: take the pod out of the store.
    Remove,
}
