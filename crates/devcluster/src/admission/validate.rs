//! Validation of metadata, common to all kinds.

use std::collections::BTreeSet;

use serde_json::Value;

use super::names;
use super::strategy::Door;
use super::validate_kinds;
use crate::object::{self, is_terminating, owners};
use crate::resource::Resource;
use crate::status::FieldError;

/// Total bytes of annotations.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

fn name_errors(resource: &Resource, name: &str) -> Vec<String> {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") => names::dns_label(name),
        // Since 1.36 the name of a Service may start with a digit.
        ("", "services") => names::dns_label(name),
        ("rbac.authorization.k8s.io", _) => names::path_segment(name),
        _ => names::dns_subdomain(name),
    }
}

fn validate_metadata(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = &object["metadata"];
    let name = object::name(object);
    let generate = object::meta(object, "generateName");
    if !generate.is_empty() {
        // What is cut from the prefix anyway does not count.
        let prefix: String = generate.trim_end_matches('-').chars().take(248).collect();
        let prefix = if prefix.is_empty() { "a".to_string() } else { prefix };
        for detail in name_errors(resource, &prefix)
            .into_iter()
            .take(usize::from(generate != "-"))
        {
            errors.push(FieldError::invalid("metadata.generateName", &generate.into(), detail));
        }
    }
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        for detail in name_errors(resource, name) {
            errors.push(FieldError::invalid("metadata.name", &name.into(), detail));
        }
    }
    errors.extend(labels("metadata.labels", &metadata["labels"]));
    let mut total = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        total += key.len() + value.as_str().map_or(0, str::len);
        for detail in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                &key.as_str().into(),
                detail,
            ));
        }
    }
    if total > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long("metadata.annotations", ANNOTATIONS_LIMIT));
    }
    errors.extend(owner_errors(object));
    for (index, finalizer) in object::finalizers(object).into_iter().enumerate() {
        for detail in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid("metadata.finalizers", &finalizer.into(), detail));
        }
        let standard = ["orphan", "foregroundDeletion", "kubernetes"].contains(&finalizer);
        let strict = resource.built_in() && resource.group != "apiextensions.k8s.io";
        if strict && !finalizer.contains('/') && !standard && names::qualified_name(finalizer).is_empty() {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(
                format!("metadata.finalizers[{index}]"),
                &finalizer.into(),
                detail,
            ));
        }
    }
    errors
}

/// Errors in a map of labels.
pub(super) fn labels(field: &str, labels: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        errors.extend(
            names::qualified_name(key)
                .into_iter()
                .map(|d| FieldError::invalid(field, &key.as_str().into(), d)),
        );
        errors.extend(
            names::label_value(text)
                .into_iter()
                .map(|d| FieldError::invalid(field, value, d)),
        );
    }
    errors
}

fn owner_errors(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<&Value> = None;
    for owner in owners(object) {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                let detail = if field == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                errors.push(FieldError::invalid(
                    format!("metadata.ownerReferences.{field}"),
                    &"".into(),
                    detail,
                ));
            }
        }
        if owner["controller"] == true {
            if let Some(first) = controller {
                let words = |o: &Value| {
                    format!(
                        "{}/{}",
                        o["kind"].as_str().unwrap_or_default(),
                        o["name"].as_str().unwrap_or_default()
                    )
                };
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    words(first),
                    words(owner)
                );
                errors.push(FieldError::invalid(
                    "metadata.ownerReferences",
                    &object["metadata"]["ownerReferences"],
                    detail,
                ));
            }
            controller = Some(owner);
        }
    }
    errors
}

/// What keeps a new object out.
pub fn validate_create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let mut errors = validate_metadata(resource, object);
    errors.extend(validate_kinds::create(resource, object));
    errors
}

/// What keeps a change out.
pub fn validate_update(resource: &Resource, door: Door, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = validate_metadata(resource, new);
    let (sent, current) = (object::uid(new), object::uid(old));
    if sent != current {
        let error = FieldError::invalid("metadata.uid", &sent.into(), "field is immutable");
        errors.extend([error.clone(), error]);
    }
    if is_terminating(old) {
        let before: BTreeSet<&str> = object::finalizers(old).into_iter().collect();
        let added: Vec<&str> = object::finalizers(new)
            .into_iter()
            .filter(|f| !before.contains(f))
            .collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            let error = FieldError::forbidden("metadata.finalizers", detail);
            errors.extend([error.clone(), error]);
        }
    }
    errors.extend(validate_kinds::update(resource, door, old, new));
    errors
}
