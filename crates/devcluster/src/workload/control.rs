//! What the controllers share: their context, errors, and the loop that runs them.

use std::{fmt::Debug, future::Future, hash::Hash, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Client, Resource, ResourceExt,
    api::{PatchParams, PostParams},
    runtime::{Controller, controller::Action},
};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::events::Events;

/// Field manager of everything the controllers write.
pub(crate) const MANAGER: &str = "kube-controller-manager";

/// What a controller works with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) events: Events,
}

/// Why a reconciliation did not get through. It is always tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    /// The API server refused or could not be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The object cannot be worked with; its owner must change it.
    #[error("{0}")]
    Invalid(String),
}

impl ReconcileError {
    fn retry_after(&self) -> Duration {
        match self {
            // Somebody else wrote first: look again at once.
            Self::Api(kube::Error::Api(status)) if status.code == 409 => Duration::from_millis(5),
            Self::Api(_) => Duration::from_millis(500),
            Self::Invalid(_) => Duration::from_secs(60),
        }
    }
}

pub(crate) fn post() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

pub(crate) fn patch() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Whether `error` says that the object is not there.
pub(crate) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The reference to `owner` as the controller of a new object. It holds up foreground deletion of the owner, as upstream
/// controllers' references do (`metav1.NewControllerRef`): a deleted Deployment stays until its pods are gone.
pub(crate) fn controlled_by<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let reference = owner.controller_owner_ref(&()).unwrap_or_default();
    OwnerReference {
        block_owner_deletion: Some(true),
        ..reference
    }
}

/// Whether `object` is controlled by the owner of that uid.
pub(crate) fn is_controlled_by(object: &impl ResourceExt, uid: &str) -> bool {
    object
        .owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// Runs a controller until `shutdown`; failures are logged and tried again.
pub(crate) async fn run<K, C, F>(
    name: &'static str,
    controller: Controller<K>,
    context: Arc<C>,
    reconcile: impl FnMut(Arc<K>, Arc<C>) -> F + Send + 'static,
    shutdown: CancellationToken,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Debug + Eq + Hash + Clone + Unpin + Send + Sync,
    C: Send + Sync + 'static,
    F: Future<Output = Result<Action, ReconcileError>> + Send + 'static,
{
    let retry = |_: Arc<K>, error: &ReconcileError, _: Arc<C>| Action::requeue(error.retry_after());
    let done = controller.run(reconcile, retry, context).for_each(|result| async move {
        if let Err(error) = result {
            tracing::debug!(controller = name, %error, "reconciliation failed, tried again");
        }
    });
    tokio::select! {
        () = done => {}
        () = shutdown.cancelled() => {}
    }
}
