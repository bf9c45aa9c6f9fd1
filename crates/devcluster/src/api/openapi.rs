//! OpenAPI v3, as little of it as kubectl reads before it writes: which operations take `fieldValidation`. Schemas are
//! not described.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::crd::Definitions;
use crate::resource::Resource;

fn place(resource: &Resource) -> String {
    match resource.group.as_str() {
        "" => format!("api/{}", resource.version),
        group => format!("apis/{group}/{}", resource.version),
    }
}

/// Where the documents are.
pub fn index(definitions: &Definitions) -> Value {
    let places: BTreeSet<String> = definitions.resources().map(|resource| place(&resource)).collect();
    let paths: Map<String, Value> = places
        .into_iter()
        .map(|place| {
            (
                place.clone(),
                json!({ "serverRelativeURL": format!("/openapi/v3/{place}") }),
            )
        })
        .collect();
    json!({ "paths": paths })
}

/// The document of a group and version, at `/openapi/v3/api/v1` or `/openapi/v3/apis/GROUP/VERSION`.
pub fn document(definitions: &Definitions, path: &str) -> Option<Value> {
    let wanted = path.strip_prefix("/openapi/v3/")?;
    let mut paths = Map::new();
    for resource in definitions.resources().filter(|resource| place(resource) == wanted) {
        let namespace = if resource.namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let kind = json!({ "group": resource.group, "version": resource.version, "kind": resource.kind });
        let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
            .iter()
            .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string" } }))
            .collect();
        let operation = json!({
            "parameters": parameters, "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind,
            "responses": { "200": { "description": "OK" } },
        });
        paths.insert(
            format!("/{wanted}/{namespace}{}/{{name}}", resource.plural),
            json!({ "patch": operation }),
        );
    }
    (!paths.is_empty()).then(|| {
        json!({ "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.36.2" }, "paths": paths, "components": {} })
    })
}
