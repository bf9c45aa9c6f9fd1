//! Structural schemas: pruning, defaulting, and the shape that merging needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::schema::{DecodeError, Field, ListKind, Scalar, Shape, Struct};

fn flag(schema: &Value, name: &str) -> bool {
    schema[name] == true
}

/// Shape of a whole custom object: its schema with the metadata every object has.
pub fn root_shape(schema: &Value) -> Shape {
    let mut fields = match shape_of(schema) {
        Shape::Struct(fields) => (*fields).clone(),
        _ => Struct {
            preserve_unknown: true,
            ..Struct::default()
        },
    };
    for (name, shape) in [
        ("apiVersion", Shape::Scalar(Scalar::String)),
        ("kind", Shape::Scalar(Scalar::String)),
        ("metadata", Shape::Named("meta/v1.ObjectMeta")),
    ] {
        fields.fields.insert(
            name.into(),
            Field {
                shape,
                required: false,
                wire: None,
            },
        );
    }
    Shape::Struct(Arc::new(fields))
}

/// Shape of a schema.
pub fn shape_of(schema: &Value) -> Shape {
    if flag(schema, "x-kubernetes-embedded-resource") {
        let mut fields = struct_of(schema);
        fields.preserve_unknown = true;
        return Shape::Struct(Arc::new(fields));
    }
    if flag(schema, "x-kubernetes-int-or-string") {
        return Shape::Scalar(Scalar::IntOrString);
    }
    match schema["type"].as_str() {
        Some("object") => {
            let atomic = schema["x-kubernetes-map-type"] == "atomic";
            match (&schema["additionalProperties"], schema["properties"].is_object()) {
                (Value::Object(_), _) => Shape::Map {
                    values: Arc::new(shape_of(&schema["additionalProperties"])),
                    atomic,
                },
                (Value::Bool(true), _) => Shape::Map {
                    values: Arc::new(Shape::Any),
                    atomic,
                },
                (_, true) => Shape::Struct(Arc::new(struct_of(schema))),
                _ if flag(schema, "x-kubernetes-preserve-unknown-fields") => Shape::Struct(Arc::new(Struct {
                    preserve_unknown: true,
                    atomic,
                    ..Struct::default()
                })),
                _ => Shape::Struct(Arc::new(Struct {
                    atomic,
                    ..Struct::default()
                })),
            }
        }
        Some("array") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            let kind = match schema["x-kubernetes-list-type"].as_str() {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map(keys.filter_map(|k| k.as_str().map(str::to_string)).collect()),
                _ => ListKind::Atomic,
            };
            Shape::List {
                items: Arc::new(shape_of(&schema["items"])),
                kind,
            }
        }
        Some("string") => Shape::Scalar(Scalar::String),
        Some("integer") => Shape::Scalar(Scalar::Int64),
        Some("number") => Shape::Scalar(Scalar::Float64),
        Some("boolean") => Shape::Scalar(Scalar::Bool),
        _ => Shape::Any,
    }
}

fn struct_of(schema: &Value) -> Struct {
    let mut fields = BTreeMap::new();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        fields.insert(
            name.clone(),
            Field {
                shape: shape_of(schema),
                required: false,
                wire: None,
            },
        );
    }
    Struct {
        name: String::new(),
        fields,
        atomic: schema["x-kubernetes-map-type"] == "atomic",
        preserve_unknown: flag(schema, "x-kubernetes-preserve-unknown-fields"),
    }
}

/// Prunes a whole object: `apiVersion`, `kind` and `metadata` stay, the metadata is brought into its type.
///
/// # Errors
/// Metadata with a value of a wrong type.
pub fn prune_object(schema: &Value, object: &mut Value) -> Result<Vec<String>, DecodeError> {
    let mut unknown = Vec::new();
    if let Some(metadata) = object.get_mut("metadata") {
        if metadata.is_null() {
            *metadata = Value::Object(Map::new());
        }
        let paths = crate::schema::decode(&Shape::Named("meta/v1.ObjectMeta"), metadata)?;
        unknown.extend(paths.into_iter().map(|path| format!("metadata.{path}")));
    }
    prune_map(schema, object, "", true, &mut unknown);
    Ok(unknown)
}

fn prune_value(schema: &Value, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(_) => prune_map(
            schema,
            value,
            path,
            flag(schema, "x-kubernetes-embedded-resource"),
            unknown,
        ),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                prune_value(&schema["items"], item, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn prune_map(schema: &Value, value: &mut Value, path: &str, is_object: bool, unknown: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let additional = &schema["additionalProperties"];
    let keys: Vec<String> = map.keys().cloned().collect();
    for key in keys {
        if is_object && ["apiVersion", "kind", "metadata"].contains(&key.as_str()) {
            continue;
        }
        let here = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let property = &schema["properties"][&key];
        let Some(item) = map.get_mut(&key) else { continue };
        if property.is_object() {
            prune_value(property, item, &here, unknown);
        } else if additional.is_object() {
            prune_value(additional, item, &here, unknown);
        } else if !preserve && additional != &Value::Bool(true) {
            map.remove(&key);
            unknown.push(here);
        }
    }
}

/// Fills defaults, deepest last, and turns null into the default where null is not allowed.
pub fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let missing = match map.get(name) {
                    None => true,
                    Some(Value::Null) => !flag(property, "nullable"),
                    Some(_) => false,
                };
                if missing && !property["default"].is_null() {
                    map.insert(name.clone(), property["default"].clone());
                } else if missing && !property.is_null() && map.get(name).is_some_and(Value::is_null) {
                    map.remove(name);
                }
                if let Some(item) = map.get_mut(name) {
                    default(property, item);
                }
            }
            if schema["additionalProperties"].is_object() {
                map.values_mut()
                    .for_each(|item| default(&schema["additionalProperties"], item));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| default(&schema["items"], item)),
        _ => {}
    }
}
