//! Definitions: whether they are well formed, and their status.

use serde_json::{Value, json};

use crate::object;
use crate::status::FieldError;

/// Whether objects of a definition are served.
pub fn established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True")
        && !object::is_terminating(definition)
        || definition["status"]["acceptedNames"]["plural"]
            .as_str()
            .is_some_and(|p| !p.is_empty())
}

/// What is wrong with a definition, besides its metadata.
pub fn validate_definition(definition: &Value) -> Vec<FieldError> {
    let spec = &definition["spec"];
    let mut errors = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let expected = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    if object::name(definition) != expected {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid(
            "metadata.name",
            &object::name(definition).into(),
            detail,
        ));
    }
    for (field, value) in [
        ("spec.group", &spec["group"]),
        ("spec.names.plural", &spec["names"]["plural"]),
        ("spec.names.kind", &spec["names"]["kind"]),
    ] {
        if text(value).is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    match spec["scope"].as_str() {
        Some("Namespaced" | "Cluster") => {}
        None | Some("") => errors.push(FieldError::required("spec.scope", "")),
        Some(_) => errors.push(FieldError::not_supported(
            "spec.scope",
            &spec["scope"],
            &["Cluster", "Namespaced"],
        )),
    }
    let versions = spec["versions"].as_array().cloned().unwrap_or_default();
    let storage = versions.iter().filter(|v| v["storage"] == true).count();
    if storage != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &spec["versions"], detail));
    }
    for (index, version) in versions.iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            errors.push(FieldError::required(
                format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
        let place = format!("spec.versions[{index}].schema.openAPIV3Schema");
        if version["schema"]["openAPIV3Schema"].is_object() {
            errors.extend(super::structural::check(&version["schema"]["openAPIV3Schema"], &place));
        }
        errors.extend(super::rules::not_compiled(
            &version["schema"]["openAPIV3Schema"],
            &place,
        ));
    }
    errors
}

/// Names of the versions that objects are stored in.
pub fn storage_versions(definition: &Value) -> Value {
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    versions
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect()
}

/// The status a valid definition gets: its names accepted, itself established.
pub fn accepted_status(definition: &Value, now: &str) -> Value {
    let spec = &definition["spec"];
    let stored = storage_versions(definition).as_array().cloned().unwrap_or_default();
    let mut versions = definition["status"]["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    versions.extend(stored.into_iter().filter(|v| !versions.contains(v)).collect::<Vec<_>>());
    let condition = |kind: &str, reason: &str, message: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message });
    json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": spec["names"],
        "storedVersions": versions,
    })
}
