//! Objects and patches that are broken in one place, in any way: each is refused or stored, and nothing panics.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::patch::{Patch, patched};
use super::request::FieldValidation;
use super::write::{self, Context};
use super::{DeleteOptions, delete_object};
use crate::admission::strategy::Door;
use crate::apply::{self, Apply};
use crate::crd::Definitions;
use crate::resource::Catalog;
use crate::store::{Key, State, Transaction};

/// Valid objects of the kinds that are looked into most.
fn examples() -> Vec<Value> {
    let pod = json!({ "containers": [{ "name": "c", "image": "i", "ports": [{ "containerPort": 80 }],
        "env": [{ "name": "A", "value": "1" }], "resources": { "limits": { "cpu": "1" } },
        "readinessProbe": { "httpGet": { "port": 80 } }, "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }],
        "volumes": [{ "name": "v", "configMap": { "name": "m" } }] });
    let template = json!({ "metadata": { "labels": { "a": "b" } }, "spec": pod });
    let selector = json!({ "matchLabels": { "a": "b" } });
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": { "type": "object", "properties": {
        "n": { "type": "integer", "minimum": 1, "default": 2 }, "l": { "type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"], "items": { "type": "object", "properties": { "k": { "type": "string" } } } } } } } } });
    vec![
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "labels": { "x": "y" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "K", "name": "o", "uid": "u" }] }, "data": { "k": "v" } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "data": { "k": "dg==" }, "stringData": { "s": "t" } }),
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "finalizers": ["e.com/f"] }, "spec": pod }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" },
            "spec": { "type": "LoadBalancer", "selector": { "a": "b" }, "ports": [{ "port": 80, "targetPort": "http" }] } }),
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" },
            "spec": { "selector": selector, "template": template, "strategy": { "type": "RollingUpdate" } } }),
        json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "a" }, "spec": { "template": {
            "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] } } } }),
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a" } }),
        json!({ "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "a" }, "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "c", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal",
            "regarding": { "kind": "Pod", "namespace": "n", "name": "p" } }),
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "a" },
            "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }] }),
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "a" },
            "spec": { "podSelector": {}, "ingress": [{ "ports": [{ "port": 80 }] }] } }),
        json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "widgets.e.com" },
            "spec": { "group": "e.com", "scope": "Namespaced", "names": { "plural": "widgets", "kind": "Widget" },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }] } }),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9./$é-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let keys = prop_oneof![
            "[a-z]{1,4}",
            Just("name".to_string()),
            Just("$patch".to_string()),
            Just("metadata".to_string())
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

/// All places in a value, as JSON pointers.
fn places(value: &Value, at: String, out: &mut Vec<String>) {
    out.push(at.clone());
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, item)| places(item, format!("{at}/{}", key.replace('/', "~1")), out)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(index, item)| places(item, format!("{at}/{index}"), out)),
        _ => {}
    }
}

fn broken(example: &Value, place: usize, with: &Value) -> Value {
    let mut all = Vec::new();
    places(example, String::new(), &mut all);
    let mut object = example.clone();
    *object.pointer_mut(&all[place % all.len()]).unwrap() = with.clone();
    object
}

fn context(example: &Value, definitions: &Definitions) -> Context {
    let api_version = example["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = &example["kind"];
    let resource = definitions
        .resources()
        .find(|r| r.group == group && r.version == version && kind == &r.kind)
        .unwrap();
    let custom = definitions
        .find(group, version, &resource.plural)
        .and_then(|(_, custom)| custom);
    let services = "127.22.0.0/24".parse().unwrap();
    Context {
        resource,
        custom,
        manager: "m".into(),
        services,
        dry_run: false,
    }
}

fn state() -> State {
    let mut state = State::default();
    let mut tx = Transaction::new(&mut state, Timestamp::UNIX_EPOCH);
    tx.put(
        Key::core("namespaces", "", "n"),
        json!({ "metadata": { "name": "n", "uid": "n" } }),
    );
    tx.put(
        Key::core("serviceaccounts", "n", "default"),
        json!({ "metadata": { "name": "default", "namespace": "n", "uid": "s" } }),
    );
    tx.finish(true);
    state
}

/// Sends an object and then patches through every door; refusals are fine.
fn throw(state: &mut State, context: &Context, object: &Value, patch: &Value) {
    let mut tx = Transaction::new(state, Timestamp::UNIX_EPOCH);
    let decoded = write::decode_request(context, object.clone(), FieldValidation::Warn, Vec::new());
    let created = decoded.and_then(|decoded| write::create(&mut tx, context, "n", decoded.object));
    if let Ok(created) = created {
        let namespace = if context.resource.namespaced { "n" } else { "" };
        let key = Key::new(&context.resource, namespace, crate::object::name(&created));
        for door in [Door::Main, Door::Status] {
            for patch in [Patch::Merge(patch.clone()), Patch::Strategic(patch.clone())] {
                let live = crate::events::shown(&context.resource, tx.state().get(&key).unwrap());
                if let Ok((new, _)) = patched(context, &live, &patch, FieldValidation::Warn) {
                    let _ = write::update(&mut tx, context, door, &key, new, false);
                }
                if tx.state().get(&key).is_none() {
                    break;
                }
            }
            let Some(live) = tx.state().get(&key).cloned() else {
                break;
            };
            if apply::type_error(&context.shape(), patch, "").is_none() {
                let request = Apply {
                    manager: "other",
                    force: true,
                    config: patch,
                };
                let _ = context.with_scope(&tx, door, |scope| apply::apply(scope, Some(&live), &request));
            }
        }
        let _ = delete_object(&mut tx, &context.resource, &key, &DeleteOptions::default());
    }
    tx.finish(true);
    // The controllers look at whatever is there.
    let _ = crate::controllers::plan(state, "", "2026-01-01T00:00:00Z");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn built_in_objects(which in 0..11usize, place in 0..200usize, second in 0..200usize, with in any_json(), patch_with in any_json()) {
        let all = examples();
        let example = &all[which % all.len()];
        let context = context(example, &Definitions::default());
        prop_assert!(Catalog::built_in().find(&context.resource.group, &context.resource.version, &context.resource.plural).is_some());
        throw(&mut state(), &context, &broken(example, place, &with), &broken(example, second, &patch_with));
        throw(&mut state(), &context, example, &broken(example, second, &patch_with));
    }

    /// A definition that was accepted, however odd, and objects of it, however broken.
    #[test]
    fn custom_objects(place in 0..200usize, with in any_json(), second in 0..200usize, object_with in any_json(), patch in any_json()) {
        let definition = broken(&examples()[10], place, &with);
        let mut state = state();
        let definition_context = context(&examples()[10], &Definitions::default());
        let mut tx = Transaction::new(&mut state, Timestamp::UNIX_EPOCH);
        let decoded = write::decode_request(&definition_context, definition, FieldValidation::Warn, Vec::new());
        let _ = decoded.and_then(|decoded| write::create(&mut tx, &definition_context, "", decoded.object));
        tx.finish(true);
        let key = Key { storage: "apiextensions.k8s.io/customresourcedefinitions".into(), namespace: String::new(), name: "widgets.e.com".into() };
        if let Some(found) = state.get(&key).cloned() {
            let mut tx = Transaction::new(&mut state, Timestamp::UNIX_EPOCH);
            let mut object = (*found).clone();
            object["status"] = crate::crd::accepted_status(&object, "2026-01-01T00:00:00Z");
            tx.put(key, object);
            tx.finish(true);
        }
        let definitions = Arc::new(Definitions::read(&state, Definitions::stamp(&state), &Definitions::default()));
        let widget = json!({ "apiVersion": "e.com/v1", "kind": "Widget", "metadata": { "name": "w" }, "spec": { "n": 1, "l": [{ "k": "a" }] } });
        let served = definitions.resources().any(|r| r.kind == "Widget" && r.version == "v1" && r.group == "e.com");
        if served {
            let context = context(&widget, &definitions);
            throw(&mut state, &context, &broken(&widget, second, &object_with), &patch);
            throw(&mut state, &context, &widget, &broken(&widget, second, &object_with));
        }
    }
}
