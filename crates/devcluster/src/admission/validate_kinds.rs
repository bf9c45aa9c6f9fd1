//! Validation by kind, as far as it is served here.

use serde_json::Value;

use super::names;
use super::strategy::Door;
use crate::resource::Resource;
use crate::status::FieldError;

/// What keeps a new object of a kind out.
pub(super) fn create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    if resource.plural == "events" {
        return super::validate_events::create(resource, object);
    }
    content(resource, object)
}

/// What keeps a change of an object of a kind out.
pub(super) fn update(resource: &Resource, door: Door, old: &Value, new: &Value) -> Vec<FieldError> {
    if resource.plural == "events" {
        return super::validate_events::update(resource, old, new);
    }
    let mut errors = match resource.shape.as_deref().unwrap_or_default() {
        "core/v1.Service" => super::workloads::service_update(&old["spec"], &new["spec"]),
        "core/v1.ConfigMap" | "core/v1.Secret" => immutable_content(resource, old, new),
        "rbac/v1.RoleBinding" | "rbac/v1.ClusterRoleBinding" => role_reference(old, new),
        "apps/v1.Deployment" | "apps/v1.ReplicaSet" | "apps/v1.DaemonSet" => {
            immutable_field("spec.selector", &old["spec"]["selector"], &new["spec"]["selector"])
        }
        "batch/v1.Job" => immutable_field("spec.selector", &old["spec"]["selector"], &new["spec"]["selector"]),
        "apiextensions/v1.CustomResourceDefinition" => ["group", "scope"]
            .iter()
            .flat_map(|field| immutable_field(&format!("spec.{field}"), &old["spec"][*field], &new["spec"][*field]))
            .collect(),
        _ => Vec::new(),
    };
    errors.extend(load_balancer(&new["status"]["loadBalancer"]));
    if door != Door::Status {
        errors.extend(content(resource, new));
    }
    errors
}

fn immutable_field(field: &str, old: &Value, new: &Value) -> Vec<FieldError> {
    if old == new {
        Vec::new()
    } else {
        vec![FieldError::invalid(field, new, "field is immutable")]
    }
}

fn content(resource: &Resource, object: &Value) -> Vec<FieldError> {
    match resource.shape.as_deref().unwrap_or_default() {
        "core/v1.ConfigMap" => keys(object, &["data", "binaryData"]),
        "core/v1.Secret" => {
            let mut errors = keys(object, &["data"]);
            errors.extend(secret_type(object));
            errors
        }
        "rbac/v1.Role" => role_rules(object, true),
        "rbac/v1.ClusterRole" => role_rules(object, false),
        "apiextensions/v1.CustomResourceDefinition" => crate::crd::validate_definition(object),
        _ => super::workloads::content(resource, object),
    }
}

fn keys(object: &Value, fields: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in fields {
        for key in object[*field].as_object().into_iter().flatten().map(|(key, _)| key) {
            let place = format!("{field}[{key}]");
            errors.extend(
                names::config_key(key)
                    .into_iter()
                    .map(|d| FieldError::invalid(place.clone(), &key.as_str().into(), d)),
            );
        }
    }
    errors
}

fn secret_type(object: &Value) -> Vec<FieldError> {
    let has = |key: &str| object["data"].get(key).is_some();
    let missing = |key: &str| (!has(key)).then(|| FieldError::required(format!("data[{key}]"), ""));
    match object["type"].as_str() {
        Some("kubernetes.io/tls") => ["tls.crt", "tls.key"].into_iter().filter_map(missing).collect(),
        Some("kubernetes.io/ssh-auth") => missing("ssh-privatekey").into_iter().collect(),
        Some("kubernetes.io/basic-auth") if !has("username") && !has("password") => {
            ["username", "password"].into_iter().filter_map(missing).collect()
        }
        Some("kubernetes.io/dockerconfigjson") => docker_config(object, ".dockerconfigjson"),
        Some("kubernetes.io/dockercfg") => docker_config(object, ".dockercfg"),
        _ => Vec::new(),
    }
}

fn docker_config(object: &Value, key: &str) -> Vec<FieldError> {
    let field = format!("data[{key}]");
    let Some(text) = object["data"][key].as_str() else {
        return vec![FieldError::required(field, "")];
    };
    let bytes = crate::schema::decode_base64(text).unwrap_or_default();
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let detail = crate::api::go_json_error(&bytes, &error);
            vec![FieldError::invalid(field, &"<secret contents redacted>".into(), detail)]
        }
    }
}

fn immutable_content(resource: &Resource, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old["immutable"] == true {
        let forbidden = |field: &str| FieldError::forbidden(field, "field is immutable when `immutable` is set");
        if new["immutable"] != true {
            errors.push(forbidden("immutable"));
        }
        for field in ["data", "binaryData"] {
            if old[field] != new[field] {
                errors.push(forbidden(field));
            }
        }
    }
    if resource.is_core("secrets") {
        errors.extend(immutable_field("type", &old["type"], &new["type"]));
    }
    errors
}

fn role_reference(old: &Value, new: &Value) -> Vec<FieldError> {
    if old["roleRef"] == new["roleRef"] {
        return Vec::new();
    }
    let role = &new["roleRef"];
    let shown = serde_json::json!({ "APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"] });
    vec![FieldError::invalid("roleRef", &shown, "cannot change roleRef")]
}

fn role_rules(object: &Value, namespaced: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let none = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    for (index, rule) in object["rules"].as_array().into_iter().flatten().enumerate() {
        let field = |name: &str| format!("rules[{index}].{name}");
        if none(&rule["verbs"]) {
            errors.push(FieldError::required(
                field("verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !none(&rule["nonResourceURLs"]) {
            if namespaced {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(
                    field("nonResourceURLs"),
                    &rule["nonResourceURLs"],
                    detail,
                ));
            }
            continue;
        }
        if none(&rule["apiGroups"]) {
            errors.push(FieldError::required(
                field("apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if none(&rule["resources"]) {
            errors.push(FieldError::required(
                field("resources"),
                "resource rules must supply at least one resource",
            ));
        }
    }
    errors
}

/// Addresses in the status of Services and Ingresses.
fn load_balancer(status: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, entry) in status["ingress"].as_array().into_iter().flatten().enumerate() {
        let Some(text) = entry["ip"].as_str() else { continue };
        if text.parse::<std::net::IpAddr>().is_err() {
            let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(
                format!("status.loadBalancer.ingress[{index}].ip"),
                &entry["ip"],
                detail,
            ));
        }
    }
    errors
}
