//! The definitions of the custom resources, applied by the agent.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::{CallError, FIRST_RETRY, LAST_RETRY, apply, within};
use crate::model::{Identity, Peer, SwarmPool};

/// How often it is looked whether the cluster serves a new definition.
const LOOK: Duration = Duration::from_millis(50);

/// The definitions.
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [SwarmPool::crd(), Identity::crd(), Peer::crd()]
}

/// Applies the definitions, again and again until the cluster has taken and serves them.
pub async fn install(client: &Client, stop: &CancellationToken) {
    let mut retry = FIRST_RETRY;
    while let Err(error) = try_install(client).await {
        tracing::warn!(%error, "the definitions of SwarmPool, Identity and Peer are not applied; it is tried again. Without the right to do so, apply them by hand and set discovery.installDefinitions to false");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(retry) => {}
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}

async fn try_install(client: &Client) -> Result<(), CallError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definitions = definitions();
    for definition in &definitions {
        apply(&api, &definition.name_any(), definition).await?;
    }
    for definition in &definitions {
        let name = definition.name_any();
        let served = async {
            while !is_established(&within(api.get(&name)).await?) {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<(), CallError>(())
        };
        tokio::time::timeout(super::CALL, served)
            .await
            .map_err(|_| CallError::Late)??;
    }
    Ok(())
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}
