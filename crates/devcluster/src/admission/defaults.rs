//! Defaults of the built-in kinds.

use serde_json::{Map, Value, json};

use super::pod_defaults::{default_pod_spec, default_template};
use crate::object::{map_at, metadata_mut};
use crate::resource::Resource;

/// Sets a field that is missing or null.
pub(super) fn default(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    let slot = map.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = value.into();
    }
}

/// Maps in a list.
pub(super) fn items<'a>(value: Option<&'a mut Value>) -> impl Iterator<Item = &'a mut Map<String, Value>> + use<'a> {
    value
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// Defaults everything that the published API documents as defaulted, as far as it is served here.
pub fn default_object(resource: &Resource, object: &mut Value) {
    match resource.shape.as_deref().unwrap_or_default() {
        "core/v1.Pod" => {
            let spec = map_at(object, "spec");
            default_pod_spec(spec);
            default(spec, "enableServiceLinks", true);
            // Times held by value are printed although nobody has set them.
            for condition in items(map_at(object, "status").get_mut("conditions")) {
                default(condition, "lastProbeTime", Value::Null);
                default(condition, "lastTransitionTime", Value::Null);
            }
        }
        "apps/v1.Deployment" => deployment(object),
        "apps/v1.ReplicaSet" => {
            let spec = map_at(object, "spec");
            default(spec, "replicas", 1);
            default_template(spec.get_mut("template"));
        }
        "apps/v1.StatefulSet" => stateful_set(object),
        "apps/v1.DaemonSet" => daemon_set(object),
        "batch/v1.Job" => job(map_at(object, "spec")),
        "batch/v1.CronJob" => {
            let spec = map_at(object, "spec");
            default(spec, "concurrencyPolicy", "Allow");
            default(spec, "suspend", false);
            default(spec, "successfulJobsHistoryLimit", 3);
            default(spec, "failedJobsHistoryLimit", 1);
            if let Some(template) = spec.get_mut("jobTemplate") {
                default_template(map_at(template, "spec").get_mut("template"));
            }
        }
        "core/v1.Service" => {
            service(map_at(object, "spec"));
            let balancer = map_at(object, "status").get_mut("loadBalancer");
            for entry in items(balancer.and_then(|b| b.get_mut("ingress"))) {
                if entry.contains_key("ip") {
                    default(entry, "ipMode", "VIP");
                }
            }
        }
        "core/v1.Secret" => secret(object),
        "core/v1.Namespace" => namespace(object),
        "core/v1.Endpoints" => {
            for subset in items(object.get_mut("subsets")) {
                items(subset.get_mut("ports")).for_each(|port| default(port, "protocol", "TCP"));
            }
        }
        "core/v1.PersistentVolumeClaim" => {
            default(map_at(object, "spec"), "volumeMode", "Filesystem");
            default(map_at(object, "status"), "phase", "Pending");
        }
        "discovery/v1.EndpointSlice" => {
            for port in items(object.get_mut("ports")) {
                default(port, "name", "");
                default(port, "protocol", "TCP");
            }
        }
        "networking/v1.NetworkPolicy" => network_policy(map_at(object, "spec")),
        "rbac/v1.RoleBinding" | "rbac/v1.ClusterRoleBinding" => role_binding(object),
        "apiextensions/v1.CustomResourceDefinition" => definition(map_at(object, "spec")),
        "storage/v1.StorageClass" => {
            let class = map_at_root(object);
            default(class, "reclaimPolicy", "Delete");
            default(class, "volumeBindingMode", "Immediate");
        }
        _ => {}
    }
}

fn map_at_root(object: &mut Value) -> &mut Map<String, Value> {
    match object {
        Value::Object(map) => map,
        _ => unreachable!("objects are JSON maps: decoding refused everything else"),
    }
}

fn deployment(object: &mut Value) {
    let spec = map_at(object, "spec");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    default(spec, "strategy", json!({}));
    if let Some(strategy) = spec.get_mut("strategy").and_then(Value::as_object_mut) {
        default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            default(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) {
                default(rolling, "maxUnavailable", "25%");
                default(rolling, "maxSurge", "25%");
            }
        }
    }
    default_template(spec.get_mut("template"));
}

fn stateful_set(object: &mut Value) {
    let spec = map_at(object, "spec");
    default(spec, "replicas", 1);
    default(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "revisionHistoryLimit", 10);
    default(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        json!({ "whenDeleted": "Retain", "whenScaled": "Retain" }),
    );
    if let Some(strategy) = spec.get_mut("updateStrategy").and_then(Value::as_object_mut) {
        default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            default(strategy, "rollingUpdate", json!({ "partition": 0 }));
        }
    }
    default_template(spec.get_mut("template"));
}

fn daemon_set(object: &mut Value) {
    let spec = map_at(object, "spec");
    default(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = spec.get_mut("updateStrategy").and_then(Value::as_object_mut) {
        default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            default(strategy, "rollingUpdate", json!({ "maxUnavailable": 1, "maxSurge": 0 }));
        }
    }
    default_template(spec.get_mut("template"));
}

fn job(spec: &mut Map<String, Value>) {
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    default(spec, "backoffLimit", 6);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "manualSelector", false);
    if spec.get("podFailurePolicy").is_some() {
        default(spec, "podReplacementPolicy", "Failed");
    } else {
        default(spec, "podReplacementPolicy", "TerminatingOrFailed");
    }
    default_template(spec.get_mut("template"));
}

fn service(spec: &mut Map<String, Value>) {
    default(spec, "sessionAffinity", "None");
    default(spec, "type", "ClusterIP");
    let kind = spec["type"].as_str().unwrap_or_default().to_string();
    if spec["sessionAffinity"] == "ClientIP" {
        default(
            spec,
            "sessionAffinityConfig",
            json!({ "clientIP": { "timeoutSeconds": 10800 } }),
        );
    }
    for port in items(spec.get_mut("ports")) {
        default(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        let target = port.get("targetPort");
        if target.is_none_or(|t| t.is_null() || *t == json!(0) || *t == json!("")) {
            port.insert("targetPort".into(), number);
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// `stringData` is written into `data`, and the type is `Opaque` unless it is given.
fn secret(object: &mut Value) {
    use base64::Engine;
    let root = map_at_root(object);
    if let Some(Value::Object(plain)) = root.remove("stringData") {
        let data = root.entry("data").or_insert_with(|| json!({}));
        for (key, value) in plain {
            let bytes = value.as_str().unwrap_or_default().as_bytes();
            data[key] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
        }
    }
    default(root, "type", "Opaque");
}

fn namespace(object: &mut Value) {
    let name = crate::object::name(object).to_string();
    if !name.is_empty() {
        let labels = metadata_mut(object).entry("labels").or_insert_with(|| json!({}));
        labels["kubernetes.io/metadata.name"] = name.into();
    }
    default(map_at(object, "status"), "phase", "Active");
}

fn network_policy(spec: &mut Map<String, Value>) {
    if spec.get("policyTypes").is_none() {
        let egress = spec.get("egress").is_some_and(|e| !e.is_null());
        spec.insert(
            "policyTypes".into(),
            if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            },
        );
    }
    for direction in ["ingress", "egress"] {
        for rule in items(spec.get_mut(direction)) {
            items(rule.get_mut("ports")).for_each(|port| default(port, "protocol", "TCP"));
        }
    }
}

fn role_binding(object: &mut Value) {
    let role = map_at(object, "roleRef");
    if role.get("apiGroup").and_then(Value::as_str).is_none_or(str::is_empty) {
        role.insert("apiGroup".into(), "rbac.authorization.k8s.io".into());
    }
    for subject in items(object.get_mut("subjects")) {
        let group = match subject.get("kind").and_then(Value::as_str) {
            Some("User" | "Group") => "rbac.authorization.k8s.io",
            _ => continue,
        };
        default(subject, "apiGroup", group);
    }
}

fn definition(spec: &mut Map<String, Value>) {
    default(spec, "conversion", json!({ "strategy": "None" }));
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string();
        default(names, "singular", kind.to_lowercase());
        default(names, "listKind", format!("{kind}List"));
    }
}
