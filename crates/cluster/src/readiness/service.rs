//! When a Service can be reached.

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};

use super::patience::Patience;
use super::verdict::{Cause, Readiness, Reason};

/// A Service is ready when it has the address that its type promises: for a load balancer an external one.
pub(crate) fn readiness(service: Option<&Service>, patience: &Patience) -> Readiness {
    let Some(service) = service else {
        let cause = Cause::new(
            Reason::Missing,
            "",
            "the Service does not exist",
            Some(patience.missing),
        );
        return Readiness::Waiting(vec![cause]);
    };
    let spec = service.spec.clone().unwrap_or_default();
    if spec.cluster_ip.as_deref().unwrap_or_default().is_empty() {
        let cause = Cause::new(Reason::NoAddress, "", "the Service has no cluster address yet", None);
        return Readiness::Waiting(vec![cause]);
    }
    if spec.type_.as_deref() == Some("LoadBalancer") && external(service).next().is_none() {
        let text = "the load balancer has not assigned an external address yet";
        return Readiness::Waiting(vec![Cause::new(Reason::NoAddress, "", text, None)]);
    }
    Readiness::Ready
}

/// The external addresses that a load balancer assigned: an IP address or a host name each.
pub(crate) fn external(service: &Service) -> impl Iterator<Item = &LoadBalancerIngress> {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.into_iter().flat_map(|b| b.ingress.iter().flatten());
    ingress.filter(|i| [&i.ip, &i.hostname].into_iter().flatten().any(|a| !a.is_empty()))
}
