//! Merging an applied configuration into an object, and taking fields out of one.

use serde_json::{Map, Value};

use super::fields::FieldSet;
use super::walk::{field, item};
use crate::schema::{ListKind, Resolved, Scalar, Shape};

/// The object with the configuration's fields put in.
pub fn merge(shape: &Shape, live: Option<&Value>, config: &Value) -> Value {
    match (shape.resolve(), live, config) {
        (Resolved::Struct(_) | Resolved::Map(_) | Resolved::Any, live, Value::Object(config)) => {
            let mut out = live.and_then(Value::as_object).cloned().unwrap_or_default();
            for (key, value) in config {
                let below = shape.child(key).unwrap_or(&Shape::Any);
                let merged = merge(below, out.get(key), value);
                out.insert(key.clone(), merged);
            }
            Value::Object(out)
        }
        (Resolved::List(items, kind), Some(Value::Array(live)), Value::Array(config)) => {
            Value::Array(merge_lists(items, kind, live, config))
        }
        _ => config.clone(),
    }
}

/// Items of the object stay where they are; new ones follow the item they follow in the configuration.
fn merge_lists(items: &Shape, kind: &ListKind, live: &[Value], config: &[Value]) -> Vec<Value> {
    let live_keys: Vec<String> = live.iter().map(|value| item(kind, value)).collect();
    let config_keys: Vec<String> = config.iter().map(|value| item(kind, value)).collect();
    let mut out = Vec::new();
    let mut next_live = 0;
    let mut emitted: Vec<&String> = Vec::new();
    for (key, value) in config_keys.iter().zip(config) {
        if let Some(at) = live_keys.iter().position(|k| k == key) {
            while next_live <= at {
                let (key, live) = (&live_keys[next_live], &live[next_live]);
                if next_live < at && !config_keys.contains(key) && !emitted.contains(&key) {
                    out.push(live.clone());
                    emitted.push(key);
                }
                next_live += 1;
            }
            out.push(merge(items, Some(&live[at]), value));
        } else {
            out.push(value.clone());
        }
        emitted.push(key);
    }
    for (key, value) in live_keys.iter().zip(live).skip(next_live) {
        if !emitted.contains(&key) {
            out.push(value.clone());
        }
    }
    out
}

/// The value without the members of `set`; `None` if nothing is left of a map or list.
pub fn remove(shape: &Shape, value: &Value, set: &FieldSet) -> Option<Value> {
    match (shape.resolve(), value) {
        (Resolved::Struct(_) | Resolved::Map(_) | Resolved::Any, Value::Object(map)) => {
            let mut out = Map::new();
            for (key, value) in map {
                match set.child(&field(key)) {
                    Some(below) if below.member => {}
                    Some(below) => {
                        let left = remove(shape.child(key).unwrap_or(&Shape::Any), value, below);
                        out.extend(left.map(|left| (key.clone(), left)));
                    }
                    None => {
                        out.insert(key.clone(), value.clone());
                    }
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        (Resolved::List(items, kind), Value::Array(list)) => {
            let mut out = Vec::new();
            for value in list {
                match set.child(&item(kind, value)) {
                    Some(below) if below.member => {}
                    Some(below) => out.extend(remove(items, value, below)),
                    None => out.push(value.clone()),
                }
            }
            (!out.is_empty()).then_some(Value::Array(out))
        }
        _ => Some(value.clone()),
    }
}

/// What keeps a configuration from being of a shape, in the words of structured-merge-diff.
pub fn type_error(shape: &Shape, value: &Value, path: &str) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let expected = |word: &str| {
        let shown = match value {
            Value::String(text) => text.clone(),
            Value::Object(_) | Value::Array(_) => crate::json_text::go_value(value),
            scalar => scalar.to_string(),
        };
        Some(format!(
            "{path}: expected {word}, got &value.valueUnstructured{{Value:{shown}}}"
        ))
    };
    match (shape, value) {
        (Shape::Scalar(Scalar::String | Scalar::Bytes | Scalar::Time | Scalar::MicroTime), value)
            if !value.is_string() =>
        {
            expected("string")
        }
        (Shape::Scalar(Scalar::Int32 | Scalar::Int64), value) if !value.is_i64() && !value.is_u64() => {
            expected("numeric (int or float)")
        }
        (Shape::Scalar(Scalar::Float64), value) if !value.is_number() => expected("numeric (int or float)"),
        (Shape::Scalar(Scalar::Bool), value) if !value.is_boolean() => expected("boolean"),
        (Shape::Scalar(_) | Shape::Any, _) => None,
        (Shape::List { .. }, Value::Array(list)) if duplicate_key(shape, list).is_some() => {
            duplicate_key(shape, list).map(|key| format!("{path}: duplicate entries for key {key}"))
        }
        (Shape::List { items, .. }, Value::Array(list)) => list.iter().enumerate().find_map(|(index, value)| {
            let place = match shape.resolve() {
                Resolved::List(_, kind @ ListKind::Map(_)) => {
                    let mut set = FieldSet::default();
                    set.insert(&[item(kind, value)]);
                    set.paths().concat()
                }
                _ => format!("[{index}]"),
            };
            type_error(items, value, &format!("{path}{place}"))
        }),
        (Shape::List { .. }, _) => expected("list"),
        (_, Value::Object(map)) => map.iter().find_map(|(key, value)| match shape.child(key) {
            Some(below) => type_error(below, value, &format!("{path}.{key}")),
            None => Some(format!("{path}.{key}: field not declared in schema")),
        }),
        _ => expected("map"),
    }
}

/// The key of an item that a set or a map holds twice, as messages show it.
fn duplicate_key(shape: &Shape, list: &[Value]) -> Option<String> {
    let Resolved::List(_, kind) = shape.resolve() else {
        return None;
    };
    let mut seen = Vec::new();
    for value in list {
        let key = item(kind, value);
        if seen.contains(&key) {
            let mut set = FieldSet::default();
            set.insert(&[key]);
            return Some(set.paths().concat());
        }
        seen.push(key);
    }
    None
}
