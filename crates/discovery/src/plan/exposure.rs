//! Which objects make a swarm reachable.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::{MANAGED_BY, MANAGER, POOL, SWARM, SwarmPool, SwarmSpec};

/// Where the agent listens for a swarm, as the cluster reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its port.
    pub swarm_port: u16,
    /// Port of the read-only HTTP API, if it is served.
    pub api_port: Option<u16>,
}

/// The objects of a swarm. Each is in the pool's namespace and belongs to the pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposure {
    /// Services by name.
    pub services: BTreeMap<String, Value>,
    /// EndpointSlices by name.
    pub slices: BTreeMap<String, Value>,
    /// Traefik's route, by name.
    pub route: Option<(String, Value)>,
    /// Namespace and name of the Service whose address others call, and the name of the port there.
    pub called_at: Option<(String, String, String)>,
}

/// A name that a Service can have: from a pool's and a swarm's names, whatever those are.
fn base_name(pool: &str, swarm: &str) -> String {
    // A Service's name has at most 63 characters, and `-lb` comes behind.
    const MOST: usize = 58;
    let plain = format!("{pool}-{swarm}");
    let fits = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    let begins = plain.starts_with(|character: char| character.is_ascii_lowercase());
    if plain.len() <= MOST && plain.chars().all(fits) && begins {
        return plain;
    }
    let digest = Sha256::digest(plain.as_bytes());
    let tail: String = digest[..5].iter().map(|byte| format!("{byte:02x}")).collect();
    let head: String = plain
        .chars()
        .filter(|character| fits(*character))
        .take(MOST - 14)
        .collect();
    format!("s-{}-{tail}", head.trim_matches('-'))
}

/// The objects that make the swarm of `pool` reachable at `place`; none without `network`.
pub fn exposure(pool: &SwarmPool, swarm: &SwarmSpec, place: &Place) -> Exposure {
    let Some(network) = &swarm.network else {
        return Exposure::default();
    };
    let namespace = pool.namespace().unwrap_or_default();
    let base = base_name(&pool.name_any(), &swarm.name);
    let metadata = |name: &str| {
        json!({
            "name": name,
            "namespace": namespace,
            "labels": {MANAGED_BY: MANAGER, POOL: label(&pool.name_any()), SWARM: swarm.name},
            "ownerReferences": [pool.controller_owner_ref(&())],
        })
    };
    let swarm_port =
        json!({"name": "swarm", "port": network.swarm_port, "targetPort": place.swarm_port, "protocol": "TCP"});
    let api_port = place
        .api_port
        .map(|port| json!({"name": "api", "port": network.api_port, "targetPort": port, "protocol": "TCP"}));
    let inside: Vec<Value> = [Some(swarm_port.clone()), api_port.clone()]
        .into_iter()
        .flatten()
        .collect();
    let mut wanted = Exposure::default();
    let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": spec});
    let mut ports_of = vec![(base.clone(), place.api_port.is_some())];
    let headless = json!({"clusterIP": "None", "type": "ClusterIP", "ports": inside});
    wanted.services.insert(base.clone(), service(&base, headless));
    if let Some(balancer) = &network.load_balancer {
        let name = format!("{base}-lb");
        let shown = api_port.filter(|_| balancer.exposed_api);
        ports_of.push((name.clone(), shown.is_some()));
        let ports: Vec<Value> = [Some(swarm_port), shown].into_iter().flatten().collect();
        let mut spec = json!({"type": "LoadBalancer", "ports": ports});
        if balancer.load_balancer_ip != "auto" {
            spec["loadBalancerIP"] = json!(balancer.load_balancer_ip);
        }
        wanted.services.insert(name.clone(), service(&name, spec));
        wanted.called_at = Some((namespace.clone(), name, "swarm".into()));
    }
    if let Some(traefik) = &network.traefik {
        let route = json!({
            "apiVersion": "traefik.io/v1alpha1",
            "kind": "IngressRouteTCP",
            "metadata": metadata(&base),
            "spec": {
                "entryPoints": [traefik.traefik_entry_point],
                // A swarm's connection is not TLS, so there is no name to tell routes apart by.
                "routes": [{"match": "HostSNI(`*`)", "services": [{"name": base, "port": network.swarm_port}]}],
            },
        });
        wanted.route = Some((base.clone(), route));
        wanted.called_at = Some((
            traefik.traefik_load_balancer_namespace.clone(),
            traefik.traefik_load_balancer_service_name.clone(),
            traefik.traefik_entry_point.clone(),
        ));
    }
    for (service, with_api) in ports_of {
        for (family, of_family) in [
            ("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            ("IPv6", IpAddr::is_ipv6),
        ] {
            let addresses: Vec<String> = place
                .addresses
                .iter()
                .filter(|address| of_family(address))
                .map(ToString::to_string)
                .collect();
            if addresses.is_empty() {
                continue;
            }
            let name = format!("{service}-{}", family.to_lowercase());
            let mut meta = metadata(&name);
            meta["labels"]["kubernetes.io/service-name"] = json!(service);
            let mut ports = vec![json!({"name": "swarm", "port": place.swarm_port, "protocol": "TCP"})];
            ports.extend(
                place
                    .api_port
                    .filter(|_| with_api)
                    .map(|port| json!({"name": "api", "port": port, "protocol": "TCP"})),
            );
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": meta,
                "addressType": family,
                "endpoints": [{"addresses": addresses, "conditions": {"ready": true}}],
                "ports": ports,
            });
            wanted.slices.insert(name, slice);
        }
    }
    wanted
}

/// A pool's name as a label's value: those have at most 63 characters.
pub fn label(name: &str) -> String {
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(|character: char| !character.is_ascii_alphanumeric())
        .to_owned()
}

/// Where a load balancer is reached: IP addresses, or names where it has none.
pub fn ingress(service: &Service) -> Vec<String> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = balancer.and_then(|balancer| balancer.ingress.as_ref());
    points
        .into_iter()
        .flatten()
        .filter_map(|point| point.ip.clone().or_else(|| point.hostname.clone()))
        .collect()
}

/// The multiaddrs of these hosts.
pub fn addresses(hosts: &[String], port: u16, peer_id: &str) -> Vec<String> {
    let kind = |host: &str| match host.parse() {
        Ok(IpAddr::V4(_)) => "ip4",
        Ok(IpAddr::V6(_)) => "ip6",
        Err(_) => "dns",
    };
    let each = hosts
        .iter()
        .map(|host| format!("/{}/{host}/tcp/{port}/p2p/{peer_id}", kind(host)));
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_names_make_a_name_of_a_service() {
        assert_eq!(
            base_name("cluster1-private", "cluster1-private"),
            "cluster1-private-cluster1-private"
        );
        let long = "x".repeat(200);
        let names = [
            base_name("1pool", "s"),
            base_name("a.b", "s"),
            base_name("a-b", "s"),
            base_name(&long, "s"),
            base_name(&long, "t"),
        ];
        for (index, name) in names.iter().enumerate() {
            assert!(
                name.len() <= 58 && name.starts_with(|first: char| first.is_ascii_lowercase()),
                "{name}"
            );
            assert!(!names[..index].contains(name), "{name} is there twice");
        }
    }

    #[test]
    fn addresses_say_what_kind_of_host_they_are_of() {
        let hosts = ["34.78.69.228".to_owned(), "fd00::1".to_owned(), "lb.example".to_owned()];
        assert_eq!(
            addresses(&hosts, 4001, "12D3"),
            [
                "/ip4/34.78.69.228/tcp/4001/p2p/12D3",
                "/ip6/fd00::1/tcp/4001/p2p/12D3",
                "/dns/lb.example/tcp/4001/p2p/12D3"
            ]
        );
    }
}
