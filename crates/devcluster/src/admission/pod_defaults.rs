//! Defaults of pods and pod templates.

use serde_json::{Map, Value, json};

use super::defaults::{default, items};
use crate::object::map_at;

/// Permission bits of files made from a ConfigMap, Secret and the like: 0644.
const FILE_MODE: i32 = 0o644;

/// Defaults the pod spec of a template.
pub(super) fn default_template(template: Option<&mut Value>) {
    if let Some(template) = template {
        map_at(template, "metadata");
        default_pod_spec(map_at(template, "spec"));
    }
}

/// Defaults a pod spec, as it is in templates; pods get a little more.
pub(super) fn default_pod_spec(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "securityContext", json!({}));
    default(spec, "schedulerName", "default-scheduler");
    // Two names of one thing: the old one is printed too.
    match (
        spec.get("serviceAccountName").cloned(),
        spec.get("serviceAccount").cloned(),
    ) {
        (Some(name), _) => drop(spec.insert("serviceAccount".into(), name)),
        (None, Some(name)) => drop(spec.insert("serviceAccountName".into(), name)),
        _ => {}
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        items(spec.get_mut(list)).for_each(|c| container(c, host_network));
    }
    items(spec.get_mut("volumes")).for_each(volume);
    {
        let list = "topologySpreadConstraints";
        items(spec.get_mut(list)).for_each(|c| default(c, "whenUnsatisfiable", "DoNotSchedule"));
    }
}

fn container(container: &mut Map<String, Value>, host_network: bool) {
    default(container, "resources", json!({}));
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    default(
        container,
        "imagePullPolicy",
        if has_latest_tag(image) {
            "Always"
        } else {
            "IfNotPresent"
        },
    );
    for port in items(container.get_mut("ports")) {
        default(port, "protocol", "TCP");
        if host_network {
            let number = port.get("containerPort").cloned().unwrap_or(Value::Null);
            default(port, "hostPort", number);
        }
    }
    for variable in items(container.get_mut("env")) {
        if let Some(field) = variable
            .get_mut("valueFrom")
            .and_then(|v| v.get_mut("fieldRef"))
            .and_then(Value::as_object_mut)
        {
            default(field, "apiVersion", "v1");
        }
    }
    if let Some(resources) = container.get_mut("resources")
        && let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned()
    {
        let requests = map_at(resources, "requests");
        limits
            .into_iter()
            .for_each(|(name, amount)| default(requests, &name, amount));
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(name).and_then(Value::as_object_mut) else {
            continue;
        };
        for (field, value) in [
            ("timeoutSeconds", 1),
            ("periodSeconds", 10),
            ("successThreshold", 1),
            ("failureThreshold", 3),
        ] {
            default(probe, field, value);
        }
        http_get(probe.get_mut("httpGet"));
        if let Some(grpc) = probe.get_mut("grpc").and_then(Value::as_object_mut) {
            default(grpc, "service", "");
        }
    }
    if let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) {
        lifecycle
            .values_mut()
            .for_each(|hook| http_get(hook.get_mut("httpGet")));
    }
}

fn http_get(action: Option<&mut Value>) {
    if let Some(action) = action.and_then(Value::as_object_mut) {
        default(action, "path", "/");
        default(action, "scheme", "HTTP");
    }
}

fn volume(volume: &mut Map<String, Value>) {
    let sources = volume.keys().filter(|key| *key != "name").count();
    if sources == 0 {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
            default(source, "defaultMode", FILE_MODE);
            field_references(source.get_mut("items"));
            for projection in items(source.get_mut("sources")) {
                if let Some(token) = projection.get_mut("serviceAccountToken").and_then(Value::as_object_mut) {
                    default(token, "expirationSeconds", 3600);
                }
                field_references(projection.get_mut("downwardAPI").and_then(|d| d.get_mut("items")));
            }
        }
    }
    if let Some(host) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        default(host, "type", "");
    }
}

fn field_references(list: Option<&mut Value>) {
    for item in items(list) {
        if let Some(field) = item.get_mut("fieldRef").and_then(Value::as_object_mut) {
            default(field, "apiVersion", "v1");
        }
    }
}

/// Whether an image reference has the tag `latest` or none (and no digest).
fn has_latest_tag(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::has_latest_tag;

    #[test]
    fn only_an_image_without_a_fixed_tag_is_always_pulled() {
        assert!(has_latest_tag("nginx") && has_latest_tag("registry:5000/nginx") && has_latest_tag("nginx:latest"));
        assert!(!has_latest_tag("nginx:1.25") && !has_latest_tag("nginx@sha256:00"));
    }
}
