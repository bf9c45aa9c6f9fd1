//! The words in which readiness is judged.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::manifest::ObjectRef;

/// Why something does not become ready. Ordered from the most to the least telling, for choosing what to report first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum Reason {
    /// The agent may not look.
    Forbidden,
    /// The image cannot be had: wrong name, not in the registry, no access, registry away.
    ImagePull,
    /// The pod refers to a ConfigMap, Secret or key that is not there, or its volumes cannot be mounted.
    Configuration,
    /// The container runtime cannot start the container: no such program, no sandbox, …
    CannotStart,
    /// The program starts and ends again and again.
    CrashLoop,
    /// A Job gave up.
    JobFailed,
    /// The namespace's quota does not allow the pods.
    QuotaExceeded,
    /// The cluster refuses the pods for another reason, e.g. an admission policy.
    Rejected,
    /// No node has room, or none fits.
    Unschedulable,
    /// A node threw the pod out or refused it.
    Evicted,
    /// The Deployment's own progress deadline passed.
    ProgressDeadline,
    /// The program runs but its readiness probe fails.
    ProbeFailing,
    /// No address was assigned to a Service.
    NoAddress,
    /// The object is not there.
    Missing,
    /// It is still starting; nothing is wrong but time.
    Starting,
    /// The cluster does not answer.
    Unreachable,
}

impl Reason {
    /// What a person should do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Forbidden => "give the agent's account the rights that `hanse check` lists",
            Self::ImagePull => {
                "check the image's name and tag, and that the cluster can reach its registry and may read it"
            }
            Self::Configuration => "add the missing ConfigMap, Secret or key to the manifest, or correct its name",
            Self::CannotStart => "check the container's command, working directory and security context",
            Self::CrashLoop => "read the log lines above; the program must keep running once it has started",
            Self::JobFailed => "read the log lines above; delete the Job before it is deployed again",
            Self::QuotaExceeded => "ask for fewer replicas or smaller requests, or raise the namespace's ResourceQuota",
            Self::Rejected => "change the pods so that the cluster's admission policies accept them",
            Self::Unschedulable => "ask for less CPU or memory, or give the cluster a node that fits",
            Self::Evicted => "the node ran out of a resource; set requests that match what the program uses",
            Self::ProgressDeadline => {
                "look at the pods' events; raise spec.progressDeadlineSeconds if the program is slow to start"
            }
            Self::ProbeFailing => {
                "check the readiness probe's path and port, and that the program listens on all addresses"
            }
            Self::NoAddress => {
                "install a load balancer controller (e.g. MetalLB) with free addresses, or use type NodePort"
            }
            Self::Missing => "apply the manifest again; something deleted the object",
            Self::Starting => "allow more time, or look at the pods' events",
            Self::Unreachable => "check that the Kubernetes API is up and that the kubeconfig points to it",
        }
    }

    /// Whether trying the same manifest again later may succeed. The others need a change of the manifest or of rights.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::QuotaExceeded
                | Self::Unschedulable
                | Self::Evicted
                | Self::NoAddress
                | Self::Missing
                | Self::Starting
                | Self::Unreachable
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Something that keeps an object from becoming ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The class it belongs to.
    pub reason: Reason,
    /// What it concerns, e.g. a container's name. A cause that moves from one pod to the next of the same Deployment is
    /// the same cause, so pods are not part of it.
    pub subject: String,
    /// What happened, for people.
    pub message: String,
    /// Pod and container whose log tells more, if one does.
    pub log: Option<(String, String)>,
    /// How long the cause must last without a break before it counts as final; `None` leaves it to the deadline.
    pub grace: Option<Duration>,
}

impl Cause {
    pub(super) fn new(reason: Reason, subject: &str, message: impl Into<String>, grace: Option<Duration>) -> Self {
        Self {
            reason,
            subject: subject.to_owned(),
            message: message.into(),
            log: None,
            grace,
        }
    }

    pub(super) fn with_log(mut self, pod: &str, container: &str) -> Self {
        self.log = Some((pod.to_owned(), container.to_owned()));
        self
    }
}

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// As the manifest wants it.
    Ready,
    /// As the manifest wants it, but some programs without a readiness probe have only just started. Whether they stay up,
    /// only time tells.
    Settling {
        /// Stands for the programs and changes with each restart.
        programs: String,
        /// Whether one of them has ended before.
        restarted: bool,
    },
    /// Not yet, and why: a cause that is not (or not yet) final. Never empty; the most telling cause comes first.
    Waiting(Vec<Cause>),
}

impl Readiness {
    /// Waits for `causes`, or for nothing but time if there are none.
    pub(super) fn waiting(mut causes: Vec<Cause>, otherwise: impl FnOnce() -> String) -> Self {
        if causes.is_empty() {
            causes.push(Cause::new(Reason::Starting, "", otherwise(), None));
        }
        causes.sort_by_key(|c| c.reason);
        Self::Waiting(causes)
    }
}

/// A deployed object that did not become ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotReady {
    /// The object that is not ready.
    pub object: ObjectRef,
    /// The class of the cause.
    pub reason: Reason,
    /// What happened, for people.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
    /// Last log lines of the program concerned, if it ran.
    pub log: Vec<String>,
    /// The deadline, if it was reached; `None` when the cause was final before.
    pub deadline: Option<Duration>,
}

impl NotReady {
    /// Whether trying the same manifest again later may succeed.
    pub fn is_retryable(&self) -> bool {
        self.reason.is_retryable()
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not ready", self.object)?;
        if let Some(deadline) = self.deadline {
            write!(f, " after {} s", deadline.as_secs_f32())?;
        }
        write!(f, ": {}", self.message)?;
        for line in &self.log {
            write!(f, "\n    | {line}")?;
        }
        if self.log.is_empty() {
            write!(f, "; {}", self.hint)
        } else {
            write!(f, "\n{}", self.hint)
        }
    }
}
