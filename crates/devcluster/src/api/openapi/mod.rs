//! OpenAPI v3: which operations there are, and what the fields of each kind are. Descriptions are those of custom
//! resources; the built-in kinds have none.
//!
//! Operations name no media type of patches, so that kubectl merges built-in kinds by its own knowledge of them: the
//! schemas here do not say how lists merge.

mod built_in;
mod custom;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::crd::{Custom, Definitions};
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
    let mut schemas = Map::new();
    for (resource, custom) in definitions.resources_with_definition() {
        if place(&resource) != wanted {
            continue;
        }
        add_paths(wanted, &resource, &mut paths);
        add_schemas(&resource, custom.as_deref(), &mut schemas);
    }
    (!paths.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "v1.36.2" },
            "paths": paths, "components": { "schemas": schemas },
        })
    })
}

fn gvk(resource: &Resource) -> Value {
    json!({ "group": resource.group, "version": resource.version, "kind": resource.kind })
}

fn add_paths(place: &str, resource: &Resource, paths: &mut Map<String, Value>) {
    let namespace = if resource.namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string" } }))
            .collect();
        json!({
            "parameters": parameters, "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(resource),
            "responses": { "200": { "description": "OK" } },
        })
    };
    let write = ["dryRun", "fieldManager", "fieldValidation"];
    let all = format!("/{place}/{namespace}{}", resource.plural);
    paths.insert(
        format!("{all}/{{name}}"),
        json!({
            "get": operation("get", &[]), "put": operation("put", &write), "delete": operation("delete", &["dryRun"]),
            "patch": operation("patch", &["dryRun", "fieldManager", "fieldValidation", "force"]),
        }),
    );
    paths.insert(
        all,
        json!({ "get": operation("list", &["labelSelector", "fieldSelector", "limit", "continue", "watch"]), "post": operation("post", &write) }),
    );
}

fn add_schemas(resource: &Resource, custom: Option<&Custom>, schemas: &mut Map<String, Value>) {
    let name = match (resource.shape.as_deref(), custom) {
        (Some(shape), _) => {
            built_in::add(shape, schemas);
            built_in::component(shape)
        }
        (None, Some(custom)) => {
            built_in::add("meta/v1.ObjectMeta", schemas);
            let name = custom::component(resource);
            schemas.insert(name.clone(), custom::schema(&custom.schema));
            name
        }
        (None, None) => return,
    };
    if let Some(schema) = schemas.get_mut(&name) {
        schema["x-kubernetes-group-version-kind"] = json!([gvk(resource)]);
    }
}
