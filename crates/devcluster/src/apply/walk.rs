//! Path elements of values, and the fields a value has.

use serde_json::{Map, Value};

use super::fields::FieldSet;
use crate::schema::{ListKind, Resolved, Shape};

/// Element of a field.
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// Key fields that the published types give a default.
fn key_default(key: &str) -> Value {
    if key == "protocol" { "TCP".into() } else { Value::Null }
}

/// Element of an item of a list.
pub(super) fn item(kind: &ListKind, item: &Value) -> String {
    match kind {
        ListKind::Map(keys) => {
            let mut map = Map::new();
            for key in keys {
                let value = item
                    .get(key)
                    .filter(|v| !v.is_null())
                    .cloned()
                    .unwrap_or_else(|| key_default(key));
                map.insert(key.clone(), value);
            }
            let mut sorted: Vec<(&String, &Value)> = map.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            let fields: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
                .collect();
            format!("k:{{{}}}", fields.join(","))
        }
        ListKind::Set | ListKind::Atomic => format!("v:{item}"),
    }
}

/// The map of a value, with nothing for null.
pub(super) fn as_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// The list of a value.
pub(super) fn as_list(value: Option<&Value>) -> Option<&Vec<Value>> {
    value.and_then(Value::as_array)
}

/// The fields that an applied configuration has an opinion about.
pub fn fields_of(shape: &Shape, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(shape, value, &mut Vec::new(), &mut set);
    set
}

fn collect(shape: &Shape, value: &Value, path: &mut Vec<String>, set: &mut FieldSet) {
    let untyped_leaf = matches!(shape, Shape::Any) && !value.is_object();
    match shape.resolve() {
        Resolved::Leaf => set.insert(path),
        Resolved::Any if untyped_leaf => set.insert(path),
        Resolved::Struct(_) | Resolved::Map(_) | Resolved::Any => {
            let Some(map) = value.as_object() else {
                return set.insert(path);
            };
            let named = matches!(shape.resolve(), Resolved::Struct(_));
            for (key, value) in map {
                let Some(below) = shape.child(key) else { continue };
                let known = named && shape.as_struct().is_some_and(|s| s.fields.contains_key(key));
                path.push(field(key));
                collect(below, value, path, set);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !known {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Resolved::List(items, kind) => {
            let Some(list) = value.as_array() else {
                return set.insert(path);
            };
            for value in list {
                path.push(item(kind, value));
                set.insert(path);
                collect(items, value, path, set);
                path.pop();
            }
        }
    }
}
