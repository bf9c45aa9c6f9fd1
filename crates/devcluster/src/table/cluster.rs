//! Rows of what a cluster has besides workloads and addresses: nodes, volumes, events, roles, quotas, classes.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::duration;
use super::value::{NONE, count, items, joined, number, or_none, plain, text};

fn age(object: &Value, now: Timestamp) -> Value {
    duration::since(&object["metadata"]["creationTimestamp"], now).into()
}

fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

pub fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), object["status"]["phase"].clone(), age(object, now)]
}

pub fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    let entries = count(&object["data"]) + count(&object["binaryData"]);
    vec![name(object), entries.into(), age(object, now)]
}

pub fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        object["type"].clone(),
        count(&object["data"]).into(),
        age(object, now),
    ]
}

pub fn name_and_age(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), age(object, now)]
}

pub fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    let holder = text(&object["spec"]["holderIdentity"]);
    vec![name(object), holder.into(), age(object, now)]
}

pub fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    const ROLE: &str = "node-role.kubernetes.io/";
    let (status, info) = (&object["status"], &object["status"]["nodeInfo"]);
    let ready = items(&status["conditions"]).find(|c| c["type"] == "Ready");
    let mut words = vec![match ready.map(|c| text(&c["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if object["spec"]["unschedulable"] == true {
        words.push("SchedulingDisabled");
    }
    let roles = object["metadata"]["labels"].as_object().into_iter().flatten();
    let roles = roles.filter_map(|(key, _)| key.strip_prefix(ROLE));
    let address = |kind: &str| {
        let found = items(&status["addresses"]).find(|a| a["type"] == kind);
        found.map_or(NONE.into(), |a| or_none(&a["address"]))
    };
    let known = |field: &str| match text(&info[field]) {
        "" => Value::from("<unknown>"),
        text => text.into(),
    };
    vec![
        name(object),
        words.join(",").into(),
        joined(roles),
        age(object, now),
        info["kubeletVersion"].clone(),
        address("InternalIP"),
        address("ExternalIP"),
        known("osImage"),
        known("kernelVersion"),
        known("containerRuntimeVersion"),
    ]
}

pub fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let first_of = |fields: &[&Value]| {
        let time = fields.iter().find(|field| !text(field).is_empty());
        time.map_or("<unknown>".to_string(), |time| duration::since(time, now))
    };
    let series = &object["series"];
    // The newer API shows the same events under other names.
    let either = |core: &str, newer: &str| {
        if object[core].is_null() {
            &object[newer]
        } else {
            &object[core]
        }
    };
    let (begun, ended) = (
        either("firstTimestamp", "deprecatedFirstTimestamp"),
        either("lastTimestamp", "deprecatedLastTimestamp"),
    );
    let first = first_of(&[begun, &object["eventTime"]]);
    let last = first_of(&[&series["lastObservedTime"], ended, &object["eventTime"], begun]);
    let about = either("involvedObject", "regarding");
    let source = either("source", "deprecatedSource");
    let source = match (text(&source["component"]), text(&source["host"])) {
        ("", _) => text(either("reportingComponent", "reportingController")).to_string(),
        (component, "") => component.to_string(),
        (component, host) => format!("{component}, {host}"),
    };
    let times = series["count"]
        .as_i64()
        .or(either("count", "deprecatedCount").as_i64())
        .unwrap_or(1);
    vec![
        last.into(),
        object["type"].clone(),
        object["reason"].clone(),
        format!("{}/{}", text(&about["kind"]).to_lowercase(), text(&about["name"])).into(),
        text(&about["fieldPath"]).into(),
        source.into(),
        text(either("message", "note")).trim().into(),
        first.into(),
        times.into(),
        name(object),
    ]
}

/// Users, groups and service accounts that a binding names.
pub fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let named = items(&object["subjects"])
            .filter(|s| s["kind"] == kind)
            .map(|s| match text(&s["namespace"]) {
                "" => text(&s["name"]).to_string(),
                namespace => format!("{namespace}/{}", text(&s["name"])),
            });
        named.collect::<Vec<_>>().join(", ")
    };
    let role = &object["roleRef"];
    vec![
        name(object),
        format!("{}/{}", text(&role["kind"]), text(&role["name"])).into(),
        age(object, now),
        subjects("User").into(),
        subjects("Group").into(),
        subjects("ServiceAccount").into(),
    ]
}

pub fn quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let list = |limits: bool| {
        let all = status["hard"].as_object().into_iter().flatten();
        let chosen = all.filter(|(key, _)| key.starts_with("limits") == limits);
        let entries = chosen.map(|(key, hard)| {
            let used = &status["used"][key];
            let used = if used.is_null() { "0".to_string() } else { plain(used) };
            format!("{key}: {used}/{}", plain(hard))
        });
        Value::from(entries.collect::<Vec<_>>().join(", "))
    };
    vec![name(object), list(false), list(true), age(object, now)]
}

/// `RWO` for `ReadWriteOnce`, and so on.
fn modes(value: &Value) -> Value {
    let short = items(value).map(|mode| match text(mode) {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    });
    short.collect::<Vec<_>>().join(",").into()
}

fn unset(value: &Value) -> Value {
    match text(value) {
        "" => "<unset>".into(),
        text => text.into(),
    }
}

pub fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let claim = match text(&spec["claimRef"]["name"]) {
        "" => String::new(),
        claim => format!("{}/{claim}", text(&spec["claimRef"]["namespace"])),
    };
    vec![
        name(object),
        text(&spec["capacity"]["storage"]).into(),
        modes(&spec["accessModes"]),
        text(&spec["persistentVolumeReclaimPolicy"]).into(),
        text(&status["phase"]).into(),
        claim.into(),
        text(&spec["storageClassName"]).into(),
        unset(&spec["volumeAttributesClassName"]),
        text(&status["reason"]).into(),
        age(object, now),
        unset(&spec["volumeMode"]),
    ]
}

pub fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let terminating = !text(&object["metadata"]["deletionTimestamp"]).is_empty();
    let phase = if terminating {
        "Terminating"
    } else {
        text(&status["phase"])
    };
    vec![
        name(object),
        phase.into(),
        text(&spec["volumeName"]).into(),
        text(&status["capacity"]["storage"]).into(),
        modes(&status["accessModes"]),
        text(&spec["storageClassName"]).into(),
        unset(&spec["volumeAttributesClassName"]),
        age(object, now),
        unset(&spec["volumeMode"]),
    ]
}

pub fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        number(&object["value"]).into(),
        (object["globalDefault"] == true).into(),
        text(&object["preemptionPolicy"]).into(),
        age(object, now),
    ]
}

pub fn storage_class(object: &Value, now: Timestamp) -> Vec<Value> {
    const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
    let marked = object["metadata"]["annotations"][DEFAULT] == "true";
    let name = if marked {
        format!("{} (default)", text(&name(object))).into()
    } else {
        name(object)
    };
    let or = |field: &str, default: &str| match text(&object[field]) {
        "" => Value::from(default),
        text => text.into(),
    };
    vec![
        name,
        object["provisioner"].clone(),
        or("reclaimPolicy", "Delete"),
        or("volumeBindingMode", "Immediate"),
        (object["allowVolumeExpansion"] == true).into(),
        age(object, now),
    ]
}
