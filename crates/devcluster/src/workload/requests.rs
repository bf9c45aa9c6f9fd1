//! What a pod asks for: CPU and memory, as the scheduler and quotas count them. Pure.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::quantity;

/// CPU and memory, requested and limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// Thousandths of a CPU.
    pub(crate) cpu_milli: i64,
    /// Bytes.
    pub(crate) memory_bytes: i64,
}

impl Requests {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
        }
    }
}

/// Which figure of a container counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// `resources.requests`, or the limit where there is no request.
    Request,
    /// `resources.limits`.
    Limit,
}

/// The pod's figure: the sum of its containers, or its largest init container if that is more.
pub(crate) fn of_pod(spec: &PodSpec, figure: Figure) -> Requests {
    let sum = spec.containers.iter().map(|container| of_container(container, figure));
    let init = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| of_container(container, figure));
    init.fold(sum.fold(Requests::default(), Requests::plus), Requests::max)
}

fn of_container(container: &Container, figure: Figure) -> Requests {
    let Some(resources) = &container.resources else {
        return Requests::default();
    };
    let find = |name: &str| {
        let limit = resources.limits.as_ref().and_then(|limits| limits.get(name));
        let request = resources.requests.as_ref().and_then(|requests| requests.get(name));
        match figure {
            Figure::Request => request.or(limit),
            Figure::Limit => limit,
        }
    };
    Requests {
        cpu_milli: find("cpu").and_then(quantity::milli).unwrap_or(0),
        memory_bytes: find("memory").and_then(quantity::whole).unwrap_or(0),
    }
}

/// Whether the pod has ended and so holds nothing any more.
pub(crate) fn ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
