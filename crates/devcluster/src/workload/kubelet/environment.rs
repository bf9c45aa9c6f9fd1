//! The environment variables of a container. Pure: what they refer to has been read before.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};

use super::expand::expand;

/// Objects of the pod's namespace that its containers refer to.
#[derive(Debug, Default)]
pub(super) struct References {
    pub(super) config_maps: BTreeMap<String, ConfigMap>,
    pub(super) secrets: BTreeMap<String, Secret>,
    /// For the `NAME_SERVICE_HOST` variables.
    pub(super) services: Vec<Service>,
}

/// Names of the ConfigMaps and Secrets that the environment of `container` refers to.
pub(super) fn referred(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for source in container.env_from.iter().flatten() {
        config_maps.extend(source.config_map_ref.iter().map(|from| from.name.clone()));
        secrets.extend(source.secret_ref.iter().map(|from| from.name.clone()));
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.value_from.as_ref())
    {
        config_maps.extend(source.config_map_key_ref.iter().map(|from| from.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|from| from.name.clone()));
    }
    (config_maps, secrets)
}

/// The variables of `container`: services, then `envFrom`, then `env`; later ones win, and values may
/// refer to earlier ones with `$(NAME)`.
///
/// # Errors
/// The kubelet's message when something referred to is missing and not optional.
pub(super) fn environment(
    pod: &Pod,
    container: &Container,
    pod_ip: &str,
    host_ip: &str,
    references: &References,
) -> Result<BTreeMap<String, String>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut variables = BTreeMap::new();
    if pod
        .spec
        .as_ref()
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true)
    {
        variables.extend(references.services.iter().flat_map(service_variables));
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(from) = &source.config_map_ref {
            match references.config_maps.get(&from.name) {
                Some(map) => {
                    let data = map.data.iter().flatten();
                    variables.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if from.optional == Some(true) => {}
                None => return Err(format!("configmap \"{}\" not found", from.name)),
            }
        }
        if let Some(from) = &source.secret_ref {
            match references.secrets.get(&from.name) {
                Some(secret) => {
                    let data = secret.data.iter().flatten();
                    variables.extend(
                        data.map(|(key, value)| (format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into())),
                    );
                }
                None if from.optional == Some(true) => {}
                None => return Err(format!("secret \"{}\" not found", from.name)),
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &variables)),
            Some(source) => value_from(source, pod, namespace, pod_ip, host_ip, references)?,
        };
        if let Some(value) = value {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// `None` when the source is optional and missing: the variable is not set at all.
fn value_from(
    source: &EnvVarSource,
    pod: &Pod,
    namespace: &str,
    pod_ip: &str,
    host_ip: &str,
    references: &References,
) -> Result<Option<String>, String> {
    if let Some(from) = &source.config_map_key_ref {
        let optional = from.optional == Some(true);
        let Some(map) = references.config_maps.get(&from.name) else {
            return if optional {
                Ok(None)
            } else {
                Err(format!("configmap \"{}\" not found", from.name))
            };
        };
        return match map.data.as_ref().and_then(|data| data.get(&from.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(format!(
                "couldn't find key {} in ConfigMap {namespace}/{}",
                from.key, from.name
            )),
        };
    }
    if let Some(from) = &source.secret_key_ref {
        let optional = from.optional == Some(true);
        let Some(secret) = references.secrets.get(&from.name) else {
            return if optional {
                Ok(None)
            } else {
                Err(format!("secret \"{}\" not found", from.name))
            };
        };
        return match secret.data.as_ref().and_then(|data| data.get(&from.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into())),
            None if optional => Ok(None),
            None => Err(format!(
                "couldn't find key {} in Secret {namespace}/{}",
                from.key, from.name
            )),
        };
    }
    if let Some(from) = &source.field_ref {
        return field(pod, &from.field_path, pod_ip, host_ip).map(Some);
    }
    if source.resource_field_ref.is_some() {
        return Err("resourceFieldRef is not supported by the development cluster".to_owned());
    }
    Err("valueFrom has no known source".to_owned())
}

/// The value of a downward-API field path.
///
/// # Errors
/// A message naming the path when it is not supported.
pub(super) fn field(pod: &Pod, path: &str, pod_ip: &str, host_ip: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| Ok(value.cloned().unwrap_or_default());
    let quoted = |map: &Option<BTreeMap<String, String>>| {
        let lines: Vec<String> = map
            .iter()
            .flatten()
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect();
        lines.join("\n")
    };
    match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => Ok(quoted(&meta.labels)),
        "metadata.annotations" => Ok(quoted(&meta.annotations)),
        "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.podIP" | "status.podIPs" => Ok(pod_ip.to_owned()),
        "status.hostIP" | "status.hostIPs" => Ok(host_ip.to_owned()),
        _ => {
            let entry = |prefix: &str, map: &Option<BTreeMap<String, String>>| {
                let key = path.strip_prefix(prefix)?.strip_suffix("']")?;
                Some(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default())
            };
            entry("metadata.labels['", &meta.labels)
                .or_else(|| entry("metadata.annotations['", &meta.annotations))
                .ok_or_else(|| format!("unsupported fieldPath: {path}"))
        }
    }
}

/// `{NAME}_SERVICE_HOST`, `{NAME}_SERVICE_PORT` and `{NAME}_SERVICE_PORT_{PORT}` of a Service with an
/// address of its own.
fn service_variables(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let Some(address) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
        return Vec::new();
    };
    let shout = |name: &str| name.to_uppercase().replace(['-', '.'], "_");
    let name = shout(service.metadata.name.as_deref().unwrap_or_default());
    let mut variables = vec![(format!("{name}_SERVICE_HOST"), address.to_owned())];
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        if index == 0 {
            variables.push((format!("{name}_SERVICE_PORT"), port.port.to_string()));
        }
        if let Some(port_name) = &port.name {
            variables.push((
                format!("{name}_SERVICE_PORT_{}", shout(port_name)),
                port.port.to_string(),
            ));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n", "labels": {"app": "x"}},
            "spec": {"containers": [], "nodeName": "dev"}}),
        )
        .unwrap()
    }

    fn references() -> References {
        let map = json!({"metadata": {"name": "c"}, "data": {"destination_ip": "127.0.0.9", "K": "v"}});
        let secret = json!({"metadata": {"name": "s"}, "data": {"password": "aHVudGVy"}});
        let service = json!({"metadata": {"name": "my-svc"}, "spec": {"clusterIP": "127.1.0.1",
            "ports": [{"port": 80, "name": "http"}]}});
        References {
            config_maps: BTreeMap::from([("c".to_owned(), serde_json::from_value(map).unwrap())]),
            secrets: BTreeMap::from([("s".to_owned(), serde_json::from_value(secret).unwrap())]),
            services: vec![serde_json::from_value(service).unwrap()],
        }
    }

    fn of(container: serde_json::Value) -> Result<BTreeMap<String, String>, String> {
        let container: Container = serde_json::from_value(container).unwrap();
        environment(&pod(), &container, "127.9.0.1", "127.0.0.1", &references())
    }

    #[test]
    fn every_source_is_read_and_later_variables_see_earlier_ones() {
        let variables = of(
            json!({"name": "m", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}], "env": [
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "DEST", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "destination_ip"}}},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
                {"name": "URL", "value": "http://$(DEST):$(MY_SVC_SERVICE_PORT)/$(LATER)"},
                {"name": "LATER", "value": "$$(IP)"},
                {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "no", "optional": true}}},
            ]}),
        )
        .unwrap();
        for (name, value) in [
            ("P_K", "v"),
            ("IP", "127.9.0.1"),
            ("APP", "x"),
            ("PASSWORD", "hunter"),
            ("URL", "http://127.0.0.9:80/$(LATER)"),
            ("LATER", "$(IP)"),
            ("MY_SVC_SERVICE_HOST", "127.1.0.1"),
            ("MY_SVC_SERVICE_PORT_HTTP", "80"),
        ] {
            assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!variables.contains_key("NONE"));
    }

    #[test]
    fn what_is_missing_is_named_as_by_a_kubelet() {
        for (source, message) in [
            (
                json!({"configMapKeyRef": {"name": "no", "key": "k"}}),
                "configmap \"no\" not found",
            ),
            (
                json!({"configMapKeyRef": {"name": "c", "key": "k"}}),
                "couldn't find key k in ConfigMap n/c",
            ),
            (
                json!({"secretKeyRef": {"name": "s", "key": "k"}}),
                "couldn't find key k in Secret n/s",
            ),
            (
                json!({"fieldRef": {"fieldPath": "spec.x"}}),
                "unsupported fieldPath: spec.x",
            ),
        ] {
            let container = json!({"name": "m", "env": [{"name": "A", "valueFrom": source}]});
            assert_eq!(of(container).unwrap_err(), message);
        }
    }
}
