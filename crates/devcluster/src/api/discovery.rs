//! Discovery: what groups, versions and resources there are, in the old and the aggregated form; health; version.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::answer::Answer;
use super::openapi;
use super::request::Call;
use super::route::Path;
use super::server::Server;
use crate::crd::Definitions;
use crate::resource::Resource;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Answers every path that is not objects.
pub fn answer(server: &Server, call: &Call, path: &Path) -> Answer {
    let definitions = server.definitions();
    let aggregated = call.accept().replace(' ', "").contains("as=APIGroupDiscoveryList");
    match path {
        Path::CoreVersions if aggregated => aggregated_list(&definitions, true),
        Path::Groups if aggregated => aggregated_list(&definitions, false),
        Path::CoreVersions => Answer::ok(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": host(call) }],
        })),
        Path::Groups => Answer::ok(json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": in_order(groups(&definitions)).iter().map(|(name, versions)| group(name, versions, false)).collect::<Vec<_>>(),
        })),
        Path::Group(name) => match groups(&definitions).get(name) {
            Some(versions) => Answer::ok(group(name, versions, true)),
            None => Answer::no_such_page(),
        },
        Path::Version(name, version) => resources(&definitions, name, version),
        Path::Other(path) if path == "/openapi/v3" => Answer::ok(openapi::index(&definitions)),
        Path::Other(path) if path.starts_with("/openapi/v3/") => match openapi::document(&definitions, path) {
            Some(document) => Answer::ok(document),
            None => Answer::no_such_page(),
        },
        Path::Other(path) => other(server, path),
        Path::Objects(_) => Answer::no_such_page(),
    }
}

fn host(call: &Call) -> String {
    call.headers
        .get("host")
        .and_then(|h| h.to_str().ok())
        .unwrap_or("127.0.0.1")
        .to_string()
}

fn other(server: &Server, path: &str) -> Answer {
    match path {
        "/healthz" | "/livez" | "/readyz" | "/healthz/ping" | "/readyz/ping" | "/livez/ping" => {
            if server.is_stopping() {
                Answer::Text(500, "shutting down".into())
            } else {
                Answer::Text(200, "ok".into())
            }
        }
        "/version" => Answer::ok(json!({
            "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
            "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
            "gitVersion": "v1.36.2", "gitCommit": concat!("hanse-devcluster-", env!("CARGO_PKG_VERSION")), "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
        })),
        _ => Answer::no_such_page(),
    }
}

/// Named groups with their versions, the preferred first.
fn groups(definitions: &Definitions) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in definitions.resources().filter(|r| !r.group.is_empty()) {
        let versions = out.entry(resource.group.clone()).or_default();
        if !versions.contains(&resource.version) {
            versions.push(resource.version.clone());
        }
    }
    for group in ["authentication.k8s.io", "authorization.k8s.io"] {
        out.insert(group.into(), vec!["v1".into()]);
    }
    for versions in out.values_mut() {
        versions.sort_by(|a, b| crate::crd::version_order(b, a));
    }
    out
}

/// Groups by the priority that the real server gives them; those of custom resources come last.
fn in_order(groups: BTreeMap<String, Vec<String>>) -> Vec<(String, Vec<String>)> {
    const ORDER: [&str; 15] = [
        "apps",
        "events.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
        "apiextensions.k8s.io",
        "scheduling.k8s.io",
        "coordination.k8s.io",
        "node.k8s.io",
        "discovery.k8s.io",
    ];
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(name, _)| place(name));
    groups
}

fn group(name: &str, versions: &[String], alone: bool) -> Value {
    let entry = |version: &String| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    let mut group = json!({ "name": name, "preferredVersion": versions.first(), "versions": versions });
    if alone {
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
    }
    group
}

fn verbs(resource: &Resource) -> Vec<&'static str> {
    let mut verbs = vec![
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    if !resource.built_in() {
        verbs = vec![
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "create",
            "update",
            "watch",
        ];
    }
    if !resource.delete_collection {
        verbs.retain(|verb| *verb != "deletecollection");
    }
    verbs
}

/// A name for what objects are stored as, as the real server computes it.
fn storage_hash(resource: &Resource) -> String {
    use base64::Engine;
    use sha2::Digest;
    let group = if resource.plural == "events" {
        ""
    } else {
        &resource.group
    };
    let text = format!("{group}/{}/{}", resource.version, resource.kind);
    base64::engine::general_purpose::STANDARD.encode(&sha2::Sha256::digest(text.as_bytes())[..8])
}

/// Subresources: name, kind, group of the kind, verbs.
fn subresources(resource: &Resource) -> Vec<(&'static str, String, &'static str, Vec<&'static str>)> {
    let all = || vec!["get", "patch", "update"];
    let mut out = Vec::new();
    if resource.status {
        out.push(("status", resource.kind.clone(), "", all()));
    }
    if resource.scale.is_some() {
        out.push(("scale", "Scale".into(), "autoscaling", all()));
    }
    if resource.is_core("pods") {
        out.push(("log", "Pod".into(), "", vec!["get"]));
        out.push(("eviction", "Eviction".into(), "policy", vec!["create"]));
        out.push(("binding", "Binding".into(), "", vec!["create"]));
    }
    if resource.is_core("serviceaccounts") {
        out.push(("token", "TokenRequest".into(), "authentication.k8s.io", vec!["create"]));
    }
    if resource.is_core("namespaces") {
        out.push(("finalize", "Namespace".into(), "", vec!["update"]));
    }
    if resource.built_in() {
        out.sort();
    }
    out
}

fn resources(definitions: &Definitions, group: &str, version: &str) -> Answer {
    let found: Vec<Arc<Resource>> = definitions
        .resources()
        .filter(|r| r.group == group && r.version == version)
        .collect();
    let mut list = Vec::new();
    for resource in &found {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": verbs(resource), "storageVersionHash": storage_hash(resource),
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = resource.short_names.clone().into();
        }
        if !resource.categories.is_empty() {
            entry["categories"] = resource.categories.clone().into();
        }
        list.push(entry);
        for (name, kind, kind_group, verbs) in subresources(resource) {
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": kind, "verbs": verbs,
            });
            if !kind_group.is_empty() {
                entry["group"] = kind_group.into();
                entry["version"] = "v1".into();
            }
            list.push(entry);
        }
    }
    list.extend(reviews(group, version));
    if list.is_empty() {
        return if definitions.has_group(group) {
            crate::status::Status::no_such_resource().into()
        } else {
            Answer::no_such_page()
        };
    }
    let mut body = json!({ "kind": "APIResourceList", "groupVersion": crate::resource::api_version(group, version), "resources": list });
    if !group.is_empty() {
        body["apiVersion"] = "v1".into();
    }
    Answer::ok(body)
}

fn reviews(group: &str, version: &str) -> Vec<Value> {
    let entry = |name: &str, kind: &str, namespaced: bool| json!({ "name": name, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind, "verbs": ["create"] });
    match (group, version) {
        ("authorization.k8s.io", "v1") => vec![
            entry("localsubjectaccessreviews", "LocalSubjectAccessReview", true),
            entry("selfsubjectaccessreviews", "SelfSubjectAccessReview", false),
            entry("selfsubjectrulesreviews", "SelfSubjectRulesReview", false),
            entry("subjectaccessreviews", "SubjectAccessReview", false),
        ],
        ("authentication.k8s.io", "v1") => {
            vec![
                entry("selfsubjectreviews", "SelfSubjectReview", false),
                entry("tokenreviews", "TokenReview", false),
            ]
        }
        _ => vec![],
    }
}

fn aggregated_list(definitions: &Definitions, core: bool) -> Answer {
    let mut items = Vec::new();
    let versions_of: Vec<(String, Vec<String>)> = if core {
        vec![(String::new(), vec!["v1".into()])]
    } else {
        in_order(groups(definitions))
    };
    for (name, versions) in versions_of {
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                let resources = definitions.resources().filter(|r| r.group == name && r.version == *version);
                let mut list: Vec<Value> = resources.map(|resource| aggregated(&resource)).collect();
                list.extend(reviews(&name, version).into_iter().map(|review| {
                    json!({
                        "resource": review["name"], "singularResource": review["singularName"], "verbs": review["verbs"],
                        "responseKind": { "group": "", "version": "", "kind": review["kind"] },
                        "scope": if review["namespaced"] == true { "Namespaced" } else { "Cluster" },
                    })
                }));
                json!({ "version": version, "resources": list, "freshness": "Current" })
            })
            .collect();
        let metadata = if name.is_empty() {
            json!({})
        } else {
            json!({ "name": name })
        };
        items.push(json!({ "metadata": metadata, "versions": versions }));
    }
    let body = json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items });
    Answer::Json {
        code: 200,
        body,
        warnings: Vec::new(),
        content_type: Some(AGGREGATED),
    }
}

fn aggregated(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    // Kinds of the group itself are named in full for custom resources only.
    let own = |name: &str| match resource.built_in() {
        true => kind("", "", name),
        false => kind(&resource.group, &resource.version, name),
    };
    let mut entry = json!({
        "resource": resource.plural, "responseKind": own(&resource.kind), "singularResource": resource.singular,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" }, "verbs": verbs(resource),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    let below: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, kind_name, group, verbs)| {
            let response = if group.is_empty() {
                own(&kind_name)
            } else {
                kind(group, "v1", &kind_name)
            };
            json!({ "subresource": name, "responseKind": response, "verbs": verbs })
        })
        .collect();
    if !below.is_empty() {
        entry["subresources"] = below.into();
    }
    entry
}
