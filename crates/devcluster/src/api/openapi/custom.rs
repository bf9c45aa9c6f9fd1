//! Schemas of custom resources, as they are published: with what every object has.

use serde_json::{Value, json};

use super::built_in;
use crate::resource::Resource;

/// Name among the components: the group backwards, then version and kind.
pub fn component(resource: &Resource) -> String {
    let mut words: Vec<&str> = resource.group.split('.').rev().collect();
    words.extend([resource.version.as_str(), resource.kind.as_str()]);
    words.join(".")
}

/// The schema of a definition with `apiVersion`, `kind` and `metadata`.
pub fn schema(structural: &Value) -> Value {
    let mut schema = structural.clone();
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let described = |text: &str| json!({ "type": "string", "description": text });
    schema["properties"]["apiVersion"] = described(
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
    );
    schema["properties"]["kind"] = described(
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
    );
    schema["properties"]["metadata"] = json!({
        "description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        "allOf": [built_in::reference("meta/v1.ObjectMeta")],
    });
    schema
}
