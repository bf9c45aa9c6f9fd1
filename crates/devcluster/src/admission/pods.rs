//! What a Pod gets on creation: a service account with its token volume, a priority, default tolerations.

use serde_json::{Value, json};

use super::defaults::default;
use crate::object::{map_at, name, namespace, random_suffix};
use crate::quantity::Quantity;
use crate::resource::Resource;
use crate::status::{Outcome, Status};
use crate::store::{Key, State};

/// Where containers find the token.
pub const TOKEN_MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Seconds a projected token is good for; 7 more than an hour, so that it is renewed each hour.
const TOKEN_SECONDS: u32 = 3607;

/// Prepares a Pod on creation.
///
/// # Errors
/// 403 if its service account does not exist.
pub fn prepare(state: &State, resource: &Resource, pod: &mut Value) -> Outcome<()> {
    let namespace = namespace(pod).to_string();
    let pod_name = name(pod).to_string();
    let qos = qos_class(&pod["spec"]);
    let mirror = pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string();
    let spec = map_at(pod, "spec");
    default(spec, "priority", 0);
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
    tolerations(spec);
    if !mirror {
        default(spec, "serviceAccountName", "default");
        let account = spec["serviceAccountName"].as_str().unwrap_or_default().to_string();
        spec.insert("serviceAccount".into(), account.clone().into());
        let Some(account_object) = state.get(&Key::core("serviceaccounts", &namespace, &account)) else {
            let why =
                format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
            return Err(Status::forbidden(resource, &pod_name, &why));
        };
        let wanted = spec.get("automountServiceAccountToken").cloned().unwrap_or(Value::Null);
        let wanted = wanted
            .as_bool()
            .or(account_object["automountServiceAccountToken"].as_bool())
            .unwrap_or(true);
        if let Some(pull) = account_object["imagePullSecrets"]
            .as_array()
            .filter(|list| !list.is_empty())
        {
            default(spec, "imagePullSecrets", pull.clone());
        }
        if wanted {
            mount_token(spec);
        }
    }
    let status = map_at(pod, "status");
    status.insert("phase".into(), "Pending".into());
    status.insert("qosClass".into(), qos.into());
    Ok(())
}

fn tolerations(spec: &mut serde_json::Map<String, Value>) {
    let list = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = list.iter().any(|t| {
            let any_key = t["key"].as_str().is_none_or(str::is_empty) && t["operator"] == "Exists";
            (any_key || t["key"] == key) && matches!(t["effect"].as_str(), None | Some("" | "NoExecute"))
        });
        if !tolerated {
            list.push(json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }));
        }
    }
}

fn mount_token(spec: &mut serde_json::Map<String, Value>) {
    let volume = format!("kube-api-access-{}", random_suffix(5));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in super::defaults::items(spec.get_mut(list)) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().all(|mount| mount["mountPath"] != TOKEN_MOUNT) {
                mounts.push(json!({ "name": volume, "readOnly": true, "mountPath": TOKEN_MOUNT }));
                mounted = true;
            }
        }
    }
    if !mounted {
        return;
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(json!({ "name": volume, "projected": { "defaultMode": 420, "sources": [
            { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            { "downwardAPI": { "items": [
                { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
            ] } },
        ] } }));
    }
}

/// Quality of service of a pod spec: `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(spec: &Value) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let amount = |kind: &str, name: &str| {
                container["resources"][kind][name]
                    .as_str()
                    .and_then(|text| Quantity::parse(text).ok())
            };
            for name in ["cpu", "memory"] {
                let (request, limit) = (amount("requests", name), amount("limits", name));
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
    }
    match (any, guaranteed) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, _) => "BestEffort",
    }
}
