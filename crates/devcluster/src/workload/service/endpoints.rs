//! Which pods stand behind a Service, as EndpointSlices and Endpoints. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{
            EndpointAddress, EndpointPort as OldPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
        },
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{ResourceExt as _, api::ObjectMeta};

use crate::workload::{control, pod_health, requests};

/// Name of the label that ties a slice to its Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// One port of a Service as it is at a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) port: i32,
}

/// Whether the Service's selector selects the pod. A Service without selector selects none.
pub(super) fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .filter(|labels| !labels.is_empty());
    selector.is_some_and(|selector| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value)))
}

/// The Service's ports at this pod; a named port that the pod does not have is left out.
fn targets(service: &Service, pod: &Pod) -> Vec<Target> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let find = |name: &str, protocol: &str| {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
        let same = |other: Option<&str>| other.unwrap_or("TCP") == protocol;
        ports
            .find(|port| port.name.as_deref() == Some(name) && same(port.protocol.as_deref()))
            .map(|port| port.container_port)
    };
    ports
        .into_iter()
        .flatten()
        .filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let number = match &port.target_port {
                None => Some(port.port),
                Some(IntOrString::Int(0)) => Some(port.port),
                Some(IntOrString::Int(number)) => Some(*number),
                Some(IntOrString::String(name)) => find(name, &protocol),
            };
            Some(Target {
                name: port.name.clone().unwrap_or_default(),
                protocol,
                port: number?,
            })
        })
        .collect()
}

/// The slices of a Service with a selector: one for each set of port numbers.
pub(super) fn slices(service: &Service, pods: &[Pod]) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<Vec<Target>, Vec<Endpoint>> = BTreeMap::new();
    let publish_all = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    for pod in pods.iter().filter(|pod| selects(service, pod) && !requests::ended(pod)) {
        let address = pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.clone())
            .filter(|ip| !ip.is_empty());
        let Some(address) = address else { continue };
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let ready = pod_health::ready(pod);
        groups.entry(targets(service, pod)).or_default().push(Endpoint {
            addresses: vec![address],
            conditions: Some(EndpointConditions {
                ready: Some(publish_all || (ready && !terminating)),
                serving: Some(publish_all || ready),
                terminating: Some(terminating),
            }),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(reference(pod)),
            ..Endpoint::default()
        });
    }
    if groups.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    groups
        .into_iter()
        .enumerate()
        .map(|(index, (targets, mut endpoints))| {
            endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
            slice(service, index, &targets, endpoints)
        })
        .collect()
}

fn slice(service: &Service, index: usize, targets: &[Target], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let labels = [
        (SERVICE_NAME, service.name_any()),
        (MANAGED_BY, "endpointslice-controller.k8s.io".to_owned()),
    ];
    let inherited = service.labels().iter().map(|(key, value)| (key.clone(), value.clone()));
    let ports = targets.iter().map(|target| EndpointPort {
        name: Some(target.name.clone()),
        port: Some(target.port),
        protocol: Some(target.protocol.clone()),
        ..EndpointPort::default()
    });
    EndpointSlice {
        metadata: ObjectMeta {
            // Made from the Service's uid, so that a repeat after a crash finds it.
            name: Some(format!(
                "{}-{}{index}",
                service.name_any(),
                short(&service.uid().unwrap_or_default())
            )),
            namespace: service.namespace(),
            labels: Some(
                inherited
                    .chain(labels.map(|(key, value)| (key.to_owned(), value)))
                    .collect(),
            ),
            owner_references: Some(vec![control::controlled_by(service)]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}

/// Five characters of a uid.
fn short(uid: &str) -> String {
    uid.chars().filter(char::is_ascii_alphanumeric).take(5).collect()
}

fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        name: Some(pod.name_any()),
        namespace: pod.namespace(),
        uid: pod.uid(),
        ..ObjectReference::default()
    }
}

/// The older form of the same: one Endpoints object with a subset for each slice.
pub(super) fn endpoints(service: &Service, slices: &[EndpointSlice]) -> Endpoints {
    let subset = |slice: &EndpointSlice| {
        let addresses = |ready: bool| -> Option<Vec<EndpointAddress>> {
            let list: Vec<EndpointAddress> = slice
                .endpoints
                .iter()
                .flatten()
                .filter(|endpoint| is_ready(endpoint) == ready)
                .map(|endpoint| EndpointAddress {
                    ip: endpoint.addresses.first().cloned().unwrap_or_default(),
                    node_name: endpoint.node_name.clone(),
                    target_ref: endpoint.target_ref.clone(),
                    hostname: None,
                })
                .collect();
            (!list.is_empty()).then_some(list)
        };
        let ports = slice.ports.iter().flatten().map(|port| OldPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: port.port.unwrap_or(0),
            protocol: port.protocol.clone(),
            app_protocol: None,
        });
        EndpointSubset {
            addresses: addresses(true),
            not_ready_addresses: addresses(false),
            ports: Some(ports.collect()),
        }
    };
    let subsets: Vec<EndpointSubset> = slices
        .iter()
        .filter(|slice| slice.endpoints.as_ref().is_some_and(|endpoints| !endpoints.is_empty()))
        .map(subset)
        .collect();
    Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(service.labels().clone()).filter(|labels| !labels.is_empty()),
            owner_references: Some(vec![control::controlled_by(service)]),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

/// Whether new connections may go there. Unknown counts as ready (API reference).
pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn pod(name: &str, ip: Option<&str>, ready: &str, port: i32) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "x"}},
            "spec": {"containers": [{"name": "m", "ports": [{"name": "http", "containerPort": port}]}]},
            "status": {"podIP": ip, "phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}}),
        )
        .unwrap()
    }

    #[test]
    fn ready_pods_are_ready_endpoints_and_named_ports_are_found_at_each_pod() {
        let service: Service = serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n", "uid": "u"},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": "http"}]}}))
        .unwrap();
        let mut ending = pod("d", Some("127.0.0.4"), "True", 8080);
        ending.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let mut other = pod("e", Some("127.0.0.9"), "True", 8080);
        other.metadata.labels = None;
        let pods = [
            pod("a", Some("127.0.0.1"), "True", 8080),
            pod("b", Some("127.0.0.2"), "False", 8080),
            pod("c", None, "True", 8080),
            ending,
            pod("f", Some("127.0.0.5"), "True", 9090),
            other,
        ];
        let slices = slices(&service, &pods);
        let seen: Vec<(i32, Vec<(String, bool)>)> = slices
            .iter()
            .map(|slice| {
                let endpoints = slice.endpoints.iter().flatten();
                let port = slice.ports.as_ref().unwrap()[0].port.unwrap();
                (
                    port,
                    endpoints
                        .map(|endpoint| (endpoint.addresses[0].clone(), is_ready(endpoint)))
                        .collect(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (
                    8080,
                    vec![
                        ("127.0.0.1".into(), true),
                        ("127.0.0.2".into(), false),
                        ("127.0.0.4".into(), false)
                    ]
                ),
                (9090, vec![("127.0.0.5".into(), true)])
            ]
        );
        let old = endpoints(&service, &slices);
        let subset = &old.subsets.unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap().len(), 1);
        assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), 2);
    }
}
