//! JSON as the Go server prints it inside error messages: fields of well-known types in the order of
//! their declaration, everything else sorted.

use serde_json::Value;

/// Declaration order of the fields that appear in messages (`ObjectMeta`, `OwnerReference`,
/// `ManagedFieldsEntry`, conditions); a name earlier in the list is printed earlier.
const ORDER: &[&str] = &[
    "kind",
    "apiVersion",
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];
const OWNER: &[&str] = &["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
const MANAGED: &[&str] = &[
    "manager",
    "operation",
    "apiVersion",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
];

/// Compact JSON text of a value.
pub fn ordered(value: &Value) -> String {
    let mut out = String::new();
    write(value, &[], &mut out);
    out
}

/// Compact JSON of a whole object as a JSON patch library re-marshals it: the top level sorted, the rest as
/// the typed object printed it.
pub fn patched_object(value: &Value) -> String {
    let Some(map) = value.as_object() else {
        return ordered(value);
    };
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort();
    let fields: Vec<String> = keys
        .into_iter()
        .map(|key| {
            let mut text = String::new();
            write(&map[key], if key == "metadata" { ORDER } else { &[] }, &mut text);
            format!("{}:{text}", Value::from(key.as_str()))
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn order_for(key: &str) -> &'static [&'static str] {
    match key {
        "metadata" => ORDER,
        "ownerReferences" => OWNER,
        "managedFields" => MANAGED,
        _ => &[],
    }
}

fn write(value: &Value, order: &[&str], out: &mut String) {
    match value {
        Value::Object(map) => {
            let owner = map.contains_key("uid") && map.contains_key("kind") && map.contains_key("apiVersion");
            let order = if order.is_empty() && owner { OWNER } else { order };
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by_key(|key| (order.iter().position(|o| o == key).unwrap_or(usize::MAX), key.as_str()));
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(&map[key], order_for(key), out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, order, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// A value as Go prints it with `%v`.
pub fn go_value(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_value(value)))
                .collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".into(),
        scalar => scalar.to_string(),
    }
}
