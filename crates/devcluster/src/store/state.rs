//! The objects, and one write on them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::history::{Event, EventKind};
use crate::resource::Resource;

/// An object as JSON with `apiVersion` and `kind`.
pub type Object = Arc<Value>;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `group/plural`.
    pub storage: String,
    /// Empty for cluster-wide objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// Key of an object of a resource.
    pub fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        Self {
            storage: resource.storage(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Key of an object of the core group.
    pub fn core(plural: &str, namespace: &str, name: &str) -> Self {
        Self {
            storage: format!("/{plural}"),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// All objects at one revision.
#[derive(Debug, Clone, Default)]
pub struct State {
    objects: BTreeMap<Key, Object>,
    revision: u64,
}

impl State {
    /// From what the disk held.
    pub(super) fn restore(objects: BTreeMap<Key, Object>, revision: u64) -> Self {
        Self { objects, revision }
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Everything.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter()
    }

    /// Objects of a storage, in one namespace if it is given, by namespace and name.
    pub fn list<'a>(
        &'a self,
        storage: &'a str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Object)> {
        let start = Key {
            storage: storage.to_string(),
            namespace: namespace.unwrap_or_default().to_string(),
            name: String::new(),
        };
        self.objects
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| key.storage == storage && namespace.is_none_or(|n| n == key.namespace))
    }

    /// Takes over a change made elsewhere.
    pub(super) fn follow(&mut self, event: &Event) {
        match event.kind {
            EventKind::Deleted => self.objects.remove(&event.key),
            EventKind::Added | EventKind::Modified => self.objects.insert(event.key.clone(), event.object.clone()),
        };
        self.revision = event.revision;
    }
}

/// One write: sees the state with its own changes; they count only if the decision is `Ok`.
pub struct Transaction<'a> {
    state: &'a mut State,
    undo: Vec<(Key, Option<Object>)>,
    first_revision: u64,
    events: Vec<Arc<Event>>,
    now: Timestamp,
    discarded: bool,
}

impl<'a> Transaction<'a> {
    /// Starts on a state.
    pub fn new(state: &'a mut State, now: Timestamp) -> Self {
        let first_revision = state.revision;
        Self {
            state,
            undo: Vec::new(),
            first_revision,
            events: Vec::new(),
            now,
            discarded: false,
        }
    }

    /// The time of this write.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The state with this write's changes so far.
    pub fn state(&self) -> &State {
        self.state
    }

    /// Creates or replaces; returns the object with its new `resourceVersion`.
    pub fn put(&mut self, key: Key, mut value: Value) -> Object {
        self.state.revision += 1;
        let revision = self.state.revision;
        stamp(&mut value, revision);
        let object = Arc::new(value);
        let previous = self.state.objects.insert(key.clone(), object.clone());
        let kind = if previous.is_some() {
            EventKind::Modified
        } else {
            EventKind::Added
        };
        self.record(key, kind, object.clone(), previous, revision);
        object
    }

    /// Removes; the object in the event carries the revision of the removal. `None` if it was not there.
    pub fn delete(&mut self, key: &Key) -> Option<Object> {
        let previous = self.state.objects.remove(key)?;
        self.state.revision += 1;
        let revision = self.state.revision;
        let mut last = (*previous).clone();
        stamp(&mut last, revision);
        let object = Arc::new(last);
        self.record(
            key.clone(),
            EventKind::Deleted,
            object.clone(),
            Some(previous),
            revision,
        );
        Some(object)
    }

    fn record(&mut self, key: Key, kind: EventKind, object: Object, previous: Option<Object>, revision: u64) {
        self.undo.push((key.clone(), previous.clone()));
        self.events.push(Arc::new(Event {
            revision,
            key,
            kind,
            object,
            previous,
        }));
    }

    /// A dry run: the changes are shown to whoever asked and then forgotten.
    pub fn discard(&mut self) {
        self.discarded = true;
    }

    /// Ends it, keeping the changes or not; returns them if kept.
    pub fn finish(self, keep: bool) -> Vec<Arc<Event>> {
        if keep && !self.discarded {
            return self.events;
        }
        for (key, previous) in self.undo.into_iter().rev() {
            match previous {
                Some(object) => self.state.objects.insert(key, object),
                None => self.state.objects.remove(&key),
            };
        }
        self.state.revision = self.first_revision;
        Vec::new()
    }
}

fn stamp(value: &mut Value, revision: u64) {
    value["metadata"]["resourceVersion"] = revision.to_string().into();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn transaction(state: &mut State, keep: bool, decide: impl FnOnce(&mut Transaction<'_>)) -> usize {
        let mut transaction = Transaction::new(state, Timestamp::UNIX_EPOCH);
        decide(&mut transaction);
        transaction.finish(keep).len()
    }

    #[test]
    fn a_refused_write_leaves_the_state_as_it_was() {
        let mut state = State::default();
        let (a, b) = (Key::core("pods", "n", "a"), Key::core("pods", "n", "b"));
        transaction(&mut state, true, |t| {
            drop(t.put(a.clone(), json!({"metadata": {}, "x": 1})))
        });
        let before = state.clone();
        let events = transaction(&mut state, false, |t| {
            t.put(a.clone(), json!({"metadata": {}, "x": 2}));
            t.put(b.clone(), json!({"metadata": {}}));
            t.delete(&a);
            t.put(a.clone(), json!({"metadata": {}, "x": 3}));
        });
        assert_eq!(events, 0);
        assert_eq!(state.objects, before.objects);
        assert_eq!(state.revision, before.revision);
    }

    #[test]
    fn each_change_has_a_revision_of_its_own_and_a_follower_ends_up_equal() {
        let mut state = State::default();
        let mut follower = State::default();
        let key = Key::core("pods", "n", "a");
        let mut transaction = Transaction::new(&mut state, Timestamp::UNIX_EPOCH);
        transaction.put(key.clone(), json!({"metadata": {}}));
        transaction.put(key.clone(), json!({"metadata": {}, "x": 1}));
        let deleted = transaction.delete(&key).unwrap();
        assert_eq!(deleted["metadata"]["resourceVersion"], "3");
        let events = transaction.finish(true);
        let kinds: Vec<EventKind> = events.iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [EventKind::Added, EventKind::Modified, EventKind::Deleted]);
        events.iter().for_each(|event| follower.follow(event));
        assert_eq!(follower.objects, state.objects);
        assert_eq!(follower.revision, 3);
    }

    #[test]
    fn lists_hold_one_storage_and_one_namespace() {
        let mut state = State::default();
        transaction(&mut state, true, |t| {
            for (plural, namespace, name) in [
                ("pods", "a", "x"),
                ("pods", "ab", "y"),
                ("pods", "b", "z"),
                ("podsets", "a", "w"),
            ] {
                t.put(Key::core(plural, namespace, name), json!({"metadata": {}}));
            }
        });
        let names = |namespace| {
            state
                .list("/pods", namespace)
                .map(|(k, _)| k.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["x", "y", "z"]);
        assert_eq!(names(Some("a")), ["x"]);
    }
}
