//! The last changes, bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

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

/// Changes in order of their revision, the oldest forgotten first.
#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<Arc<Event>>,
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
        self.events.push_back(event);
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
    pub fn since(&self, revision: u64) -> Outcome<impl Iterator<Item = &Arc<Event>>> {
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
        let later: Vec<&Arc<Event>> = self.since(revision)?.filter(|event| concerned(&event.key)).collect();
        for event in later.into_iter().rev() {
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
