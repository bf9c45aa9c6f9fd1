//! Reads the table of built-in types once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use super::{Field, ListKind, Scalar, Shape, Struct, Wire};

const TEXT: &str = include_str!("kubernetes-1.36.types");

static TYPES: LazyLock<HashMap<&'static str, Struct>> = LazyLock::new(|| parse(TEXT));

/// The built-in struct of a name like `core/v1.Pod`.
pub fn built_in(name: &str) -> Option<&'static Struct> {
    TYPES.get(name)
}

/// The static name of a built-in struct.
pub fn built_in_name(name: &str) -> Option<&'static str> {
    TYPES.get_key_value(name).map(|(name, _)| *name)
}

fn parse(text: &'static str) -> HashMap<&'static str, Struct> {
    let mut types = HashMap::new();
    let mut current: Option<(&'static str, Struct)> = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("type ") {
            types.extend(current.take());
            let mut words = head.split(' ');
            let full = words.next().unwrap_or_default();
            let name = full.rsplit('.').next().unwrap_or_default().to_string();
            let atomic = words.next() == Some("atomic");
            current = Some((
                full,
                Struct {
                    name,
                    fields: BTreeMap::new(),
                    atomic,
                    preserve_unknown: false,
                },
            ));
        } else if let (Some((_, fields)), Some((name, shape))) = (current.as_mut(), line.trim().split_once(' ')) {
            let (shape, wire) = match shape.split_once(' ') {
                Some((shape, wire)) => (shape, Some(parse_wire(wire))),
                None => (shape, None),
            };
            let field = Field {
                shape: parse_shape(shape),
                required: name.ends_with('!'),
                wire,
            };
            fields.fields.insert(name.trim_end_matches('!').to_string(), field);
        }
    }
    types.extend(current);
    // What can stand alone has the two fields that say what it is.
    for fields in types
        .values_mut()
        .filter(|fields| fields.fields.get("metadata").is_some_and(|f| f.required))
    {
        for name in ["apiVersion", "kind"] {
            let shape = Shape::Scalar(Scalar::String);
            let field = Field {
                shape,
                required: false,
                wire: None,
            };
            fields.fields.insert(name.into(), field);
        }
    }
    types
}

fn parse_wire(text: &'static str) -> Wire {
    let numbers = text.trim_end_matches('*').split('.');
    Wire {
        path: numbers.map(|number| number.parse().unwrap_or_default()).collect(),
        zero: text.ends_with('*'),
    }
}

fn parse_shape(text: &'static str) -> Shape {
    if let Some(name) = text.strip_prefix('@') {
        return Shape::Named(name);
    }
    if let Some((kind, items)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let kind = match kind {
            "=" => ListKind::Atomic,
            "*" => ListKind::Set,
            keys => ListKind::Map(keys.split(',').map(str::to_string).collect()),
        };
        return Shape::List {
            items: Arc::new(parse_shape(items)),
            kind,
        };
    }
    if let Some((atomic, values)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return Shape::Map {
            values: Arc::new(parse_shape(values)),
            atomic: atomic == "=",
        };
    }
    match text {
        "string" => Shape::Scalar(Scalar::String),
        "int32" => Shape::Scalar(Scalar::Int32),
        "int64" => Shape::Scalar(Scalar::Int64),
        "float64" => Shape::Scalar(Scalar::Float64),
        "bool" => Shape::Scalar(Scalar::Bool),
        "bytes" => Shape::Scalar(Scalar::Bytes),
        "int-or-string" => Shape::Scalar(Scalar::IntOrString),
        "quantity" => Shape::Scalar(Scalar::Quantity),
        "time" => Shape::Scalar(Scalar::Time),
        "micro-time" => Shape::Scalar(Scalar::MicroTime),
        "any" => Shape::Any,
        other => unreachable!("the table of types holds an unknown shape {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(shape: &Shape, into: &mut Vec<&'static str>) {
        match shape {
            Shape::Named(name) => into.push(name),
            Shape::List { items, .. } => names_in(items, into),
            Shape::Map { values, .. } => names_in(values, into),
            _ => {}
        }
    }

    #[test]
    fn every_type_that_is_referred_to_is_there() {
        let mut names = Vec::new();
        for fields in TYPES.values() {
            fields
                .fields
                .values()
                .for_each(|field| names_in(&field.shape, &mut names));
        }
        for name in names {
            assert!(built_in(name).is_some(), "{name}");
        }
    }

    #[test]
    fn numbers_of_the_protobuf_encoding_are_distinct_and_complete() {
        for (name, fields) in TYPES.iter() {
            let own = fields
                .fields
                .iter()
                .filter(|(name, _)| !["apiVersion", "kind"].contains(&name.as_str()));
            let wires: Vec<_> = own.map(|(_, field)| field.wire.as_ref()).collect();
            // Clients of definitions of custom resources send JSON.
            if name.starts_with("apiextensions/") {
                assert!(wires.iter().all(Option::is_none), "{name}");
                continue;
            }
            let mut paths: Vec<_> = wires
                .iter()
                .map(|wire| &wire.unwrap_or_else(|| panic!("{name}")).path)
                .collect();
            assert!(
                paths.iter().all(|path| !path.is_empty() && !path.contains(&0)),
                "{name}"
            );
            paths.sort();
            assert!(paths.windows(2).all(|pair| !pair[1].starts_with(pair[0])), "{name}");
        }
    }

    #[test]
    fn containers_merge_by_name_and_label_selectors_as_a_whole() {
        let pod = built_in("core/v1.PodSpec").expect("there");
        assert!(matches!(&pod.fields["containers"].shape,
            Shape::List { kind: ListKind::Map(keys), .. } if keys == &["name"]));
        assert!(built_in("meta/v1.LabelSelector").expect("there").atomic);
    }
}
