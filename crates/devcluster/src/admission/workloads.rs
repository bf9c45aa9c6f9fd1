//! Validation of pods, what makes pods, and Services.

use serde_json::Value;

use super::names;
use crate::quantity::Quantity;
use crate::resource::Resource;
use crate::selector::LabelSelector;
use crate::status::FieldError;

/// What is wrong with an object of one of these kinds.
pub(super) fn content(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let spec = &object["spec"];
    match resource.shape.as_deref().unwrap_or_default() {
        "core/v1.Pod" => pod_spec("spec", spec),
        "apps/v1.Deployment" | "apps/v1.ReplicaSet" | "apps/v1.StatefulSet" | "apps/v1.DaemonSet" => {
            let mut errors = not_negative("spec.replicas", &spec["replicas"]);
            errors.extend(selector(spec));
            errors.extend(pod_spec("spec.template.spec", &spec["template"]["spec"]));
            errors
        }
        "batch/v1.Job" => job(spec),
        "core/v1.Service" => service(spec),
        _ => Vec::new(),
    }
}

fn not_negative(field: &str, value: &Value) -> Vec<FieldError> {
    match value.as_i64() {
        Some(n) if n < 0 => vec![FieldError::invalid(field, value, "must be greater than or equal to 0")],
        _ => Vec::new(),
    }
}

fn selector(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let empty = serde_json::Map::new();
    let labels = &spec["template"]["metadata"]["labels"];
    let found = &spec["selector"];
    if !found.is_object() {
        errors.push(FieldError::required("spec.selector", ""));
    } else if LabelSelector::from_object(found).is_empty() {
        errors.push(FieldError::invalid(
            "spec.selector",
            found,
            "empty selector is invalid for deployment",
        ));
    }
    let matches =
        found.is_object() && LabelSelector::from_object(found).matches_labels(labels.as_object().unwrap_or(&empty));
    if !matches {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, detail));
    }
    errors
}

fn job(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
    ] {
        errors.extend(not_negative(&format!("spec.{field}"), &spec[field]));
    }
    errors.extend(pod_spec("spec.template.spec", &spec["template"]["spec"]));
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy == "Always" {
        errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            policy,
            &["OnFailure", "Never"],
        ));
    }
    errors
}

fn required_text(field: String, value: &Value) -> Option<FieldError> {
    value
        .as_str()
        .is_none_or(str::is_empty)
        .then(|| FieldError::required(field, ""))
}

fn label_name(field: String, value: &Value) -> Vec<FieldError> {
    match value.as_str() {
        None | Some("") => vec![FieldError::required(field, "")],
        Some(name) => names::dns_label(name)
            .into_iter()
            .map(|d| FieldError::invalid(field.clone(), value, d))
            .collect(),
    }
}

fn pod_spec(path: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut volumes: Vec<&str> = Vec::new();
    for (index, volume) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
        let field = format!("{path}.volumes[{index}].name");
        errors.extend(label_name(field.clone(), &volume["name"]));
        let name = volume["name"].as_str().unwrap_or_default();
        if volumes.contains(&name) {
            errors.push(FieldError::duplicate(field, &name.into()));
        }
        volumes.push(name);
    }
    let containers = spec["containers"].as_array().cloned().unwrap_or_default();
    if containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut names_seen: Vec<&str> = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let field = format!("{path}.containers[{index}]");
        errors.extend(container_errors(&field, container, &volumes));
        let name = container["name"].as_str().unwrap_or_default();
        if names_seen.contains(&name) {
            errors.push(FieldError::duplicate(format!("{field}.name"), &name.into()));
        }
        names_seen.push(name);
    }
    let policy = &spec["restartPolicy"];
    if !matches!(policy.as_str(), None | Some("Always" | "OnFailure" | "Never")) {
        errors.push(FieldError::not_supported(
            format!("{path}.restartPolicy"),
            policy,
            &["Always", "OnFailure", "Never"],
        ));
    }
    errors
}

fn container_errors(field: &str, container: &Value, volumes: &[&str]) -> Vec<FieldError> {
    let mut errors = label_name(format!("{field}.name"), &container["name"]);
    errors.extend(required_text(format!("{field}.image"), &container["image"]));
    for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
        let place = format!("{field}.ports[{index}].containerPort");
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => errors.push(FieldError::required(place, "")),
            1..=65535 => {}
            _ => errors.push(FieldError::invalid(
                place,
                &port["containerPort"],
                "must be between 1 and 65535, inclusive",
            )),
        }
    }
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        errors.extend(required_text(format!("{field}.env[{index}].name"), &variable["name"]));
    }
    for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let name = mount["name"].as_str().unwrap_or_default();
        if !volumes.contains(&name) {
            errors.push(not_found(format!("{field}.volumeMounts[{index}].name"), &mount["name"]));
        }
        errors.extend(required_text(
            format!("{field}.volumeMounts[{index}].mountPath"),
            &mount["mountPath"],
        ));
    }
    let resources = &container["resources"];
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        let parse = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
        if let (Some(wanted), Some(most)) = (parse(request), parse(limit))
            && wanted > most
        {
            let detail = format!(
                "must be less than or equal to {name} limit of {}",
                limit.as_str().unwrap_or_default()
            );
            errors.push(FieldError::invalid(
                format!("{field}.resources.requests"),
                request,
                detail,
            ));
        }
    }
    errors
}

fn not_found(field: String, value: &Value) -> FieldError {
    FieldError {
        kind: crate::status::FieldErrorKind::NotFound,
        ..FieldError::duplicate(field, value)
    }
}

fn service(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let ports = spec["ports"].as_array().cloned().unwrap_or_default();
    if ports.is_empty() && spec["clusterIP"] != "None" && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let field = |name: &str| format!("spec.ports[{index}].{name}");
        match port["name"].as_str() {
            None | Some("") if ports.len() > 1 => errors.push(FieldError::required(field("name"), "")),
            None | Some("") => {}
            Some(name) => {
                errors.extend(
                    names::dns_label(name)
                        .into_iter()
                        .map(|d| FieldError::invalid(field("name"), &port["name"], d)),
                );
            }
        }
        for name in ["port", "targetPort"] {
            if let Some(number) = port[name].as_i64().filter(|n| !(1..=65535).contains(n)) {
                errors.push(FieldError::invalid(
                    field(name),
                    &number.into(),
                    "must be between 1 and 65535, inclusive",
                ));
            }
        }
        if !matches!(port["protocol"].as_str(), None | Some("TCP" | "UDP" | "SCTP")) {
            errors.push(FieldError::not_supported(
                field("protocol"),
                &port["protocol"],
                &["SCTP", "TCP", "UDP"],
            ));
        }
    }
    if !["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"].contains(&kind) {
        let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        errors.push(FieldError::not_supported("spec.type", &spec["type"], &known));
    }
    errors
}

/// What of a Service may not change.
pub(super) fn service_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let external = |spec: &Value| spec["type"] == "ExternalName";
    let set = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    if external(old) || external(new) || !set(&old["clusterIP"]) || old["clusterIP"] == new["clusterIP"] {
        return Vec::new();
    }
    vec![FieldError::invalid(
        "spec.clusterIPs[0]",
        &new["clusterIPs"],
        "may not change once set",
    )]
}
