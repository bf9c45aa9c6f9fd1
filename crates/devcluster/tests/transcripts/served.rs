//! What the recorded server has and the development cluster does not: its discovery does not speak of it either.

use serde_json::Value;

/// Groups, or one version of a group.
const GROUPS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiregistration.k8s.io",
    "autoscaling/v1",
    "certificates.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "node.k8s.io",
    "resource.k8s.io",
];

/// Resources and subresources, by group.
const RESOURCES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "bindings",
            "componentstatuses",
            "nodes/proxy",
            "pods/attach",
            "pods/ephemeralcontainers",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "pods/resize",
            "podtemplates",
            "replicationcontrollers",
            "services/proxy",
        ],
    ),
    ("networking.k8s.io", &["ipaddresses", "servicecidrs"]),
    (
        "storage.k8s.io",
        &[
            "csidrivers",
            "csinodes",
            "csistoragecapacities",
            "volumeattachments",
            "volumeattributesclasses",
        ],
    ),
];

fn has_group(group: &str, version: &str) -> bool {
    !GROUPS
        .iter()
        .any(|absent| *absent == group || *absent == format!("{group}/{version}"))
}

fn has_resource(group: &str, resource: &str) -> bool {
    let absent = RESOURCES
        .iter()
        .filter(|(name, _)| *name == group)
        .flat_map(|(_, absent)| absent.iter());
    !absent
        .into_iter()
        .any(|absent| resource == *absent || resource.starts_with(&format!("{absent}/")))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn retain(list: &mut Value, mut keep: impl FnMut(&mut Value) -> bool) {
    if let Value::Array(items) = list {
        items.retain_mut(|item| keep(item));
    }
}

/// Takes out of a recorded answer of discovery what is not served.
pub fn keep(body: &mut Value) {
    match text(body, "kind") {
        "APIGroupDiscoveryList" => retain(&mut body["items"], |item| {
            let group = text(&item["metadata"], "name").to_string();
            retain(&mut item["versions"], |version| {
                let served = has_group(&group, text(version, "version"));
                retain(&mut version["resources"], |resource| keep_resource(&group, resource));
                served
            });
            item["versions"] != Value::Array(Vec::new())
        }),
        "APIGroupList" => retain(&mut body["groups"], |item| {
            let group = text(item, "name").to_string();
            retain(&mut item["versions"], |version| {
                has_group(&group, text(version, "version"))
            });
            item["versions"] != Value::Array(Vec::new())
        }),
        "APIResourceList" => {
            let group = text(body, "groupVersion")
                .rsplit_once('/')
                .map_or("", |(group, _)| group)
                .to_string();
            retain(&mut body["resources"], |resource| {
                has_resource(&group, text(resource, "name"))
            });
        }
        _ => {}
    }
}

fn keep_resource(group: &str, resource: &mut Value) -> bool {
    let name = text(resource, "resource").to_string();
    retain(&mut resource["subresources"], |below| {
        has_resource(group, &format!("{name}/{}", text(below, "subresource")))
    });
    if let Some(map) = resource.as_object_mut()
        && map
            .get("subresources")
            .is_some_and(|below| below.is_null() || *below == Value::Array(Vec::new()))
    {
        map.remove("subresources");
    }
    has_resource(group, &name)
}
