//! What a Go program prints of a value nobody has set: structs held by value appear as `{}`, required lists as null.

use serde_json::{Value, json};

use crate::resource::Resource;

/// The zero value of a kind, as JSON.
pub fn zero(resource: &Resource) -> Value {
    let head = json!({ "apiVersion": resource.api_version(), "kind": resource.kind });
    let Some(shape) = resource.shape.as_deref() else {
        return head;
    };
    let template = || json!({ "metadata": {}, "spec": { "containers": null } });
    let mut value = match shape {
        "core/v1.Pod" => json!({ "spec": { "containers": null }, "status": {} }),
        "apps/v1.Deployment" => {
            json!({ "spec": { "selector": null, "template": template(), "strategy": {} }, "status": {} })
        }
        "apps/v1.ReplicaSet" => {
            json!({ "spec": { "selector": null, "template": template() }, "status": { "replicas": 0 } })
        }
        "apps/v1.StatefulSet" => json!({
            "spec": { "selector": null, "template": template(), "serviceName": "", "updateStrategy": {} },
            "status": { "replicas": 0, "availableReplicas": 0 },
        }),
        "apps/v1.DaemonSet" => json!({
            "spec": { "selector": null, "template": template(), "updateStrategy": {} },
            "status": { "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0 },
        }),
        "apps/v1.ControllerRevision" => json!({ "revision": 0 }),
        "batch/v1.Job" => json!({ "spec": { "template": template() }, "status": {} }),
        "batch/v1.CronJob" => json!({
            "spec": { "schedule": "", "jobTemplate": { "metadata": {}, "spec": { "template": template() } } }, "status": {},
        }),
        "core/v1.Service" | "networking/v1.Ingress" => json!({ "spec": {}, "status": { "loadBalancer": {} } }),
        "networking/v1.NetworkPolicy" => json!({ "spec": { "podSelector": {} } }),
        "core/v1.Namespace" | "core/v1.ResourceQuota" | "core/v1.PersistentVolume" => {
            json!({ "spec": {}, "status": {} })
        }
        "core/v1.PersistentVolumeClaim" => json!({ "spec": { "resources": {} }, "status": {} }),
        "core/v1.LimitRange" => json!({ "spec": { "limits": null } }),
        "coordination/v1.Lease" | "networking/v1.IngressClass" => json!({ "spec": {} }),
        "core/v1.Event" => json!({
            "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null, "eventTime": null,
            "reportingComponent": "", "reportingInstance": "",
        }),
        "events/v1.Event" => json!({
            "eventTime": null, "regarding": {}, "deprecatedSource": {}, "deprecatedFirstTimestamp": null,
            "deprecatedLastTimestamp": null,
        }),
        "core/v1.Node" => json!({ "spec": {}, "status": {
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } },
            "nodeInfo": { "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "",
                "architecture": "" },
        } }),
        "rbac/v1.Role" | "rbac/v1.ClusterRole" => json!({ "rules": null }),
        "rbac/v1.RoleBinding" | "rbac/v1.ClusterRoleBinding" => {
            json!({ "roleRef": { "apiGroup": "", "kind": "", "name": "" } })
        }
        "discovery/v1.EndpointSlice" => json!({ "addressType": "", "endpoints": null, "ports": null }),
        "apiextensions/v1.CustomResourceDefinition" => json!({
            "spec": { "group": "", "names": { "plural": "", "kind": "" }, "scope": "", "versions": null },
            "status": { "conditions": null, "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": null },
        }),
        "policy/v1.PodDisruptionBudget" => json!({ "spec": {}, "status": {
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0 } }),
        "autoscaling/v2.HorizontalPodAutoscaler" => json!({
            "spec": { "scaleTargetRef": { "kind": "", "name": "" }, "maxReplicas": 0 },
            "status": { "desiredReplicas": 0, "currentMetrics": null },
        }),
        "scheduling/v1.PriorityClass" => json!({ "value": 0 }),
        "storage/v1.StorageClass" => json!({ "provisioner": "" }),
        _ => json!({}),
    };
    value["metadata"] = json!({});
    value["apiVersion"] = head["apiVersion"].clone();
    value["kind"] = head["kind"].clone();
    value
}

/// Puts in what printing a typed object shows although nobody has set it.
pub fn fill_zero(resource: &Resource, object: &mut Value) {
    if resource.built_in() {
        fill(&zero(resource), object);
    }
}

fn fill(zero: &Value, object: &mut Value) {
    let (Value::Object(zero), Value::Object(object)) = (zero, object) else {
        return;
    };
    for (key, value) in zero {
        match object.get_mut(key) {
            Some(Value::Null) | None => {
                object.insert(key.clone(), value.clone());
            }
            Some(present) => fill(value, present),
        }
    }
}
