//! What a manifest's pods reserve, for bids and admission.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::object::Object;
use super::quantity;

/// Reserved resources of all pods that run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResourceTotals {
    /// CPU in thousandths of a core, rounded up.
    pub cpu_millicores: u64,
    /// Memory in MiB, rounded up.
    pub memory_mebibytes: u64,
    /// Number of pods.
    pub pods: u32,
}

/// Sums requests over all pods. A container that states only a limit requests that much, one that states nothing requests
/// nothing (Kubernetes, "Resource Management for Pods and Containers"). Saturates instead of overflowing.
pub(super) fn of(objects: &[Object]) -> ResourceTotals {
    let mut cpu_millis = 0_u64;
    let mut memory_millibytes = 0_u128;
    let mut pods = 0_u32;
    for object in objects {
        let Some(spec) = object.pod_spec() else { continue };
        let count = object.pods();
        pods = pods.saturating_add(count);
        cpu_millis = cpu_millis.saturating_add(pod(spec, "cpu").saturating_mul(u64::from(count)));
        memory_millibytes += u128::from(pod(spec, "memory")) * u128::from(count);
    }
    let memory_mebibytes = u64::try_from(memory_millibytes.div_ceil(1000 * 1024 * 1024)).unwrap_or(u64::MAX);
    ResourceTotals {
        cpu_millicores: cpu_millis,
        memory_mebibytes,
        pods,
    }
}

/// One pod's effective request: its containers together, or its largest init container if that is more. Init containers
/// that keep running (sidecars, `restartPolicy: Always`) count with the containers.
fn pod(spec: &PodSpec, resource: &str) -> u64 {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let is_sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let request = |c: &Container| container(c.resources.as_ref(), resource);
    let sidecars = init
        .iter()
        .filter(is_sidecar)
        .map(request)
        .fold(0_u64, u64::saturating_add);
    let running = spec.containers.iter().map(request).fold(sidecars, u64::saturating_add);
    let starting = init
        .iter()
        .filter(|c| !is_sidecar(c))
        .map(request)
        .max()
        .unwrap_or(0)
        .saturating_add(sidecars);
    // Pod-level resources (Kubernetes 1.34) replace the sum where they are stated.
    let stated = container(spec.resources.as_ref(), resource);
    if stated > 0 { stated } else { running.max(starting) }
}

/// A quantity that cannot be read; it would count as nothing in a bid and be refused by the cluster later.
pub(super) fn unreadable_quantity(spec: &PodSpec) -> Option<&Quantity> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let resources = containers.filter_map(|c| c.resources.as_ref()).chain(&spec.resources);
    resources
        .flat_map(|r| r.requests.iter().flatten().chain(r.limits.iter().flatten()))
        .map(|(_, quantity)| quantity)
        .find(|quantity| quantity::thousandths(quantity).is_none())
}

fn container(resources: Option<&ResourceRequirements>, resource: &str) -> u64 {
    let Some(resources) = resources else { return 0 };
    let stated = |map: &Option<BTreeMap<String, Quantity>>| map.as_ref().and_then(|m| m.get(resource)).cloned();
    stated(&resources.requests)
        .or_else(|| stated(&resources.limits))
        .and_then(|q| quantity::thousandths(&q))
        .unwrap_or(0)
}
