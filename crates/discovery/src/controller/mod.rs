//! The controllers: one task each for pools, Identities and Peers. Each looks at everything that it knows, and writes what
//! differs; so a change that was missed costs nothing, and a write that failed is made the next time.

pub mod definitions;
mod events;
mod exposure;
mod findings;
pub mod identities;
mod keys;
pub mod own;
pub mod peers;
pub mod pools;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use hanse_swarm::model::Membership;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::credentials::Speaks;
use crate::model::{FINALIZER, Identity, Peer, SwarmPool};
use crate::settings::Settings;
use crate::swarms::{Swarms, Waker};
use crate::watched::Watched;
pub use events::Events;

/// How long a call of the cluster's API may take.
const CALL: Duration = Duration::from_secs(10);
/// What failed is tried again after this long, then twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// But at least so often.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// Everything is looked at so often although nothing is known to have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// Who owns the fields that the agent applies.
pub const FIELD_MANAGER: &str = "hanse-discovery";

/// What the controllers share.
pub struct Shared {
    /// The configuration.
    pub settings: Settings,
    /// The cluster.
    pub client: Client,
    /// Wakes all controllers.
    pub waker: Waker,
    /// What runs.
    pub swarms: Arc<Swarms>,
    /// All SwarmPools.
    pub pools: Store<SwarmPool>,
    /// All Identities.
    pub identities: Store<Identity>,
    /// All Peers.
    pub peers: Store<Peer>,
    /// Secrets with swarm keys.
    pub secrets: Watched<Secret>,
    /// Services of pools, and those of Traefik.
    pub services: Watched<Service>,
    /// EndpointSlices of pools.
    pub slices: Watched<EndpointSlice>,
    /// Routes of Traefik.
    pub routes: Watched<DynamicObject>,
    /// Where events go.
    pub events: Events,
    /// What consortium this domain is a member of: for its record in the default swarm.
    pub membership: watch::Receiver<Option<Membership>>,
    /// Who speaks for this domain where.
    pub speaks: watch::Sender<Vec<Speaks>>,
}

impl Shared {
    /// The API of namespaced objects.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// The kind of Traefik's TCP routes.
pub fn route_kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("traefik.io", "v1alpha1", "IngressRouteTCP"),
        "ingressroutetcps",
    )
}

/// Why a call of the cluster's API came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It was refused, or there was no connection.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// No answer in time.
    #[error("the cluster did not answer within {CALL:?}")]
    Late,
}

impl CallError {
    /// The code of the cluster's answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

/// Does not wait for ever.
pub async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    let answer = tokio::time::timeout(CALL, call).await;
    Ok(answer.map_err(|_| CallError::Late)??)
}

/// Applies an object; fields that others took are taken back.
pub async fn apply<K>(api: &Api<K>, name: &str, object: &(impl Serialize + Debug)) -> Result<K, CallError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = PatchParams::apply(FIELD_MANAGER).force();
    within(api.patch(name, &params, &Patch::Apply(object))).await
}

/// Applies a status.
pub async fn apply_status<K>(object: &K, api: &Api<K>, status: &impl Serialize) -> Result<K, CallError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let wanted = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        // An object of the same name that was made since is another one.
        "metadata": {"name": object.name_any(), "uid": object.uid()},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    within(api.patch_status(&object.name_any(), &params, &Patch::Apply(&wanted))).await
}

/// Has the object stay until the others were told, or lets it go. A conflict means that the object is newer than what was
/// looked at: then it is looked at again.
pub async fn set_finalizer<K>(object: &K, api: &Api<K>, there: bool) -> Result<(), CallError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let mut finalizers: Vec<String> = object.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if there {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    let done = within(api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch))).await;
    match done {
        Err(error) if error.code() == Some(404) => Ok(()),
        done => done.map(|_| ()),
    }
}

/// Whether the object waits for us when it is deleted.
pub fn has_finalizer<K: Resource>(object: &K) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// What came of looking at everything once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pass {
    /// Something could not be done.
    pub failed: bool,
    /// There is something to be done after this long although nothing changes.
    pub again_in: Option<Duration>,
}

impl Pass {
    /// Notes what could not be done.
    pub fn check<T>(&mut self, what: impl FnOnce() -> String, done: Result<T, CallError>) -> Option<T> {
        match done {
            Ok(done) => Some(done),
            Err(error) => {
                self.failed = true;
                // The object is newer, or has gone: that is what the next look is for.
                match error.code() {
                    Some(404 | 409) => tracing::debug!(%error, "{}", what()),
                    _ => tracing::warn!(%error, "{}; it is tried again", what()),
                }
                None
            }
        }
    }

    /// Has it looked again after `pause` at the latest.
    pub fn again(&mut self, pause: Duration) {
        self.again_in = Some(self.again_in.map_or(pause, |before| before.min(pause)));
    }
}

/// A controller.
pub trait Controller: Send + 'static {
    /// Looks at everything once, and writes what differs.
    fn pass(&mut self) -> impl Future<Output = Pass> + Send;
}

/// Runs a controller until `stop`.
pub async fn run(mut controller: impl Controller, waker: Waker, stop: CancellationToken) {
    let mut woken = waker.listen();
    let mut retry = FIRST_RETRY;
    loop {
        woken.mark_unchanged();
        let pass = tokio::select! {
            () = stop.cancelled() => return,
            pass = controller.pass() => pass,
        };
        let mut pause = pass.again_in.unwrap_or(LOOK_AGAIN);
        if pass.failed {
            pause = pause.min(retry);
            // Also when changes keep coming: who refuses is not asked all the time.
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(FIRST_RETRY.min(retry)) => {}
            }
            retry = (retry * 2).min(LAST_RETRY);
        } else {
            retry = FIRST_RETRY;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = woken.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
