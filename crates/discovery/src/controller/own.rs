//! What the agent applies by itself: a pool for the default swarm, and an Identity of its configuration.

use kube::{Api, Client};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{CallError, FIRST_RETRY, LAST_RETRY, apply};
use crate::model::{GROUP, Identity, MANAGED_BY, MANAGER, SwarmPool, VERSION};
use crate::settings::{OwnIdentity, Settings};

/// Name of the pool and of its one swarm.
pub const POOL_NAME: &str = "hanse";

/// Applies both, again and again until the cluster has taken them.
pub async fn install(settings: &Settings, client: &Client, stop: &CancellationToken) {
    let Some(identity) = &settings.identity else { return };
    let mut retry = FIRST_RETRY;
    while let Err(error) = try_install(settings, identity, client).await {
        tracing::warn!(%error, "the agent's own SwarmPool and Identity are not applied; it is tried again");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(retry) => {}
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}

async fn try_install(settings: &Settings, identity: &OwnIdentity, client: &Client) -> Result<(), CallError> {
    let namespace = &settings.namespace;
    let object = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}},
            "spec": spec,
        })
    };
    let pools: Api<SwarmPool> = Api::namespaced(client.clone(), namespace);
    let spec = json!({"swarms": [{"name": POOL_NAME}]});
    apply(&pools, POOL_NAME, &object("SwarmPool", POOL_NAME, spec)).await?;
    let identities: Api<Identity> = Api::namespaced(client.clone(), namespace);
    let name = object_name(&settings.domain);
    let categories: Vec<Value> = identity.categories.iter().map(|name| json!({"name": name})).collect();
    let spec = json!({
        "swarms": [{"namespace": namespace, "swarmPool": POOL_NAME, "swarm": POOL_NAME}],
        "name": settings.domain, "description": identity.description, "URL": identity.url, "categories": categories,
    });
    apply(&identities, &name, &object("Identity", &name, spec)).await?;
    Ok(())
}

/// A domain's name as the name of an object (RFC 1123).
fn object_name(domain: &str) -> String {
    let fits = |character: char| match character {
        'a'..='z' | '0'..='9' | '-' | '.' => character,
        _ => '-',
    };
    let name: String = domain.to_lowercase().chars().map(fits).take(63).collect();
    let name = name.trim_matches(|character| character == '-' || character == '.');
    if name.is_empty() {
        "domain".into()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_domain_has_an_identity_with_a_name() {
        for (domain, name) in [
            ("A", "a"),
            ("Cluster 1", "cluster-1"),
            ("***", "domain"),
            ("a.b", "a.b"),
        ] {
            assert_eq!(object_name(domain), name);
        }
    }
}
