//! Namespaces: what each has from the start, and how each ends.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Action;
use crate::admission::strategy::Door;
use crate::object::{finalizers, is_terminating, name, uid};
use crate::store::{Key, Object, State};

/// After this time a namespace that waits says what for.
const TELLING: SignedDuration = SignedDuration::from_secs(2);

/// What is to be done for namespaces. `authority` is the certificate that clients check the server's by.
pub(super) fn plan(state: &State, authority: &str, now: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    for (key, namespace) in state.list("/namespaces", None) {
        if is_terminating(namespace) {
            actions.extend(terminate(state, key, namespace, now));
        } else {
            actions.extend(furnish(state, name(namespace), authority));
        }
    }
    actions
}

/// A service account, and the authority that clients in pods trust.
fn furnish(state: &State, namespace: &str, authority: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    let key = Key::core("serviceaccounts", namespace, "default");
    if state.get(&key).is_none() {
        let object = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
        actions.push(Action::Create { key, object });
    }
    let key = Key::core("configmaps", namespace, "kube-root-ca.crt");
    let data = json!({ "ca.crt": authority });
    match state.get(&key) {
        None => {
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": { "name": key.name, "annotations": { "kubernetes.io/description":
                    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters." } },
            });
            actions.push(Action::Create { key, object });
        }
        Some(found) if found["data"] != data && !is_terminating(found) => {
            let mut object = (**found).clone();
            object["data"] = data;
            let door = Door::Main;
            actions.push(Action::Update { key, object, door });
        }
        Some(_) => {}
    }
    actions
}

fn terminate(state: &State, key: &Key, namespace: &Object, now: &str) -> Vec<Action> {
    let finalizing = namespace["spec"]["finalizers"]
        .as_array()
        .is_some_and(|f| f.contains(&json!("kubernetes")));
    if !finalizing {
        return Vec::new();
    }
    let content: Vec<(&Key, &Object)> = state.iter().filter(|(k, _)| k.namespace == key.name).collect();
    if content.is_empty() {
        let mut object = (**namespace).clone();
        object["spec"]["finalizers"] = json!([]);
        return vec![Action::Update {
            key: key.clone(),
            object,
            door: Door::Finalize,
        }];
    }
    let mut actions: Vec<Action> = content
        .iter()
        .filter(|(_, object)| !is_terminating(object))
        .map(|(key, object)| Action::Delete {
            key: (*key).clone(),
            uid: uid(object).into(),
            propagation: Some("Background"),
        })
        .collect();
    if actions.is_empty() && waited(namespace, now) {
        let conditions = conditions(&content, &namespace["status"]["conditions"], now);
        if conditions != namespace["status"]["conditions"] {
            let mut object = (**namespace).clone();
            object["status"]["conditions"] = conditions;
            actions.push(Action::Update {
                key: key.clone(),
                object,
                door: Door::Status,
            });
        }
    }
    actions
}

/// Whether a namespace has waited for its content long enough for that to be worth telling.
fn waited(namespace: &Value, now: &str) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    let since = namespace["metadata"]["deletionTimestamp"].as_str().and_then(time);
    since
        .zip(time(now))
        .is_none_or(|(since, now)| now.duration_since(since) >= TELLING)
}

/// Whether a namespace waits for something to go: it is to be looked at again although nothing changes.
pub(super) fn waiting(state: &State) -> bool {
    state
        .list("/namespaces", None)
        .any(|(_, namespace)| is_terminating(namespace))
}

/// The five conditions of a namespace that waits for its content.
fn conditions(content: &[(&Key, &Object)], before: &Value, now: &str) -> Value {
    let mut by_resource: BTreeMap<String, usize> = BTreeMap::new();
    let mut by_finalizer: BTreeMap<String, usize> = BTreeMap::new();
    for (key, object) in content {
        let (group, plural) = key.storage.split_once('/').unwrap_or_default();
        *by_resource.entry(format!("{plural}.{group}")).or_default() += 1;
        for finalizer in finalizers(object) {
            *by_finalizer.entry(finalizer.into()).or_default() += 1;
        }
    }
    let listed = |map: &BTreeMap<String, usize>, words: &str| {
        map.iter()
            .map(|(name, count)| format!("{name} {words} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let remaining = format!("Some resources are remaining: {}", listed(&by_resource, "has"));
    let held = format!(
        "Some content in the namespace has finalizers remaining: {}",
        listed(&by_finalizer, "in")
    );
    let no_finalizers = by_finalizer.is_empty();
    let wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered".to_string(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".into(),
        ),
        (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into(),
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", remaining),
        (
            "NamespaceFinalizersRemaining",
            if no_finalizers { "False" } else { "True" },
            if no_finalizers {
                "ContentHasNoFinalizers"
            } else {
                "SomeFinalizersRemain"
            },
            if no_finalizers {
                "All content-preserving finalizers finished".into()
            } else {
                held
            },
        ),
    ];
    wanted
        .into_iter()
        .enumerate()
        .map(|(index, (kind, status, reason, message))| {
            let old = &before[index];
            let since = if old["status"] == status {
                old["lastTransitionTime"].clone()
            } else {
                now.into()
            };
            json!({ "type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message })
        })
        .collect()
}
