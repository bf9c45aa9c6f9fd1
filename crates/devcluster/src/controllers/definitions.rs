//! Definitions of custom resources: their status, and the end of their objects.

use serde_json::Value;

use super::Action;
use super::garbage::without_finalizer;
use crate::admission::strategy::Door;
use crate::crd::accepted_status;
use crate::object::{finalizers, is_terminating, uid};
use crate::store::{Key, Object, State};

const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";
use crate::api::CLEANUP;

/// What is to be done for definitions.
pub(super) fn plan(state: &State, now: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    for (key, definition) in state.list(STORAGE, None) {
        if is_terminating(definition) {
            actions.extend(clean_up(state, key, definition));
        } else {
            actions.extend(accept(key, definition, now));
        }
    }
    actions
}

fn accept(key: &Key, definition: &Object, now: &str) -> Option<Action> {
    let status = &definition["status"];
    let wanted = accepted_status(definition, now);
    let conditions_there = status["conditions"]
        .as_array()
        .is_some_and(|c| c.iter().any(|c| c["type"] == "Established"));
    let same = conditions_there
        && status["acceptedNames"] == wanted["acceptedNames"]
        && status["storedVersions"] == wanted["storedVersions"];
    if same {
        return None;
    }
    let mut object = (**definition).clone();
    let kept = conditions_there.then(|| status["conditions"].clone());
    object["status"] = wanted;
    if let Some(conditions) = kept {
        object["status"]["conditions"] = conditions;
    }
    Some(Action::Update {
        key: key.clone(),
        object,
        door: Door::Status,
    })
}

fn clean_up(state: &State, key: &Key, definition: &Object) -> Vec<Action> {
    if !finalizers(definition).contains(&CLEANUP) {
        return Vec::new();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let storage = format!(
        "{}/{}",
        text(&definition["spec"]["group"]),
        text(&definition["spec"]["names"]["plural"])
    );
    let left: Vec<(&Key, &Object)> = state.list(&storage, None).collect();
    if left.is_empty() {
        return vec![without_finalizer(key, definition, CLEANUP)];
    }
    left.into_iter()
        .filter(|(_, object)| !is_terminating(object))
        .map(|(key, object)| Action::Delete {
            key: key.clone(),
            uid: uid(object).into(),
            propagation: None,
        })
        .collect()
}
