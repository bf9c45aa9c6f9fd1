//! What holds for server-side apply whatever is applied by whom.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Apply, FieldSet, Scope, apply, update};
use crate::schema::Shape;

const SHAPE: Shape = Shape::Named("core/v1.Pod");

fn scope<'a>(zero: &'a Value, reset: &'a FieldSet) -> Scope<'a> {
    Scope {
        shape: &SHAPE,
        api_version: "v1",
        subresource: "",
        reset,
        zero,
        now: "2026-01-01T00:00:00Z",
    }
}

/// A configuration over few names, so that managers meet: labels, containers by name, finalizers as a set.
fn config() -> impl Strategy<Value = Value> {
    let value = prop_oneof!["a", "b"];
    let labels = prop::collection::btree_map(prop_oneof!["x", "y", "z"], value.clone(), 0..3);
    let containers = prop::collection::btree_map(prop_oneof!["main", "side"], value, 0..3);
    let finalizers = prop::collection::btree_set(prop_oneof!["e.com/a", "e.com/b", "e.com/c"], 0..3);
    (labels, containers, finalizers).prop_map(|(labels, containers, finalizers)| {
        let containers: Vec<Value> = containers
            .iter()
            .map(|(name, image)| json!({ "name": name, "image": image }))
            .collect();
        let mut metadata = Map::from_iter([("name".to_string(), json!("p"))]);
        if !labels.is_empty() {
            metadata.insert("labels".into(), json!(labels));
        }
        if !finalizers.is_empty() {
            metadata.insert("finalizers".into(), json!(finalizers));
        }
        let mut object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata });
        if !containers.is_empty() {
            object["spec"] = json!({ "containers": containers });
        }
        object
    })
}

fn zero() -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": { "containers": null }, "status": {} })
}

/// Whether everything a configuration says is so in an object.
fn holds(config: &Value, object: &Value) -> bool {
    match (config, object) {
        (Value::Object(config), Value::Object(object)) => config
            .iter()
            .all(|(key, value)| object.get(key).is_some_and(|other| holds(value, other))),
        (Value::Array(config), Value::Array(object)) => config.iter().all(|item| match item.get("name") {
            Some(name) => object
                .iter()
                .any(|other| other.get("name") == Some(name) && holds(item, other)),
            None => object.contains(item),
        }),
        (config, object) => config == object,
    }
}

fn forced(live: Option<&Value>, manager: &str, config: &Value) -> Value {
    let (zero, reset) = (zero(), FieldSet::default());
    apply(
        &scope(&zero, &reset),
        live,
        &Apply {
            manager,
            force: true,
            config,
        },
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// After a forced apply the object says what was applied, and applying it again changes nothing.
    #[test]
    fn what_is_applied_is_so_and_stays_so(steps in prop::collection::vec((0..3usize, config()), 1..8)) {
        let mut live: Option<Value> = None;
        for (who, config) in steps {
            let manager = ["alice", "bob", "carol"][who];
            let after = forced(live.as_ref(), manager, &config);
            prop_assert!(holds(&config, &after), "{config} is not in {after}");
            prop_assert_eq!(&forced(Some(&after), manager, &config), &after);
            let again = apply(&scope(&zero(), &FieldSet::default()), Some(&after), &Apply { manager, force: false, config: &config });
            prop_assert!(again.is_ok(), "what one owns one may apply without force");
            live = Some(after);
        }
    }

    /// When the only managers withdraw everything, nothing is left of what they applied.
    #[test]
    fn what_nobody_wants_any_more_goes(first in config(), second in config()) {
        let empty = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" } });
        let live = forced(None, "alice", &first);
        let live = forced(Some(&live), "bob", &second);
        let live = forced(Some(&live), "alice", &empty);
        prop_assert!(holds(&second, &live), "{second} is bob's and must stay in {live}");
        let live = forced(Some(&live), "bob", &empty);
        prop_assert!(live["metadata"].get("labels").is_none_or(|l| l.as_object().is_none_or(Map::is_empty)), "{live}");
        prop_assert!(live["spec"]["containers"].as_array().is_none_or(Vec::is_empty), "{live}");
        prop_assert!(live["metadata"].get("managedFields").is_none(), "{live}");
    }

    /// An apply without force either conflicts or takes nothing from anybody.
    #[test]
    fn without_force_nobody_loses_a_value(first in config(), second in config()) {
        let (zero, reset) = (zero(), FieldSet::default());
        let live = forced(None, "alice", &first);
        let outcome = apply(&scope(&zero, &reset), Some(&live), &Apply { manager: "bob", force: false, config: &second });
        match outcome {
            Ok(after) => prop_assert!(holds(&first, &after) && holds(&second, &after)),
            Err(status) => {
                prop_assert_eq!(status.code, 409);
                prop_assert!(!holds(&second, &live), "nothing to conflict about");
            }
        }
    }

    /// An update makes its author the owner of what it changed: another's apply of another value conflicts.
    #[test]
    fn an_update_is_owned_by_its_author(first in config(), value in "[c-f]") {
        let (zero, reset) = (zero(), FieldSet::default());
        let live = forced(None, "alice", &first);
        let mut new = live.clone();
        new["metadata"]["labels"]["x"] = value.into();
        update(&scope(&zero, &reset), Some(&live), &mut new, "bob");
        let config = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": { "x": "other" } } });
        let outcome = apply(&scope(&zero, &reset), Some(&new), &Apply { manager: "carol", force: false, config: &config });
        let tracked = !new["metadata"]["managedFields"].is_null();
        prop_assert_eq!(outcome.is_err(), tracked || live["metadata"]["managedFields"].is_null());
    }
}
