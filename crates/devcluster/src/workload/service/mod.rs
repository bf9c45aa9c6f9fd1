//! The Service controller: endpoints from ready pods, load-balancer addresses, and the proxy's doors.

mod addresses;
mod endpoints;

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Endpoints, Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch},
    runtime::{Controller, WatchStreamExt as _, controller::Action, reflector::ObjectRef, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::addresses::Addresses;
use super::{
    AddressRange,
    control::{self, Context, ReconcileError},
    events::Severity,
    proxy::{Door, Doors, OnFailure, Proxy, Transport},
    range::{AddressPool, loopback},
};

const COMPONENT: &str = "service-controller";

/// What the controller works with.
pub(crate) struct ServiceContext {
    context: Context,
    proxy: Proxy,
    addresses: Mutex<Addresses>,
}

impl ServiceContext {
    pub(crate) fn new(context: Context, proxy: Proxy, load_balancer_range: AddressRange) -> Self {
        let addresses = Mutex::new(Addresses::new(AddressPool::new(load_balancer_range)));
        Self {
            context,
            proxy,
            addresses,
        }
    }

    fn addresses(&self) -> std::sync::MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, uid: &str) {
        self.proxy.remove(uid);
        self.addresses().release(uid);
    }
}

/// Runs the controller until `shutdown`.
pub(crate) async fn run(context: ServiceContext, shutdown: CancellationToken) {
    let client = context.context.client.clone();
    let services: Api<Service> = Api::all(client.clone());
    let context = Arc::new(context);
    // Addresses that were published before a restart must be known before a new one is given.
    reclaim(&context, &services, &shutdown).await;
    let controller = Controller::new(services.clone(), watcher::Config::default());
    let known = controller.store();
    let controller = controller
        // By their label and not their owner, as kube-proxy: who writes slices of a Service without selector owns them.
        .watches(
            Api::<EndpointSlice>::all(client.clone()),
            watcher::Config::default(),
            |slice| {
                let service = slice.labels().get(endpoints::SERVICE_NAME)?;
                Some(ObjectRef::new(service).within(&slice.namespace()?))
            },
        )
        .watches(Api::<Pod>::all(client), watcher::Config::default(), move |pod| {
            let selecting = known
                .state()
                .into_iter()
                .filter(|service| service.namespace() == pod.namespace() && endpoints::selects(service, &pod));
            selecting
                .map(|service| ObjectRef::from_obj(&*service))
                .collect::<Vec<_>>()
        });
    tokio::join!(
        control::run("service", controller, Arc::clone(&context), reconcile, shutdown.clone()),
        forget_deleted(&context, services, shutdown),
    );
}

async fn reclaim(context: &ServiceContext, services: &Api<Service>, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        match services.list(&ListParams::default()).await {
            Ok(list) => {
                let published = list
                    .items
                    .iter()
                    .filter(|service| addresses::published(service).is_some());
                published.for_each(|service| drop(context.addresses().of(service)));
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "services not listed");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

/// A controller is not told of objects that are gone; their doors and addresses are taken back here.
async fn forget_deleted(context: &ServiceContext, services: Api<Service>, shutdown: CancellationToken) {
    let mut events = watcher(services, watcher::Config::default()).default_backoff().boxed();
    let (mut known, mut listed) = (HashSet::new(), HashSet::new());
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = shutdown.cancelled() => return,
        };
        match event {
            Some(Ok(watcher::Event::Init)) => listed.clear(),
            Some(Ok(watcher::Event::InitApply(service))) => listed.extend(service.uid()),
            Some(Ok(watcher::Event::InitDone)) => {
                known.difference(&listed).for_each(|uid: &String| context.forget(uid));
                known = std::mem::take(&mut listed);
            }
            Some(Ok(watcher::Event::Apply(service))) => known.extend(service.uid()),
            Some(Ok(watcher::Event::Delete(service))) => {
                if let Some(uid) = service.uid() {
                    known.remove(&uid);
                    context.forget(&uid);
                }
            }
            Some(Err(error)) => tracing::debug!(%error, "watch of services interrupted"),
            None => return,
        }
    }
}

async fn reconcile(service: Arc<Service>, context: Arc<ServiceContext>) -> Result<Action, ReconcileError> {
    let client = &context.context.client;
    let namespace = service.namespace().unwrap_or_default();
    let api: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let Some(service) = api.get_opt(&service.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let spec = service.spec.clone().unwrap_or_default();
    let uid = service.uid().unwrap_or_default();
    if service.metadata.deletion_timestamp.is_some() || spec.type_.as_deref() == Some("ExternalName") {
        context.forget(&uid);
        return Ok(Action::await_change());
    }

    let slice_api: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
    let labels = format!("{}={}", endpoints::SERVICE_NAME, service.name_any());
    let stored = slice_api.list(&ListParams::default().labels(&labels)).await?.items;
    let slices = if spec.selector.as_ref().is_some_and(|selector| !selector.is_empty()) {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        endpoints::slices(&service, &pods.list(&ListParams::default()).await?.items)
    } else {
        stored.clone()
    };
    // The address is told before the endpoints are written: whoever waits for both needs it first.
    let load_balancer = load_balancer(&context, &api, &service).await?;
    let event = Arc::clone(&context);
    let about = service.clone();
    let failed: OnFailure = Arc::new(move |message| {
        event
            .context
            .events
            .publish(&about, COMPONENT, Severity::Warning, "SyncLoadBalancerFailed", message);
    });
    context
        .proxy
        .update(&uid, doors(&service, load_balancer, &slices), &failed);
    if spec.selector.as_ref().is_some_and(|selector| !selector.is_empty()) {
        write_slices(&slice_api, &stored, &slices).await?;
        let api: Api<Endpoints> = Api::namespaced(client.clone(), &namespace);
        let wanted = endpoints::endpoints(&service, &slices);
        let current = api.get_opt(&service.name_any()).await?;
        if current.as_ref().is_none_or(|current| current.subsets != wanted.subsets) {
            write(
                &api,
                &service.name_any(),
                current.is_some(),
                &wanted,
                json!({"subsets": wanted.subsets}),
            )
            .await?;
        }
    }
    Ok(Action::await_change())
}

/// Gives the Service its load-balancer address and publishes it, or takes it back.
async fn load_balancer(
    context: &ServiceContext,
    api: &Api<Service>,
    service: &Service,
) -> Result<Option<Ipv4Addr>, ReconcileError> {
    let uid = service.uid().unwrap_or_default();
    let spec = service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() != Some("LoadBalancer") || spec.load_balancer_class.is_some() {
        context.addresses().release(&uid);
        return Ok(None);
    }
    let given = context.addresses().of(service);
    let address = match given {
        Ok(address) => address,
        Err(message) => {
            context.context.events.publish(
                service,
                COMPONENT,
                Severity::Warning,
                "SyncLoadBalancerFailed",
                &message,
            );
            return Err(ReconcileError::Invalid(message));
        }
    };
    if addresses::published(service) != Some(address) {
        let status = json!({"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}});
        let patch = json!({"metadata": {"uid": uid}, "status": status});
        match api
            .patch_status(&service.name_any(), &control::patch(), &Patch::Merge(patch))
            .await
        {
            Err(error) if control::is_gone(&error) => return Ok(None),
            other => drop(other?),
        }
        context.context.events.publish(
            service,
            COMPONENT,
            Severity::Normal,
            "EnsuredLoadBalancer",
            "Ensured load balancer",
        );
    }
    Ok(Some(address))
}

/// Where the Service answers, and the ready endpoints behind. A cluster address outside of loopback
/// cannot be listened on and is left out.
fn doors(service: &Service, load_balancer: Option<Ipv4Addr>, slices: &[EndpointSlice]) -> Doors {
    let spec = service.spec.clone().unwrap_or_default();
    let cluster = spec.cluster_ip.as_deref().and_then(loopback);
    let mut doors = Doors::new();
    for port in spec.ports.iter().flatten() {
        let name = port.name.as_deref().unwrap_or_default();
        let transport = match port.protocol.as_deref() {
            None | Some("TCP") => Transport::Tcp,
            Some("UDP") => Transport::Udp,
            Some(_) => continue,
        };
        let Ok(number) = u16::try_from(port.port) else {
            continue;
        };
        let behind: Vec<SocketAddr> = slices
            .iter()
            .filter_map(|slice| {
                let same = |port: &&_| endpoint_port_is(port, name);
                let port = slice
                    .ports
                    .iter()
                    .flatten()
                    .find(same)?
                    .port
                    .and_then(|port| u16::try_from(port).ok())?;
                let ready = slice
                    .endpoints
                    .iter()
                    .flatten()
                    .filter(|endpoint| endpoints::is_ready(endpoint));
                let addresses = ready.flat_map(|endpoint| endpoint.addresses.iter());
                Some(addresses.filter_map(move |address| Some(SocketAddr::new(address.parse().ok()?, port))))
            })
            .flatten()
            .collect();
        for address in [cluster, load_balancer].into_iter().flatten() {
            doors.insert(
                Door {
                    address,
                    port: number,
                    transport,
                },
                behind.clone(),
            );
        }
    }
    doors
}

fn endpoint_port_is(port: &k8s_openapi::api::discovery::v1::EndpointPort, name: &str) -> bool {
    port.name.as_deref().unwrap_or_default() == name
}

async fn write_slices(
    api: &Api<EndpointSlice>,
    stored: &[EndpointSlice],
    wanted: &[EndpointSlice],
) -> Result<(), ReconcileError> {
    for slice in wanted {
        let name = slice.name_any();
        let current = stored.iter().find(|stored| stored.name_any() == name);
        if current.is_some_and(|current| current.endpoints == slice.endpoints && current.ports == slice.ports) {
            continue;
        }
        let change = json!({"endpoints": slice.endpoints, "ports": slice.ports});
        write(api, &name, current.is_some(), slice, change).await?;
    }
    for slice in stored
        .iter()
        .filter(|stored| !wanted.iter().any(|wanted| wanted.name_any() == stored.name_any()))
    {
        match api.delete(&slice.name_any(), &DeleteParams::default()).await {
            Err(error) if control::is_gone(&error) => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// Creates the object, or changes the one that is there.
async fn write<K>(
    api: &Api<K>,
    name: &str,
    exists: bool,
    whole: &K,
    change: serde_json::Value,
) -> Result<(), ReconcileError>
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Serialize
        + std::fmt::Debug,
{
    if exists {
        api.patch(name, &control::patch(), &Patch::Merge(change)).await?;
        return Ok(());
    }
    match api.create(&control::post(), whole).await {
        // The namespace is being deleted: nothing is to be created there any more.
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}
