//! The last changes, bounded.
//!
//! An object in memory is a tree of maps, some ten times as large as its JSON text. Watchers nearly always want the newest
//! changes only, so those are kept as trees and the others as text.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::state::{Key, Object, State};
use crate::status::{Outcome, Status};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Not there before.
    Added,
    /// Replaced.
    Modified,
    /// Gone; the object is its last state.
    Deleted,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its revision.
    pub revision: u64,
    /// Which object.
    pub key: Key,
    /// What happened.
    pub kind: EventKind,
    /// The object afterwards, or as it was last.
    pub object: Object,
    /// The object before.
    pub previous: Option<Object>,
}

/// Changes that are kept as trees.
const UNPACKED_LIMIT: usize = 16;

/// A change that is remembered.
#[derive(Debug)]
pub struct Remembered {
    revision: u64,
    key: Key,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Tree(Arc<Event>),
    Text {
        kind: EventKind,
        object: Box<str>,
        previous: Option<Box<str>>,
    },
}

impl Remembered {
    fn new(event: Arc<Event>) -> Self {
        Self {
            revision: event.revision,
            key: event.key.clone(),
            form: Form::Tree(event),
        }
    }

    /// Its revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Which object.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The whole of it; parses text if it is an older one.
    pub fn event(&self) -> Arc<Event> {
        match &self.form {
            Form::Tree(event) => Arc::clone(event),
            Form::Text { kind, object, previous } => Arc::new(Event {
                revision: self.revision,
                key: self.key.clone(),
                kind: *kind,
                object: unpack(object),
                previous: previous.as_deref().map(unpack),
            }),
        }
    }

    fn pack(&mut self) {
        if let Form::Tree(event) = &self.form {
            self.form = Form::Text {
                kind: event.kind,
                object: pack(&event.object),
                previous: event.previous.as_ref().map(pack),
            };
        }
    }
}

fn pack(object: &Object) -> Box<str> {
    object.to_string().into_boxed_str()
}

fn unpack(text: &str) -> Object {
    let value: Value = serde_json::from_str(text).expect("what was made of a JSON value is JSON");
    Arc::new(value)
}

/// Changes in order of their revision, the oldest forgotten first.
#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<Remembered>,
    /// Everything up to and including this revision is forgotten.
    compacted: u64,
    limit: usize,
}

impl History {
    /// Empty; what happened up to `revision` is unknown.
    pub fn starting_at(revision: u64, limit: usize) -> Self {
        Self {
            events: VecDeque::new(),
            compacted: revision,
            limit,
        }
    }

    /// Remembers one more.
    pub fn push(&mut self, event: Arc<Event>) {
        self.events.push_back(Remembered::new(event));
        if let Some(older) = self.events.len().checked_sub(UNPACKED_LIMIT + 1) {
            self.events[older].pack();
        }
        while self.events.len() > self.limit {
            if let Some(oldest) = self.events.pop_front() {
                self.compacted = oldest.revision;
            }
        }
    }

    /// Changes after `revision`.
    ///
    /// # Errors
    /// 410 if some of them are forgotten.
    pub fn since(&self, revision: u64) -> Outcome<impl Iterator<Item = &Remembered>> {
        if revision < self.compacted {
            let message = format!("too old resource version: {revision} ({})", self.compacted);
            return Err(Status::expired(message));
        }
        let start = self.events.partition_point(|event| event.revision <= revision);
        Ok(self.events.range(start..))
    }

    /// Objects of a storage as they were at `revision`.
    ///
    /// # Errors
    /// 410 if that is forgotten.
    pub fn list_at(
        &self,
        state: &State,
        storage: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Outcome<Vec<(Key, Object)>> {
        let mut objects: BTreeMap<Key, Object> = state
            .list(storage, namespace)
            .map(|(k, o)| (k.clone(), o.clone()))
            .collect();
        let concerned = |key: &Key| key.storage == storage && namespace.is_none_or(|n| n == key.namespace);
        let later: Vec<&Remembered> = self.since(revision)?.filter(|it| concerned(&it.key)).collect();
        for event in later.into_iter().rev().map(Remembered::event) {
            match &event.previous {
                Some(previous) => objects.insert(event.key.clone(), previous.clone()),
                None => objects.remove(&event.key),
            };
        }
        Ok(objects.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::Transaction;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn it_forgets_the_oldest_and_says_so() {
        let mut history = History::starting_at(5, 2);
        let mut state = State::default();
        for name in ["a", "b", "c"] {
            let mut transaction = Transaction::new(&mut state, Timestamp::UNIX_EPOCH);
            transaction.put(Key::core("pods", "n", name), json!({"metadata": {}}));
            transaction
                .finish(true)
                .into_iter()
                .for_each(|event| history.push(event));
        }
        assert_eq!(history.since(1).unwrap().count(), 2);
        let refused = history.since(0).err().unwrap();
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (410, "too old resource version: 0 (1)")
        );
    }

    #[test]
    fn a_list_at_an_old_revision_is_what_was_seen_then() {
        let mut history = History::starting_at(0, 100);
        let mut state = State::default();
        let mut seen: Vec<Vec<(Key, Object)>> = vec![vec![]];
        for step in 0..40u64 {
            let mut transaction = Transaction::new(&mut state, Timestamp::UNIX_EPOCH);
            let key = Key::core("pods", "n", &format!("p{}", step * 7 % 5));
            if step % 3 == 2 && transaction.state().get(&key).is_some() {
                transaction.delete(&key);
            } else {
                transaction.put(key, json!({"metadata": {}, "step": step}));
            }
            transaction
                .finish(true)
                .into_iter()
                .for_each(|event| history.push(event));
            seen.push(state.list("/pods", None).map(|(k, o)| (k.clone(), o.clone())).collect());
        }
        for (revision, expected) in seen.iter().enumerate() {
            assert_eq!(
                &history.list_at(&state, "/pods", None, revision as u64).unwrap(),
                expected
            );
        }
    }
}
