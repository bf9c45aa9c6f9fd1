//! Makes a swarm reachable: Services, EndpointSlices, Traefik's route.

use std::collections::BTreeSet;
use std::fmt::Debug;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, DynamicObject, ListParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CallError, Shared, apply, route_kind, within};
use crate::model::{POOL, SwarmPool, SwarmSpec, Truth};
use crate::plan::{Exposure, Finding, Place, addresses, exposure, holds, ingress, label};
use crate::watched::{Name, Seen, Watched};

/// Type of the condition.
const KIND: &str = "Exposed";

/// What became of making a swarm reachable.
pub struct Exposed {
    /// The condition, if the pool asks for anything.
    pub finding: Option<Finding>,
    /// Where others call.
    pub addresses: Vec<String>,
    /// Something could not be done.
    pub failed: bool,
}

/// Which objects are needed.
#[derive(Debug, Default)]
pub struct Needed {
    /// Services, those of others too.
    pub services: BTreeSet<Name>,
    /// EndpointSlices.
    pub slices: BTreeSet<Name>,
    /// Routes.
    pub routes: BTreeSet<Name>,
}

/// Writes what is missing or differs, and looks where others call.
pub async fn expose(
    shared: &Shared,
    pool: &SwarmPool,
    swarm: &SwarmSpec,
    place: &Place,
    peer_id: &str,
    needed: &mut Needed,
) -> Exposed {
    let wanted = exposure(pool, swarm, place);
    let namespace = pool.namespace().unwrap_or_default();
    let (Some(network), Some((at_namespace, at_name, at_port))) = (&swarm.network, &wanted.called_at) else {
        return Exposed {
            finding: None,
            addresses: Vec::new(),
            failed: false,
        };
    };
    let troubled = |finding| Exposed {
        finding: Some(finding),
        addresses: Vec::new(),
        failed: true,
    };
    if place.addresses.is_empty() {
        return troubled(Finding::bad(
            KIND,
            "NoAddress",
            "the agent's configuration does not say at which of its addresses this cluster reaches it; set discovery.addresses, in a pod to the pod's address",
        ));
    }
    if let Err(finding) = write(shared, &namespace, &wanted, needed).await {
        return troubled(finding);
    }
    needed.services.insert((at_namespace.clone(), at_name.clone()));
    let (hosts, port) = match shared.services.get(at_namespace, at_name) {
        Seen::There(service) => {
            let port = match network.traefik {
                Some(_) => port_named(&service, at_port).unwrap_or(network.swarm_port),
                None => network.swarm_port,
            };
            (ingress(&service), port)
        }
        Seen::Absent if network.traefik.is_some() => {
            return troubled(Finding::bad(
                KIND,
                "TraefikServiceNotFound",
                format!(
                    "there is no Service {at_namespace}/{at_name}, which is said to be Traefik's; correct traefikLoadBalancerServiceName and traefikLoadBalancerNamespace"
                ),
            ));
        }
        Seen::Failed(reason) => {
            return troubled(Finding::bad(
                KIND,
                "ServiceUnreadable",
                format!("the Service {at_namespace}/{at_name} can't be read: {reason}"),
            ));
        }
        Seen::NotYet | Seen::Absent | Seen::NoSuchKind => (Vec::new(), network.swarm_port),
    };
    let finding = if hosts.is_empty() {
        let text = format!(
            "the Service {at_namespace}/{at_name} has no address yet; is there a load balancer controller in this cluster?"
        );
        Finding::new(KIND, Truth::Unknown, "AddressPending", text)
    } else {
        let text = format!("others call {}, port {port}", hosts.join(", "));
        Finding::good(KIND, "Exposed", text)
    };
    Exposed {
        finding: Some(finding),
        addresses: addresses(&hosts, port, peer_id),
        failed: false,
    }
}

fn port_named(service: &Service, name: &str) -> Option<u16> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let port = ports
        .into_iter()
        .flatten()
        .find(|port| port.name.as_deref() == Some(name));
    u16::try_from(port?.port).ok()
}

async fn write(shared: &Shared, namespace: &str, wanted: &Exposure, needed: &mut Needed) -> Result<(), Finding> {
    for (name, object) in &wanted.services {
        needed.services.insert((namespace.to_owned(), name.clone()));
        put(&shared.services, &shared.api(namespace), namespace, name, object).await?;
    }
    for (name, object) in &wanted.slices {
        needed.slices.insert((namespace.to_owned(), name.clone()));
        put(&shared.slices, &shared.api(namespace), namespace, name, object).await?;
    }
    if let Some((name, object)) = &wanted.route {
        needed.routes.insert((namespace.to_owned(), name.clone()));
        let api = Api::namespaced_with(shared.client.clone(), namespace, &route_kind());
        put(&shared.routes, &api, namespace, name, object).await?;
    }
    Ok(())
}

async fn put<K>(watched: &Watched<K>, api: &Api<K>, namespace: &str, name: &str, wanted: &Value) -> Result<(), Finding>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug + Send + Sync + 'static,
{
    match watched.get(namespace, name) {
        Seen::There(live) => {
            let live = serde_json::to_value(&*live).unwrap_or_default();
            if holds(&live["spec"], &wanted["spec"])
                && holds(&live["metadata"], &wanted["metadata"])
                && holds(&live["endpoints"], &wanted["endpoints"])
                && holds(&live["ports"], &wanted["ports"])
            {
                return Ok(());
            }
        }
        Seen::NoSuchKind => {
            return Err(Finding::bad(
                KIND,
                "TraefikNotInstalled",
                "this cluster has no IngressRouteTCP (traefik.io/v1alpha1); install Traefik 3 with its definitions, or use loadBalancer instead of traefik",
            ));
        }
        Seen::NotYet | Seen::Absent | Seen::Failed(_) => {}
    }
    match apply(api, name, wanted).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Finding::bad(
            KIND,
            "Refused",
            format!(
                "{} {namespace}/{name} could not be applied: {error}",
                wanted["kind"].as_str().unwrap_or_default()
            ),
        )),
    }
}

/// Deletes what was made for the pool and is no longer needed.
pub async fn prune(shared: &Shared, pool: &SwarmPool, needed: &Needed) -> Result<(), CallError> {
    let namespace = pool.namespace().unwrap_or_default();
    let of_pool = ListParams::default().labels(&format!("{POOL}={}", label(&pool.name_any())));
    prune_kind::<Service>(&shared.api(&namespace), pool, &of_pool, &needed.services).await?;
    prune_kind::<EndpointSlice>(&shared.api(&namespace), pool, &of_pool, &needed.slices).await?;
    let routes: Api<DynamicObject> = Api::namespaced_with(shared.client.clone(), &namespace, &route_kind());
    match prune_kind(&routes, pool, &of_pool, &needed.routes).await {
        Err(error) if error.code() == Some(404) => Ok(()),
        done => done,
    }
}

async fn prune_kind<K>(
    api: &Api<K>,
    pool: &SwarmPool,
    of_pool: &ListParams,
    needed: &BTreeSet<Name>,
) -> Result<(), CallError>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    for object in within(api.list(of_pool)).await?.items {
        let ours = object
            .owner_references()
            .iter()
            .any(|owner| Some(&owner.uid) == pool.uid().as_ref());
        let name = (object.namespace().unwrap_or_default(), object.name_any());
        if !ours || needed.contains(&name) {
            continue;
        }
        match within(api.delete(&name.1, &DeleteParams::default())).await {
            Err(error) if error.code() != Some(404) => return Err(error),
            _ => tracing::info!(
                namespace = name.0,
                name = name.1,
                "deleted what a SwarmPool no longer needs"
            ),
        }
    }
    Ok(())
}
