//! What each door may change: the metadata the server owns, status apart from spec, generation.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::apply::FieldSet;
use crate::object::{is_terminating, map_at, meta, metadata_mut, put, random_suffix, rfc3339};
use crate::resource::Resource;
use crate::status::{Outcome, Status};

/// Longest base of a generated name; five letters follow.
const GENERATED_BASE: usize = 248;

/// Through which door a write comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The object itself.
    Main,
    /// Its status subresource.
    Status,
    /// The scale subresource: only the number of replicas changes.
    Scale,
    /// `finalize` of a namespace.
    Finalize,
}

impl Door {
    /// Name of the subresource, empty for the object itself.
    pub fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
        }
    }
}

/// Subtrees that a write through a door does not set, and so does not own.
pub fn reset_fields(resource: &Resource, door: Door) -> FieldSet {
    let mut set = FieldSet::default();
    let mut add = |path: &[&str]| set.insert(&path.iter().map(|p| format!("f:{p}")).collect::<Vec<_>>());
    match door {
        Door::Main if resource.status => add(&["status"]),
        Door::Status if resource.built_in() => {
            add(&["spec"]);
            if resource.is_core("pods") {
                add(&["metadata", "deletionTimestamp"]);
                add(&["metadata", "ownerReferences"]);
            }
        }
        Door::Status => {
            add(&["spec"]);
            add(&["metadata"]);
        }
        _ => {}
    }
    set
}

/// Gives a new object the metadata that the server owns.
///
/// # Errors
/// 400 or 500 for metadata that contradicts the request.
pub fn before_create(resource: &Resource, namespace: &str, object: &mut Value, now: Timestamp) -> Outcome<()> {
    if !meta(object, "resourceVersion").is_empty() {
        return Err(Status::unclassified(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    check_namespace(resource, namespace, object)?;
    let generate = meta(object, "generateName").to_string();
    let unnamed = meta(object, "name").is_empty();
    let metadata = metadata_mut(object);
    if unnamed && !generate.is_empty() {
        let base: String = generate.chars().take(GENERATED_BASE).collect();
        metadata.insert("name".into(), format!("{base}{}", random_suffix(5)).into());
    }
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), rfc3339(now).into());
    if resource.namespaced {
        metadata.insert("namespace".into(), namespace.into());
    } else {
        metadata.remove("namespace");
    }
    if resource.generation || !resource.built_in() {
        metadata.insert("generation".into(), 1.into());
    }
    dedup_owners(metadata);
    if resource.status && object.get("status").is_some() {
        if resource.built_in() {
            object["status"] = crate::admission::zero(resource)["status"].clone();
        } else if let Some(map) = object.as_object_mut() {
            map.remove("status");
        }
    }
    if resource.is_core("namespaces") {
        map_at(object, "status").insert("phase".into(), "Active".into());
        map_at(object, "spec").insert("finalizers".into(), json!(["kubernetes"]));
    }
    if resource.group == "apiextensions.k8s.io" && resource.built_in() {
        let versions = crate::crd::storage_versions(object);
        map_at(object, "status").insert("storedVersions".into(), versions);
    }
    if resource.shape.as_deref() == Some("batch/v1.Job") {
        super::jobs::prepare(object);
    }
    Ok(())
}

/// The namespace in an object must be that of the request.
pub fn check_namespace(resource: &Resource, namespace: &str, object: &Value) -> Outcome<()> {
    let sent = meta(object, "namespace");
    if resource.namespaced && !sent.is_empty() && sent != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    Ok(())
}

/// Owners are told apart by uid; a second one is dropped.
fn dedup_owners(metadata: &mut serde_json::Map<String, Value>) {
    if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        let mut seen = Vec::new();
        owners.retain(|owner| {
            let new = !seen.contains(&owner["uid"]);
            seen.push(owner["uid"].clone());
            new
        });
    }
}

/// Makes `new` what may be stored after `old`: metadata the server owns and what the door may not change
/// come from `old`, and the generation counts.
pub fn before_update(resource: &Resource, door: Door, old: &Value, new: &mut Value) {
    match door {
        Door::Main => keep_status(resource, old, new),
        Door::Status if resource.built_in() => {
            for key in old
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key.clone())
                .collect::<Vec<_>>()
            {
                if !matches!(key.as_str(), "metadata" | "status" | "apiVersion" | "kind") {
                    new[&key] = old[&key].clone();
                }
            }
        }
        Door::Status => {
            // A custom resource: only status and the record of who set it.
            let status = new.get("status").cloned();
            let managed = new["metadata"]["managedFields"].clone();
            *new = old.clone();
            put(map_at_root(new), "status", status.unwrap_or(Value::Null));
            put(metadata_mut(new), "managedFields", managed);
        }
        Door::Scale | Door::Finalize => {}
    }
    let metadata = metadata_mut(new);
    for field in [
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
    ] {
        put(metadata, field, old["metadata"][field].clone());
    }
    for field in ["uid", "name", "namespace"] {
        if metadata.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            put(metadata, field, old["metadata"][field].clone());
        }
    }
    dedup_owners(metadata);
    if door != Door::Status && desired_state_differs(resource, old, new) {
        bump_generation(resource, new);
    }
}

/// Adds one to the generation of kinds that count it.
pub fn bump_generation(resource: &Resource, object: &mut Value) {
    if resource.generation || !resource.built_in() {
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        metadata_mut(object).insert("generation".into(), generation.into());
    }
}

fn map_at_root(object: &mut Value) -> &mut serde_json::Map<String, Value> {
    match object {
        Value::Object(map) => map,
        _ => unreachable!("objects are JSON maps: decoding refused everything else"),
    }
}

fn keep_status(resource: &Resource, old: &Value, new: &mut Value) {
    if resource.status {
        put(
            map_at_root(new),
            "status",
            old.get("status").cloned().unwrap_or(Value::Null),
        );
    }
    if resource.is_core("namespaces") {
        put(map_at(new, "spec"), "finalizers", old["spec"]["finalizers"].clone());
    }
}

/// Whether what is wanted changed: everything but metadata and status.
fn desired_state_differs(resource: &Resource, old: &Value, new: &Value) -> bool {
    if resource.built_in() {
        return ["spec", "parameters", "endpoints", "ports", "value", "webhooks"]
            .iter()
            .any(|key| old[*key] != new[*key]);
    }
    let desired = |object: &Value| {
        let mut object = object.clone();
        if let Some(map) = object.as_object_mut() {
            for key in ["metadata", "apiVersion", "kind"] {
                map.remove(key);
            }
            if resource.status {
                map.remove("status");
            }
        }
        object
    };
    desired(old) != desired(new)
}

/// Whether two objects are equal but for the record of who set what and when.
pub fn same_but_for_managers(old: &Value, new: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        metadata_mut(&mut object).remove("resourceVersion");
        if let Some(entries) = object["metadata"]["managedFields"].as_array_mut() {
            for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
                entry.remove("time");
            }
            entries.sort_by_key(|entry| entry.to_string());
        }
        object
    };
    bare(old) == bare(new)
}

/// Whether an update leaves an object that should now go: it is being deleted and nothing holds it.
pub fn should_go(resource: &Resource, object: &Value) -> bool {
    !resource.is_core("namespaces")
        && is_terminating(object)
        && crate::object::finalizers(object).is_empty()
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}
