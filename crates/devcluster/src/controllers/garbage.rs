//! Garbage collection: dependents follow their owners.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::Action;
use crate::admission::strategy::Door;
use crate::object::{finalizers, is_terminating, metadata_mut, owners, put, uid};
use crate::store::{Key, Object, State};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What is to be collected.
pub(super) fn plan(state: &State) -> Vec<Action> {
    let by_uid: HashMap<&str, (&Key, &Object)> =
        state.iter().map(|(key, object)| (uid(object), (key, object))).collect();
    let mut dependents: BTreeMap<&str, Vec<(&Key, &Object)>> = BTreeMap::new();
    let mut actions = Vec::new();
    for (key, object) in state.iter() {
        for owner in owners(object) {
            dependents
                .entry(owner["uid"].as_str().unwrap_or_default())
                .or_default()
                .push((key, object));
        }
    }
    for (key, object) in state.iter().filter(|(_, object)| owners(object).next().is_some()) {
        actions.extend(follow_owners(key, object, &by_uid, &dependents));
    }
    for (key, object) in state.iter().filter(|(_, object)| is_terminating(object)) {
        let mine = dependents.get(uid(object)).map(Vec::as_slice).unwrap_or_default();
        let held_by = finalizers(object);
        if held_by.contains(&ORPHAN) {
            actions.extend(
                mine.iter()
                    .filter_map(|(key, dependent)| without_owner(key, dependent, &[uid(object)])),
            );
            if mine.is_empty() {
                actions.push(without_finalizer(key, object, ORPHAN));
            }
        } else if held_by.contains(&FOREGROUND) && !mine.iter().any(|(_, d)| blocks(d, uid(object))) {
            actions.push(without_finalizer(key, object, FOREGROUND));
        }
    }
    actions
}

/// Whether a dependent keeps its owner from going.
fn blocks(dependent: &Value, owner_uid: &str) -> bool {
    owners(dependent).any(|owner| owner["uid"] == owner_uid && owner["blockOwnerDeletion"] == true)
}

fn follow_owners(
    key: &Key,
    object: &Object,
    by_uid: &HashMap<&str, (&Key, &Object)>,
    dependents: &BTreeMap<&str, Vec<(&Key, &Object)>>,
) -> Option<Action> {
    if is_terminating(object) {
        return None;
    }
    let mut dangling = Vec::new();
    let mut waiting = Vec::new();
    let mut solid = 0;
    for owner in owners(object) {
        let owner_uid = owner["uid"].as_str().unwrap_or_default();
        // An owner in another namespace is none.
        let found = by_uid
            .get(owner_uid)
            .filter(|(owner, _)| owner.namespace.is_empty() || owner.namespace == key.namespace);
        match found {
            None => dangling.push(owner_uid),
            Some((_, owner)) if is_terminating(owner) && finalizers(owner).contains(&FOREGROUND) => {
                waiting.push(owner_uid)
            }
            Some(_) => solid += 1,
        }
    }
    if solid > 0 {
        let gone: Vec<&str> = dangling.into_iter().chain(waiting).collect();
        return if gone.is_empty() {
            None
        } else {
            without_owner(key, object, &gone)
        };
    }
    let has_blocking = dependents
        .get(uid(object))
        .is_some_and(|mine| mine.iter().any(|(_, d)| blocks(d, uid(object))));
    let propagation = if !waiting.is_empty() && has_blocking {
        "Foreground"
    } else {
        "Background"
    };
    let propagation = (!finalizers(object).contains(&ORPHAN)).then_some(propagation);
    Some(Action::Delete {
        key: key.clone(),
        uid: uid(object).into(),
        propagation,
    })
}

fn without_owner(key: &Key, object: &Value, gone: &[&str]) -> Option<Action> {
    let left: Vec<Value> = owners(object)
        .filter(|owner| !gone.contains(&owner["uid"].as_str().unwrap_or_default()))
        .cloned()
        .collect();
    let mut object = object.clone();
    let value = if left.is_empty() { Value::Null } else { json!(left) };
    put(metadata_mut(&mut object), "ownerReferences", value);
    Some(Action::Update {
        key: key.clone(),
        object,
        door: Door::Main,
    })
}

/// The object without one of its finalizers.
pub(super) fn without_finalizer(key: &Key, object: &Value, finalizer: &str) -> Action {
    let left: Vec<&str> = finalizers(object).into_iter().filter(|f| *f != finalizer).collect();
    let value = if left.is_empty() { Value::Null } else { json!(left) };
    let mut object = object.clone();
    put(metadata_mut(&mut object), "finalizers", value);
    Action::Update {
        key: key.clone(),
        object,
        door: Door::Main,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Transaction;
    use k8s_openapi::jiff::Timestamp;

    fn state(objects: &[Value]) -> State {
        let mut state = State::default();
        let mut tx = Transaction::new(&mut state, Timestamp::UNIX_EPOCH);
        for object in objects {
            tx.put(
                Key::core("configmaps", "n", crate::object::name(object)),
                object.clone(),
            );
        }
        tx.finish(true);
        state
    }

    fn object(name: &str, more: Value) -> Value {
        let mut object = json!({"metadata": {"name": name, "uid": name}});
        for (key, value) in more.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        object
    }

    fn owned(by: &[&str], block: bool) -> Value {
        let owners: Vec<Value> = by
            .iter()
            .map(|o| json!({"uid": o, "name": o, "blockOwnerDeletion": block}))
            .collect();
        json!({ "ownerReferences": owners })
    }

    #[test]
    fn a_dependent_goes_only_when_its_last_owner_is_gone() {
        assert_eq!(
            plan(&state(&[object("o", json!({})), object("d", owned(&["o"], false))])),
            []
        );
        let actions = plan(&state(&[object("d", owned(&["o"], false))]));
        assert!(matches!(&actions[..], [Action::Delete { key, .. }] if key.name == "d"));
        let actions = plan(&state(&[
            object("o", json!({})),
            object("d", owned(&["o", "x"], false)),
        ]));
        let [Action::Update { object, .. }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(owners(object).count(), 1);
    }

    #[test]
    fn a_foreground_owner_waits_for_what_blocks_it() {
        let owner = object("o", json!({"deletionTimestamp": "t", "finalizers": [FOREGROUND]}));
        let actions = plan(&state(&[owner.clone(), object("d", owned(&["o"], true))]));
        assert!(matches!(&actions[..], [Action::Delete { key, .. }] if key.name == "d"));
        let actions = plan(&state(&[owner]));
        assert!(
            matches!(&actions[..], [Action::Update { key, object, .. }] if key.name == "o" && finalizers(object).is_empty())
        );
    }

    #[test]
    fn orphans_lose_their_owner_first() {
        let owner = object("o", json!({"deletionTimestamp": "t", "finalizers": [ORPHAN]}));
        let actions = plan(&state(&[owner, object("d", owned(&["o"], true))]));
        assert!(
            matches!(&actions[..], [Action::Update { key, object, .. }] if key.name == "d" && owners(object).count() == 0)
        );
    }
}
