//! Where a deployed service can be reached.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Service, ServicePort as KubeServicePort};
use kube::Api;
use kube::api::ListParams;
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::error::{ClusterError, Permanent};
use crate::manifest::{Kind, Manifest, ObjectRef};
use crate::readiness::{NotReady, Reason, service_addresses};

/// Which address of a Service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// The address that a load balancer assigned: reachable from outside. Services of other types are left out.
    LoadBalancer,
    /// The cluster's nodes and the ports that they forward. Services without node ports are left out. Needs the right to
    /// list nodes.
    NodePort,
    /// The address inside the cluster. Headless Services are left out.
    ClusterIp,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A host: by address or by name. Serialises as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name; some cloud load balancers give no address.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl From<String> for Host {
    /// What is no IP address is a name.
    fn from(text: String) -> Self {
        text.parse().map_or(Self::Name(text), Self::Ip)
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

impl Host {
    /// Reads what a cluster reports.
    fn read(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServicePort {
    /// The port's name, if it has one.
    pub name: Option<String>,
    /// The number under which the host answers.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// Where one Service answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// The Service's name.
    pub service: String,
    /// Its hosts; each answers on all ports. Never empty.
    pub hosts: Vec<Host>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// No addresses.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// They did not come in time.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// Asking for them failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl From<Permanent> for AddressError {
    fn from(error: Permanent) -> Self {
        Self::Cluster(error.into())
    }
}

impl Cluster {
    /// Where the manifest's Services answer; waits until they have their addresses.
    ///
    /// Returns one entry for each Service that has an address of this kind by its type, in the manifest's order; so the list
    /// may be empty.
    ///
    /// # Errors
    /// [`AddressError::NotReady`] with [`Reason::NoAddress`] when an address was not assigned in time.
    pub async fn addresses(
        &self,
        namespace: &str,
        manifest: &Manifest,
        exposure: Exposure,
        within: Duration,
    ) -> Result<Vec<ServiceAddress>, AddressError> {
        let names: Vec<&str> = manifest.services().filter_map(|s| s.metadata.name.as_deref()).collect();
        self.addresses_of(namespace, &names, exposure, within).await
    }

    async fn addresses_of(
        &self,
        namespace: &str,
        names: &[&str],
        exposure: Exposure,
        within: Duration,
    ) -> Result<Vec<ServiceAddress>, AddressError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let objects = names.iter().map(|name| ObjectRef::new(Kind::Service, *name)).collect();
        let (_, observation) = self.wait_for(namespace, objects, within).await?;
        let nodes = if exposure == Exposure::NodePort {
            self.node_hosts().await?
        } else {
            Vec::new()
        };
        let mut addresses = Vec::new();
        for &name in names {
            let Some(service) = observation.service(name) else {
                let object = ObjectRef::new(Kind::Service, name);
                let message = "the Service was deleted meanwhile".to_owned();
                let (reason, log) = (Reason::Missing, Vec::new());
                return Err(NotReady {
                    object,
                    reason,
                    message,
                    hint: reason.hint(),
                    log,
                    deadline: None,
                }
                .into());
            };
            addresses.extend(address(name, &service, exposure, &nodes)?);
        }
        Ok(addresses)
    }

    /// Where one Service answers; `None` if its type gives it no address of this kind. As [`addresses`](Self::addresses).
    ///
    /// # Errors
    /// As [`addresses`](Self::addresses).
    pub async fn service_address(
        &self,
        namespace: &str,
        service: &str,
        exposure: Exposure,
        within: Duration,
    ) -> Result<Option<ServiceAddress>, AddressError> {
        Ok(self.addresses_of(namespace, &[service], exposure, within).await?.pop())
    }

    /// The nodes' addresses: external ones if there are any, else internal ones.
    async fn node_hosts(&self) -> Result<Vec<Host>, ClusterError> {
        let nodes: Api<Node> = Api::all(self.client().clone());
        let nodes = self
            .request("listing the cluster's nodes", nodes.list(&ListParams::default()))
            .await?;
        let addresses = || {
            nodes
                .iter()
                .flat_map(|n| n.status.iter())
                .flat_map(|s| s.addresses.iter().flatten())
        };
        let of = |kind: &str| {
            addresses()
                .filter(|a| a.type_ == kind)
                .map(|a| Host::read(&a.address))
                .collect::<Vec<_>>()
        };
        let external = of("ExternalIP");
        Ok(if external.is_empty() {
            of("InternalIP")
        } else {
            external
        })
    }
}

fn address(
    name: &str,
    service: &Service,
    exposure: Exposure,
    nodes: &[Host],
) -> Result<Option<ServiceAddress>, Permanent> {
    let spec = service.spec.clone().unwrap_or_default();
    let number = |port: &KubeServicePort| match exposure {
        Exposure::NodePort => port.node_port.filter(|n| *n != 0),
        Exposure::LoadBalancer | Exposure::ClusterIp => Some(port.port),
    };
    let mut hosts: Vec<Host> = match exposure {
        Exposure::LoadBalancer => service_addresses(service)
            .filter_map(|i| i.ip.as_deref().or(i.hostname.as_deref()))
            .map(Host::read)
            .collect(),
        Exposure::NodePort => nodes.to_vec(),
        Exposure::ClusterIp => {
            let ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
            ips.filter(|ip| *ip != "None" && !ip.is_empty())
                .map(|ip| Host::read(ip))
                .collect()
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    let mut ports = Vec::new();
    for port in spec.ports.iter().flatten() {
        let Some(number) = number(port) else { continue };
        ports.push(ServicePort {
            name: port.name.clone(),
            port: port_number(name, number)?,
            protocol: protocol(name, port)?,
        });
    }
    Ok((!hosts.is_empty() && !ports.is_empty()).then(|| ServiceAddress {
        service: name.to_owned(),
        hosts,
        ports,
    }))
}

fn port_number(service: &str, number: i32) -> Result<u16, Permanent> {
    u16::try_from(number).map_err(|_| unexpected(service, format!("port {number}")))
}

fn protocol(service: &str, port: &KubeServicePort) -> Result<Protocol, Permanent> {
    match port.protocol.as_deref() {
        None | Some("TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(unexpected(service, format!("protocol {other}"))),
    }
}

fn unexpected(service: &str, message: String) -> Permanent {
    Permanent::Unexpected {
        doing: format!("reading the address of Service \"{service}\""),
        message,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn balanced() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "s"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ports": [
                {"name": "frames", "port": 5559, "protocol": "UDP", "nodePort": 30001},
                {"port": 80}
            ]},
            "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.9"}, {"hostname": "lb.example"}, {"ip": "127.0.0.9"}]}}
        }))
        .unwrap()
    }

    #[test]
    fn each_exposure_gives_its_hosts_and_ports() {
        let nodes = [Host::Name("node-1".to_owned())];
        for (exposure, hosts, ports) in [
            (Exposure::LoadBalancer, vec!["127.0.0.9", "lb.example"], vec![5559, 80]),
            (Exposure::NodePort, vec!["node-1"], vec![30001]),
            (Exposure::ClusterIp, vec!["10.0.0.1", "fd00::1"], vec![5559, 80]),
        ] {
            let found = address("s", &balanced(), exposure, &nodes).unwrap().unwrap();
            assert_eq!(
                found.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
                hosts,
                "{exposure:?}"
            );
            assert_eq!(
                found.ports.iter().map(|p| p.port).collect::<Vec<_>>(),
                ports,
                "{exposure:?}"
            );
            assert_eq!(
                (found.ports[0].protocol, found.ports[0].name.as_deref()),
                (Protocol::Udp, Some("frames"))
            );
        }
    }

    #[test]
    fn a_service_without_such_an_address_gives_none() {
        let inside: Service = serde_json::from_value(json!({
            "metadata": {"name": "s"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}
        }))
        .unwrap();
        for exposure in [Exposure::LoadBalancer, Exposure::NodePort, Exposure::ClusterIp] {
            assert_eq!(address("s", &inside, exposure, &[]).unwrap(), None, "{exposure:?}");
        }
    }

    #[test]
    fn nonsense_from_the_cluster_is_an_error() {
        for port in [json!({"port": 70000}), json!({"port": 1, "protocol": "ICMP"})] {
            let mut service = balanced();
            service.spec.as_mut().unwrap().ports = Some(vec![serde_json::from_value(port).unwrap()]);
            assert!(address("s", &service, Exposure::LoadBalancer, &[]).is_err());
        }
    }

    #[test]
    fn an_address_reads_back_as_written() {
        let found = address("s", &balanced(), Exposure::LoadBalancer, &[]).unwrap().unwrap();
        let text = serde_json::to_string(&found).unwrap();
        assert!(
            text.contains(r#""hosts":["127.0.0.9","lb.example"]"#) && text.contains(r#""protocol":"UDP""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<ServiceAddress>(&text).unwrap(), found);
    }
}
