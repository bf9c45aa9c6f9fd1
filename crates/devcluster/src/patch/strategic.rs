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
        if let (Some(list), Value::Array(order)) = (key.strip_prefix("$setElementOrder/"), value) {
            if let (Some(Value::Array(items)), false) = (object.get_mut(list), patch.contains_key(list)) {
                let before = items.clone();
                arrange(shape.child(list).unwrap_or(&Shape::Any), items, &before, order);
            }
            continue;
        }
        if key.starts_with('$') {
            continue;
        }
        let below = shape.child(key).unwrap_or(&Shape::Any);
        let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
        match (object.get_mut(key), value) {
            (_, Value::Null) => drop(object.remove(key)),
            (Some(Value::Object(object)), Value::Object(patch)) => merge_map(below, object, patch)?,
            (Some(Value::Array(items)), Value::Array(patch)) => merge_list(below, items, patch, order)?,
            (_, Value::Object(patch)) => {
                let mut fresh = Map::new();
                if patch.get("$patch").and_then(Value::as_str) != Some("delete") {
                    merge_map(below, &mut fresh, patch)?;
                }
                object.insert(key.clone(), Value::Object(fresh));
            }
            (_, Value::Array(patch)) => {
                let mut fresh = Vec::new();
                merge_list(below, &mut fresh, patch, order)?;
                object.insert(key.clone(), Value::Array(fresh));
            }
            (_, scalar) => drop(object.insert(key.clone(), scalar.clone())),
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

fn merge_list(
    shape: &Shape,
    items: &mut Vec<Value>,
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<(), String> {
    let before = items.clone();
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
                    let shown = crate::json_text::go_value(value);
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
        _ => {
            *items = patch.to_vec();
            return Ok(());
        }
    }
    arrange(shape, items, &before, order.map_or(patch, Vec::as_slice));
    Ok(())
}

/// Orders a merged list: items of the patch in the patch's order, others in the order they had; where both meet, an
/// item the list had before goes first only if it was before the other one.
fn arrange(shape: &Shape, items: &mut Vec<Value>, before: &[Value], order: &[Value]) {
    let key = merge_key(shape);
    let same = |a: &Value, b: &Value| key.map_or(a == b, |key| a.get(key) == b.get(key));
    let rank = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        items.drain(..).partition(|item| rank(order, item).is_some());
    named.sort_by_key(|item| rank(order, item));
    others.sort_by_key(|item| rank(before, item));
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return,
            (Some(other), Some(item)) => match (rank(before, other), rank(before, item)) {
                (Some(other), Some(item)) => other < item,
                _ => false,
            },
            (other, _) => other.is_some(),
        };
        items.extend(if other_first { others.next() } else { named.next() });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    const SHAPE: Shape = Shape::Named("core/v1.PodSpec");

    fn patched(mut object: Value, patch: Value) -> Value {
        apply(&SHAPE, &mut object, &patch).unwrap();
        object
    }

    #[test]
    fn containers_are_found_by_name_and_new_ones_come_first() {
        let pod = json!({"containers": [{"name": "a", "image": "1", "args": ["x", "y"]}]});
        let patch = json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "args": ["z"]}]});
        let expected = json!({"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1", "args": ["z"]}]});
        assert_eq!(patched(pod, patch), expected);
    }

    #[test]
    fn directives_delete_replace_retain_and_order() {
        let pod = json!({"containers": [{"name": "a"}, {"name": "b"}], "volumes": [{"name": "v", "emptyDir": {}}]});
        let delete = json!({"containers": [{"name": "a", "$patch": "delete"}]});
        assert_eq!(patched(pod.clone(), delete)["containers"], json!([{"name": "b"}]));
        let replace = json!({"containers": [{"$patch": "replace"}, {"name": "c"}]});
        assert_eq!(patched(pod.clone(), replace)["containers"], json!([{"name": "c"}]));
        let retain =
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]});
        assert_eq!(
            patched(pod.clone(), retain)["volumes"],
            json!([{"name": "v", "secret": {"secretName": "s"}}])
        );
        let order = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]});
        assert_eq!(patched(pod, order)["containers"], json!([{"name": "b"}, {"name": "a"}]));
    }
}
