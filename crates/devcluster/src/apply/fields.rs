//! Sets of field paths, and their JSON form `FieldsV1`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::{Resolved, Shape};

/// A set of field paths as a tree. Path elements are in the form of `FieldsV1`: `f:name` a field,
/// `k:{"name":"main"}` a list item by its keys, `v:"x"` an item of a set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSet {
    /// Whether the path that leads here is in the set itself.
    pub member: bool,
    /// Longer paths.
    pub children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[String]) {
        match path.split_first() {
            None => self.member = true,
            Some((first, rest)) => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// The part below one element.
    pub fn child(&self, element: &str) -> Option<&FieldSet> {
        self.children.get(element)
    }

    fn combine(&self, other: &FieldSet, keep: fn(bool, bool) -> bool) -> FieldSet {
        static EMPTY: FieldSet = FieldSet {
            member: false,
            children: BTreeMap::new(),
        };
        let mut children = BTreeMap::new();
        for element in self.children.keys().chain(other.children.keys()) {
            if children.contains_key(element) {
                continue;
            }
            let left = self.children.get(element).unwrap_or(&EMPTY);
            let right = other.children.get(element).unwrap_or(&EMPTY);
            let both = left.combine(right, keep);
            if !both.is_empty() {
                children.insert(element.clone(), both);
            }
        }
        FieldSet {
            member: keep(self.member, other.member),
            children,
        }
    }

    /// Paths in either.
    pub fn union(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |a, b| a || b)
    }

    /// Paths in both.
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |a, b| a && b)
    }

    /// Paths here that are not there.
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        self.combine(other, |a, b| a && !b)
    }

    /// Without anything at or below the members of `other`.
    pub fn without_subtrees(&self, other: &FieldSet) -> FieldSet {
        if other.member {
            return FieldSet::default();
        }
        let mut children = BTreeMap::new();
        for (element, child) in &self.children {
            let left = match other.children.get(element) {
                Some(removed) => child.without_subtrees(removed),
                None => child.clone(),
            };
            if !left.is_empty() {
                children.insert(element.clone(), left);
            }
        }
        FieldSet {
            member: self.member,
            children,
        }
    }

    /// Adds the named fields of structs that lead to members: owning `spec.replicas` is owning `spec`.
    pub fn with_named_parents(&self, shape: &Shape) -> FieldSet {
        let mut children = BTreeMap::new();
        for (element, child) in &self.children {
            let name = element.strip_prefix("f:");
            let (below, named) = match (shape.resolve(), name) {
                (Resolved::Struct(fields), Some(name)) => (shape.child(name), fields.fields.contains_key(name)),
                (Resolved::Map(values), Some(_)) => (Some(values), false),
                (Resolved::List(items, _), _) => (Some(items), false),
                (Resolved::Any, _) => (Some(&Shape::Any), false),
                _ => (None, false),
            };
            let mut child = child.with_named_parents(below.unwrap_or(&Shape::Any));
            child.member |= named && !child.children.is_empty();
            children.insert(element.clone(), child);
        }
        FieldSet {
            member: self.member,
            children,
        }
    }

    /// All members, as the sentence of a conflict shows them: `.spec.containers[name="main"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect(String::new(), &mut out);
        out
    }

    fn collect(&self, path: String, out: &mut Vec<String>) {
        if self.member {
            out.push(path.clone());
        }
        for (element, child) in &self.children {
            child.collect(format!("{path}{}", readable(element)), out);
        }
    }

    /// From the JSON of `fieldsV1`.
    pub fn from_json(value: &Value) -> Option<FieldSet> {
        fn node(map: &Map<String, Value>, root: bool) -> Option<FieldSet> {
            let mut set = FieldSet {
                member: !root && map.is_empty(),
                children: BTreeMap::new(),
            };
            for (key, value) in map {
                let below = value.as_object()?;
                match key.as_str() {
                    "." => set.member = true,
                    key if key.starts_with("f:")
                        || key.starts_with("k:")
                        || key.starts_with("v:")
                        || key.starts_with("i:") =>
                    {
                        set.children.insert(key.into(), node(below, false)?);
                    }
                    _ => return None,
                }
            }
            Some(set)
        }
        node(value.as_object()?, true)
    }

    /// The JSON of `fieldsV1`.
    pub fn to_json(&self) -> Value {
        fn node(set: &FieldSet, root: bool) -> Value {
            let mut map = Map::new();
            if set.member && !root && !set.children.is_empty() {
                map.insert(".".into(), Value::Object(Map::new()));
            }
            for (element, child) in set.children.iter().filter(|(_, child)| !child.is_empty()) {
                map.insert(element.clone(), node(child, false));
            }
            Value::Object(map)
        }
        node(self, true)
    }
}

fn readable(element: &str) -> String {
    match element.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("v:", value)) => format!("[={value}]"),
        Some(("i:", index)) => format!("[{index}]"),
        Some(("k:", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => element.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn set(paths: &[&str]) -> FieldSet {
        let mut set = FieldSet::default();
        for path in paths {
            set.insert(&path.split('/').map(str::to_string).collect::<Vec<_>>());
        }
        set
    }

    #[test]
    fn the_json_form_keeps_membership_of_inner_nodes() {
        let both = set(&["f:data", "f:data/f:k"]);
        assert_eq!(both.to_json(), json!({"f:data": {".": {}, "f:k": {}}}));
        let leaf = set(&["f:data/f:k"]);
        assert_eq!(leaf.to_json(), json!({"f:data": {"f:k": {}}}));
        let parent = both.difference(&leaf);
        assert_eq!(parent.to_json(), json!({"f:data": {}}));
        for set in [both, leaf, parent] {
            assert_eq!(FieldSet::from_json(&set.to_json()).unwrap(), set);
        }
    }

    #[test]
    fn set_algebra_is_by_exact_path() {
        let a = set(&["f:a", "f:a/f:b", "f:c"]);
        let b = set(&["f:a", "f:d"]);
        assert_eq!(a.union(&b), set(&["f:a", "f:a/f:b", "f:c", "f:d"]));
        assert_eq!(a.intersection(&b), set(&["f:a"]));
        assert_eq!(a.difference(&b), set(&["f:a/f:b", "f:c"]));
        assert_eq!(a.without_subtrees(&b), set(&["f:c"]));
    }

    #[test]
    fn paths_read_like_the_real_servers() {
        let set = set(&[
            r#"f:spec/f:containers/k:{"name":"main"}/f:image"#,
            r#"f:metadata/f:finalizers/v:"x""#,
        ]);
        assert_eq!(
            set.paths(),
            [
                r#".metadata.finalizers[="x"]"#,
                r#".spec.containers[name="main"].image"#
            ]
        );
    }
}
