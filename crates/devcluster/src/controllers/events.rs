//! Events are hints for people and don't last: an hour, as on the real server, and the newest only.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::Action;
use crate::object::{is_terminating, meta, resource_version, uid};
use crate::store::{Key, Object, State};

/// As `--event-ttl` of kube-apiserver by default.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// How many are kept when there are too many.
const KEPT: usize = 96;
/// How many are too many: some at a time are deleted, not one with each that is written.
const TOO_MANY: usize = 128;

/// Which events have had their time.
pub(super) fn plan(state: &State, now: &str) -> Vec<Action> {
    let mut events: Vec<(&Key, &Object)> = state
        .list("/events", None)
        .filter(|(_, o)| !is_terminating(o))
        .collect();
    let surplus = if events.len() > TOO_MANY {
        events.len() - KEPT
    } else {
        0
    };
    events.sort_by_key(|(_, event)| revision(event));
    let now: Option<Timestamp> = now.parse().ok();
    let over = |event: &Object| {
        let written: Timestamp = meta(event, "creationTimestamp").parse().ok()?;
        Some(now?.duration_since(written) > LIFETIME)
    };
    events
        .iter()
        .enumerate()
        .filter(|(index, (_, event))| *index < surplus || over(event).unwrap_or(false))
        .map(|(_, (key, event))| Action::Delete {
            key: (*key).clone(),
            uid: uid(event).to_owned(),
            propagation: None,
        })
        .collect()
}

/// When it was last written, counted in changes of the store.
fn revision(event: &Object) -> u64 {
    resource_version(event).parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::store::Transaction;

    fn state(events: usize) -> State {
        let mut state = State::default();
        let mut transaction = Transaction::new(&mut state, Timestamp::UNIX_EPOCH);
        for number in 0..events {
            let name = format!("event-{number:04}");
            let object = json!({"metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"}});
            transaction.put(Key::core("events", "default", &name), object);
        }
        transaction.finish(true);
        state
    }

    fn deleted(state: &State, now: &str) -> Vec<String> {
        plan(state, now)
            .into_iter()
            .map(|action| match action {
                Action::Delete { key, .. } => key.name,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn an_event_lasts_an_hour() {
        assert!(deleted(&state(3), "2026-01-01T01:00:00Z").is_empty());
        assert_eq!(deleted(&state(3), "2026-01-01T01:00:01Z").len(), 3);
    }

    #[test]
    fn of_too_many_the_newest_are_kept() {
        assert!(deleted(&state(TOO_MANY), "2026-01-01T00:00:01Z").is_empty());
        let oldest = deleted(&state(TOO_MANY + 1), "2026-01-01T00:00:01Z");
        assert_eq!(oldest.len(), TOO_MANY + 1 - KEPT);
        assert_eq!(oldest.first().unwrap(), "event-0000");
        assert!(oldest.is_sorted());
    }
}
