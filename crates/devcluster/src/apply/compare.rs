//! What changed between two versions of an object, field by field.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::FieldSet;
use super::walk::{as_list, as_map, field, item};
use crate::schema::{Resolved, Shape};

/// Fields that differ.
#[derive(Debug, Default, PartialEq)]
pub struct Comparison {
    /// There now.
    pub added: FieldSet,
    /// Another value now.
    pub modified: FieldSet,
    /// Gone.
    pub removed: FieldSet,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// Compares two objects of a shape.
pub fn compare(shape: &Shape, before: &Value, after: &Value) -> Comparison {
    let mut out = Comparison::default();
    visit(shape, Some(before), Some(after), &mut Vec::new(), &mut out);
    out
}

fn visit(shape: &Shape, before: Option<&Value>, after: Option<&Value>, path: &mut Vec<String>, out: &mut Comparison) {
    let in_leaf = descend(shape, before, after, path, out);
    if in_leaf || path.is_empty() {
        return;
    }
    if before.is_none() {
        out.added.insert(path);
    } else if after.is_none() {
        out.removed.insert(path);
    }
}

fn leaf(before: Option<&Value>, after: Option<&Value>, path: &[String], out: &mut Comparison) -> bool {
    match (before, after) {
        (None, _) => out.added.insert(path),
        (_, None) => out.removed.insert(path),
        (Some(before), Some(after)) if before != after => out.modified.insert(path),
        _ => {}
    }
    true
}

/// Returns whether the two were treated as one value.
fn descend(
    shape: &Shape,
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) -> bool {
    let maps = || {
        let is_map = |value: Option<&Value>| value.is_none_or(|v| v.is_object() || v.is_null());
        let empty = |value: Option<&Value>| as_map(value).is_none_or(serde_json::Map::is_empty);
        is_map(before) && is_map(after) && !(empty(before) && empty(after))
    };
    match shape.resolve() {
        Resolved::Struct(_) | Resolved::Map(_) | Resolved::Any if maps() => {
            let keys: BTreeSet<&String> = [before, after]
                .into_iter()
                .filter_map(as_map)
                .flat_map(|map| map.keys())
                .collect();
            for key in keys {
                let Some(below) = shape.child(key) else { continue };
                let get = |value| as_map(value).and_then(|map| map.get(key));
                path.push(field(key));
                visit(below, get(before), get(after), path, out);
                path.pop();
            }
            false
        }
        Resolved::List(items, kind) => {
            let (left, right) = (as_list(before), as_list(after));
            if left.is_none_or(Vec::is_empty) && right.is_none_or(Vec::is_empty) {
                return leaf(before, after, path, out);
            }
            let index = |list: Option<&'_ Vec<Value>>| -> Vec<String> {
                list.map(|list| list.iter().map(|value| item(kind, value)).collect())
                    .unwrap_or_default()
            };
            let (left_keys, right_keys) = (index(left), index(right));
            let elements: BTreeSet<&String> = left_keys.iter().chain(&right_keys).collect();
            for element in elements {
                let get = |list: Option<&'_ Vec<Value>>, keys: &[String]| {
                    keys.iter()
                        .position(|key| key == element)
                        .and_then(|at| list.map(|list| list[at].clone()))
                };
                let (before, after) = (get(left, &left_keys), get(right, &right_keys));
                path.push(element.clone());
                visit(items, before.as_ref(), after.as_ref(), path, out);
                path.pop();
            }
            false
        }
        _ => leaf(before, after, path, out),
    }
}
