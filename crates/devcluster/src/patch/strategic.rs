//! Strategic merge patch: a merge patch that knows lists keyed by a field, with `$patch`, `$deleteFromPrimitiveList`,
//! `$setElementOrder` and `$retainKeys` directives.

use serde_json::{Map, Value};

use crate::schema::{ListKind, Shape};

/// Applies a patch to an object of a shape.
///
/// # Errors
/// Directives that make no sense.
pub fn apply(shape: &Shape, object: &mut Value, patch: &Value) -> Result<(), String> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err("a strategic merge patch and its object are JSON objects".into());
    };
    merge_map(shape, object, patch)
}

/// Volumes may hold one source only; a patch that brings another says which keys stay.
fn retain_keys(object: &mut Map<String, Value>, patch: &Map<String, Value>) {
    if let Some(Value::Array(keys)) = patch.get("$retainKeys") {
        object.retain(|key, _| keys.iter().any(|kept| kept == key));
    }
}

fn merge_map(shape: &Shape, object: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *object = patch
                .iter()
                .filter(|(key, _)| *key != "$patch")
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            return Ok(());
        }
        Some("delete") => {
            object.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(format!("Unknown patch type: {other}")),
    }
    retain_keys(object, patch);
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (object.get_mut(list), value) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        let below = shape.child(key).unwrap_or(&Shape::Any);
        match (object.get_mut(key), value) {
            (_, Value::Null) => drop(object.remove(key)),
            (Some(Value::Object(object)), Value::Object(patch)) => merge_map(below, object, patch)?,
            (Some(Value::Array(items)), Value::Array(patch)) => merge_list(below, items, patch)?,
            (_, Value::Object(patch)) => {
                let mut fresh = Map::new();
                if patch.get("$patch").and_then(Value::as_str) != Some("delete") {
                    merge_map(below, &mut fresh, patch)?;
                }
                object.insert(key.clone(), Value::Object(fresh));
            }
            (_, Value::Array(patch)) => {
                let mut fresh = Vec::new();
                merge_list(below, &mut fresh, patch)?;
                object.insert(key.clone(), Value::Array(fresh));
            }
            (_, scalar) => drop(object.insert(key.clone(), scalar.clone())),
        }
    }
    for (key, order) in patch {
        if let (Some(list), Value::Array(order)) = (key.strip_prefix("$setElementOrder/"), order) {
            let below = shape.child(list).unwrap_or(&Shape::Any);
            if let Some(Value::Array(items)) = object.get_mut(list) {
                set_order(below, items, order);
            }
        }
    }
    Ok(())
}

/// The field a patch merges a list by: the first of its keys.
fn merge_key(shape: &Shape) -> Option<&str> {
    match shape {
        Shape::List {
            kind: ListKind::Map(keys),
            ..
        } => keys.first().map(String::as_str),
        _ => None,
    }
}

fn merge_list(shape: &Shape, items: &mut Vec<Value>, patch: &[Value]) -> Result<(), String> {
    if patch.iter().any(|item| item["$patch"] == "replace") {
        *items = patch
            .iter()
            .filter(|item| item["$patch"] != "replace")
            .cloned()
            .collect();
        return Ok(());
    }
    let Shape::List { items: below, kind } = shape else {
        *items = patch.to_vec();
        return Ok(());
    };
    match (kind, merge_key(shape)) {
        (ListKind::Set, _) => {
            for value in patch {
                if !items.contains(value) {
                    items.push(value.clone());
                }
            }
        }
        (ListKind::Map(_), Some(key)) => {
            for value in patch {
                let Value::Object(patch) = value else {
                    return Err(format!("expected a map with the key {key}"));
                };
                let Some(id) = patch.get(key) else {
                    let shown = crate::json_text::ordered(value);
                    return Err(format!("map: {shown} does not contain declared merge key: {key}"));
                };
                let at = items.iter().position(|item| item.get(key) == Some(id));
                match (at, patch.get("$patch").and_then(Value::as_str)) {
                    (Some(at), Some("delete")) => drop(items.remove(at)),
                    (None, Some("delete")) => {}
                    (Some(at), _) => {
                        if let Some(Value::Object(item)) = items.get_mut(at) {
                            merge_map(below, item, patch)?;
                        }
                    }
                    (None, _) => {
                        let mut fresh = Map::new();
                        merge_map(below, &mut fresh, patch)?;
                        items.push(Value::Object(fresh));
                    }
                }
            }
        }
        _ => *items = patch.to_vec(),
    }
    Ok(())
}

/// Items named by the order come in that order; others stay before the item they were before.
fn set_order(shape: &Shape, items: &mut [Value], order: &[Value]) {
    let key = merge_key(shape);
    let rank = |item: &Value| {
        order.iter().position(|wanted| match key {
            Some(key) => wanted.get(key) == item.get(key),
            None => wanted == item,
        })
    };
    let mut named: Vec<Value> = items.iter().filter(|item| rank(item).is_some()).cloned().collect();
    named.sort_by_key(|item| rank(item));
    let mut named = named.into_iter();
    for item in items.iter_mut().filter(|item| rank(item).is_some()) {
        if let Some(next) = named.next() {
            *item = next;
        }
    }
}
