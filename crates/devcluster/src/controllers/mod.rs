//! What the server does by itself: garbage collection by owners, the end of namespaces, what every namespace has,
//! the status of definitions, the end of events.
//!
//! Each controller is a pure function from the state to a list of [`Action`]s; one task plans after each change
//! and acts. Acting is safe to repeat: it looks again, inside the transaction.

mod definitions;
mod events;
mod garbage;
mod namespaces;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::admission::strategy::Door;
use crate::api::{Context, DeleteOptions, Server, delete_object, write};
use crate::object;
use crate::status::{Outcome, Status};
use crate::store::{Key, State, Transaction};

/// Name under which the controllers write.
const MANAGER: &str = "kube-controller-manager";
/// Writes that fail are planned again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Delete an object, if it still has this uid.
    Delete {
        /// Which.
        key: Key,
        /// Its uid.
        uid: String,
        /// `Background` or `Foreground`.
        propagation: Option<&'static str>,
    },
    /// Replace an object, if it still has its resourceVersion.
    Update {
        /// Which.
        key: Key,
        /// By what.
        object: Value,
        /// Through which door.
        door: Door,
    },
    /// Create an object.
    Create {
        /// Where.
        key: Key,
        /// What.
        object: Value,
    },
}

/// Everything that is to be done now. `authority` is the certificate that clients check the server's by.
pub fn plan(state: &State, authority: &str, now: &str) -> Vec<Action> {
    let mut actions = namespaces::plan(state, authority, now);
    actions.extend(definitions::plan(state, now));
    actions.extend(garbage::plan(state));
    actions.extend(events::plan(state, now));
    actions
}

/// Runs until the server stops.
pub async fn run(server: Arc<Server>) {
    let mut revisions = server.store.revisions();
    loop {
        revisions.mark_unchanged();
        let (actions, mut again) = {
            let published = server.store.read();
            let waiting = namespaces::waiting(&published.state);
            let now = object::rfc3339(k8s_openapi::jiff::Timestamp::now());
            let actions = plan(&published.state, &server.authority, &now);
            (actions, waiting)
        };
        for action in actions {
            if let Err(status) = act(&server, action).await {
                // A conflict means that somebody was faster: the next plan sees what they did.
                again |= !matches!(status.code, 404 | 409);
                tracing::debug!(%status, "a controller's write was refused");
            }
        }
        let retry = async {
            if again {
                tokio::time::sleep(RETRY).await
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = server.stop.cancelled() => return,
            changed = revisions.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}

fn context(server: &Server, key: &Key) -> Outcome<Context> {
    let definitions = server.definitions();
    let (group, plural) = key.storage.split_once('/').unwrap_or_default();
    let resource = definitions
        .resources()
        .find(|r| r.group == group && r.plural == plural)
        .ok_or_else(Status::no_such_resource)?;
    let custom = definitions
        .find(&resource.group, &resource.version, &resource.plural)
        .and_then(|(_, custom)| custom);
    Ok(Context {
        resource,
        custom,
        manager: if group == "apiextensions.k8s.io" {
            "kube-apiserver"
        } else {
            MANAGER
        }
        .into(),
        services: server.services,
        dry_run: false,
    })
}

async fn act(server: &Arc<Server>, action: Action) -> Outcome<()> {
    let key = match &action {
        Action::Delete { key, .. } | Action::Update { key, .. } | Action::Create { key, .. } => key,
    };
    let context = context(server, key)?;
    server.store.write(move |tx| perform(tx, &context, action)).await
}

fn perform(tx: &mut Transaction<'_>, context: &Context, action: Action) -> Outcome<()> {
    match action {
        Action::Delete { key, uid, propagation } => {
            let propagation = propagation.map(str::to_string);
            let options = DeleteOptions {
                uid: Some(uid),
                propagation,
                ..DeleteOptions::default()
            };
            delete_object(tx, &context.resource, &key, &options).map(drop)
        }
        Action::Update { key, object, door } => write::update(tx, context, door, &key, object, false).map(drop),
        Action::Create { key, object } => write::create(tx, context, &key.namespace, object).map(drop),
    }
}

/// Makes what every cluster has: the first namespaces and the roles everybody knows.
///
/// # Errors
/// 500 if the disk fails.
pub async fn bootstrap(server: &Arc<Server>) -> Outcome<()> {
    for (plural, group, object) in bootstrap_objects() {
        let key = Key {
            storage: format!("{group}/{plural}"),
            namespace: String::new(),
            name: object::name(&object).into(),
        };
        if server.store.read().state.get(&key).is_some() {
            continue;
        }
        act(server, Action::Create { key, object }).await?;
    }
    Ok(())
}

fn bootstrap_objects() -> Vec<(&'static str, &'static str, Value)> {
    use serde_json::json;
    const RBAC: &str = "rbac.authorization.k8s.io";
    let mut objects = Vec::new();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        objects.push((
            "namespaces",
            "",
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
        ));
    }
    let role = |name: &str, rules: Value| json!({ "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules });
    let most = json!([
        "",
        "apps",
        "batch",
        "networking.k8s.io",
        "discovery.k8s.io",
        "autoscaling",
        "policy"
    ]);
    let read = json!(["get", "list", "watch"]);
    let all = json!([
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch"
    ]);
    objects.push(("clusterroles", RBAC, role("cluster-admin", json!([
        { "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }, { "nonResourceURLs": ["*"], "verbs": ["*"] },
    ]))));
    objects.push((
        "clusterroles",
        RBAC,
        role(
            "admin",
            json!([
                { "apiGroups": most, "resources": ["*"], "verbs": all },
                { "apiGroups": [RBAC], "resources": ["roles", "rolebindings"], "verbs": all },
            ]),
        ),
    ));
    objects.push((
        "clusterroles",
        RBAC,
        role("edit", json!([{ "apiGroups": most, "resources": ["*"], "verbs": all }])),
    ));
    objects.push(("clusterroles", RBAC, role("view", json!([
        { "apiGroups": [""], "resources": ["configmaps", "endpoints", "events", "namespaces", "persistentvolumeclaims",
            "pods", "pods/log", "pods/status", "resourcequotas", "serviceaccounts", "services"], "verbs": read },
        { "apiGroups": ["apps", "batch", "networking.k8s.io", "discovery.k8s.io", "autoscaling", "policy"],
            "resources": ["*"], "verbs": read },
    ]))));
    objects
}
