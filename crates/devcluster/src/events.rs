//! Events have two APIs that show the same objects: core/v1 and events.k8s.io/v1. They are stored as core/v1.

use serde_json::{Map, Value};

use crate::resource::Resource;

/// core/v1 name, events.k8s.io/v1 name.
const NAMES: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];
/// Same, for the one that is renamed the other way.
const CONTROLLER: (&str, &str) = ("reportingComponent", "reportingController");

fn is_new(resource: &Resource) -> bool {
    resource.group == "events.k8s.io"
}

fn rename(object: &Value, pairs: impl Iterator<Item = (&'static str, &'static str)>, api_version: &str) -> Value {
    let mut map: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
    for (from, to) in pairs {
        if let Some(value) = map.remove(from) {
            map.insert(to.into(), value);
        }
    }
    map.insert("apiVersion".into(), api_version.into());
    Value::Object(map)
}

/// How a stored object appears through a resource.
pub fn shown(resource: &Resource, object: &Value) -> Value {
    if !is_new(resource) {
        return object.clone();
    }
    let mut event = rename(object, NAMES.into_iter().chain([CONTROLLER]), "events.k8s.io/v1");
    if let Some(map) = event.as_object_mut() {
        for key in ["reportingController", "reportingInstance"] {
            if map.get(key).is_some_and(|v| v == "") {
                map.remove(key);
            }
        }
    }
    event
}

/// How an object from a request is stored.
pub fn stored(resource: &Resource, object: Value) -> Value {
    if !is_new(resource) {
        return object;
    }
    let pairs = NAMES.into_iter().chain([CONTROLLER]).map(|(core, new)| (new, core));
    rename(&object, pairs, "v1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::Catalog;
    use serde_json::json;

    #[test]
    fn an_event_is_the_same_after_a_way_through_the_store() {
        let resource = Catalog::built_in().find("events.k8s.io", "v1", "events").unwrap();
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "regarding": {"name": "p"},
            "reportingController": "c", "reason": "r"});
        let core = stored(&resource, event.clone());
        assert_eq!(core["involvedObject"]["name"], "p");
        assert_eq!(core["message"], "n");
        assert_eq!(shown(&resource, &core), event);
    }
}
