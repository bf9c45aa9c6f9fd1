//! The life of a peer, and that no order of events breaks the table.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::PeerId;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::DomainKey;
use crate::model::{Identity, SealingKey, Statement, UnixMillis};
use crate::record::{Announcement, IpnsRecord};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);
const LOOK: Duration = Duration::from_secs(5);

fn key(tag: u8) -> DomainKey {
    DomainKey::from_secret(Zeroizing::new([tag; 32]))
}

fn name(tag: u8) -> PeerId {
    key(tag).peer_id()
}

fn says(tag: u8, description: &str, sequence: u64) -> Announcement {
    let identity = Identity::new(
        format!("Cluster {tag}").try_into().unwrap(),
        description.to_owned().try_into().unwrap(),
        "https://35.240.24.118".to_owned().try_into().unwrap(),
        vec!["computing".to_owned().try_into().unwrap()],
        SealingKey([tag; 32]),
    );
    states(tag, &Statement::Present(Box::new(identity.unwrap())), sequence)
}

fn states(tag: u8, statement: &Statement, sequence: u64) -> Announcement {
    let path = statement.to_path().unwrap();
    let record = IpnsRecord::sign(&key(tag), &path, sequence, NOW.plus(2 * DAY), LOOK).unwrap();
    Announcement::of(record, NOW).unwrap()
}

fn table(most: usize) -> PeerTable {
    let limits = Limits {
        most,
        missed_looks: 3,
        look_every: LOOK,
    };
    PeerTable::new(name(0), limits)
}

#[test]
fn a_peer_appears_changes_goes_offline_and_is_removed() {
    let (mut table, one) = (table(10), name(1));
    assert_eq!(
        table.announced(says(1, "I'm cluster 1", 1), NOW),
        Ok(vec![Change::Appeared(one)])
    );
    assert_eq!(table.get(&one).unwrap().presence(), Presence::Unproven);
    assert_eq!(table.reached(&one, NOW), Some(Change::Online(one)));
    assert_eq!(table.reached(&one, NOW), None);
    assert_eq!(
        table.announced(says(1, "but updated", 2), NOW),
        Ok(vec![Change::Updated(one)])
    );
    assert_eq!(
        table.get(&one).unwrap().identity().description().as_str(),
        "but updated"
    );
    assert_eq!(
        table.announced(says(1, "but updated", 3), NOW),
        Ok(vec![]),
        "signed anew, and says the same"
    );
    assert_eq!(table.missed(&one, NOW), Some(Change::Missed(one, 1)));
    assert_eq!(table.missed(&one, NOW), Some(Change::Missed(one, 2)));
    assert_eq!(table.get(&one).unwrap().presence(), Presence::Offline { missed: 2 });
    assert_eq!(table.reached(&one, NOW), Some(Change::Online(one)));
    assert_eq!(
        table.missed(&one, NOW),
        Some(Change::Missed(one, 1)),
        "the counter begins anew"
    );
    table.missed(&one, NOW);
    assert_eq!(table.missed(&one, NOW), Some(Change::Removed(one, Removal::Missing)));
    assert!(table.is_empty());
    assert_eq!(table.missed(&one, NOW), None);
}

#[test]
fn who_was_missing_comes_back_when_reached_and_not_because_an_old_record_is_still_served() {
    let (mut table, one) = (table(10), name(1));
    table.announced(says(1, "a", 5), NOW).unwrap();
    while table.missed(&one, NOW) != Some(Change::Removed(one, Removal::Missing)) {}
    assert_eq!(table.announced(says(1, "a", 5), NOW), Err(Refusal::Gone));
    assert_eq!(table.reached(&one, NOW), Some(Change::Appeared(one)));
    assert_eq!(table.get(&one).unwrap().presence(), Presence::Online);
}

#[test]
fn who_withdrew_is_removed_at_once_and_comes_back_only_with_a_newer_record() {
    let (mut table, one) = (table(10), name(1));
    table.announced(says(1, "a", 5), NOW).unwrap();
    table.reached(&one, NOW);
    let gone = table.announced(states(1, &Statement::Withdrawn, 6), NOW);
    assert_eq!(gone, Ok(vec![Change::Removed(one, Removal::Withdrawn)]));
    assert_eq!(table.announced(says(1, "a", 5), NOW), Err(Refusal::Gone));
    assert_eq!(
        table.reached(&one, NOW),
        None,
        "it is still connected, but wants to be no peer"
    );
    assert_eq!(table.announced(says(1, "a", 7), NOW), Ok(vec![Change::Appeared(one)]));
    // A withdrawal of somebody who was never there is remembered all the same.
    assert_eq!(table.announced(states(2, &Statement::Withdrawn, 6), NOW), Ok(vec![]));
    assert_eq!(table.announced(says(2, "a", 5), NOW), Err(Refusal::Gone));
}

#[test]
fn an_older_record_changes_nothing() {
    let mut table = table(10);
    table.announced(says(1, "new", 5), NOW).unwrap();
    assert_eq!(table.announced(says(1, "old", 4), NOW), Err(Refusal::NotNewer));
    assert_eq!(table.announced(says(1, "new", 5), NOW), Err(Refusal::NotNewer));
    assert_eq!(table.get(&name(1)).unwrap().identity().description().as_str(), "new");
    assert_eq!(table.announced(says(0, "me", 1), NOW), Err(Refusal::Own));
}

#[test]
fn a_record_that_ends_takes_its_peer_with_it_and_frees_what_was_remembered() {
    let mut table = table(10);
    table.announced(says(1, "a", 5), NOW).unwrap();
    table.announced(states(2, &Statement::Withdrawn, 6), NOW).unwrap();
    let end = NOW.plus(2 * DAY);
    assert_eq!(table.passed(end), vec![]);
    let after = end.plus(Duration::from_millis(1));
    assert_eq!(table.passed(after), vec![Change::Removed(name(1), Removal::Expired)]);
    assert!(table.gone_is_empty());
}

#[test]
fn a_flood_of_names_pushes_out_its_own_kind_only() {
    let mut table = table(3);
    for tag in [1, 2] {
        table.announced(says(tag, "real", 1), NOW).unwrap();
        table.reached(&name(tag), NOW);
    }
    table.announced(says(3, "made up", 1), NOW).unwrap();
    for tag in 4..60 {
        let changes = table.announced(says(tag, "made up", 1), NOW).unwrap();
        let expected = [
            Change::Removed(name(tag - 1), Removal::Room),
            Change::Appeared(name(tag)),
        ];
        assert_eq!(changes, expected);
    }
    assert!(table.get(&name(1)).is_some() && table.get(&name(2)).is_some());
    table.reached(&name(59), NOW);
    assert_eq!(table.announced(says(60, "one more", 1), NOW), Err(Refusal::Full));
}

#[test]
fn looks_are_due_at_their_interval_and_after_the_clock_was_set_back() {
    let mut table = table(10);
    table.announced(says(1, "a", 1), NOW).unwrap();
    assert_eq!(table.due(NOW), vec![name(1)]);
    table.missed(&name(1), NOW);
    assert_eq!(table.due(NOW.plus(LOOK / 2)), vec![]);
    assert_eq!(table.due(NOW.plus(LOOK)), vec![name(1)]);
    assert_eq!(table.due(NOW.minus(LOOK)), vec![name(1)]);
}

#[derive(Debug, Clone)]
enum Event {
    Announced(u8, u64, bool),
    Reached(u8),
    Missed(u8),
    Passed(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..6_u8, 0..6_u64, prop::bool::weighted(0.8))
            .prop_map(|(tag, number, there)| Event::Announced(tag, number, there)),
        (0..6_u8).prop_map(Event::Reached),
        (0..6_u8).prop_map(Event::Missed),
        (0..200_000_u64).prop_map(Event::Passed),
    ]
}

proptest! {
    /// Whoever hears of the changes alone knows who is in the table: that is what Kubernetes objects are made of.
    #[test]
    fn the_changes_tell_all(events in prop::collection::vec(any_event(), 0..80)) {
        let (mut table, mut now, mut told) = (table(4), NOW, BTreeMap::new());
        for event in events {
            let changes = match event {
                Event::Announced(tag, number, there) => {
                    let said = if there { says(tag, &number.to_string(), number) } else { states(tag, &Statement::Withdrawn, number) };
                    table.announced(said, now).unwrap_or_default()
                }
                Event::Reached(tag) => table.reached(&name(tag), now).into_iter().collect(),
                Event::Missed(tag) => table.missed(&name(tag), now).into_iter().collect(),
                Event::Passed(seconds) => {
                    now = now.plus(Duration::from_secs(seconds));
                    table.passed(now)
                }
            };
            for change in changes {
                match change {
                    Change::Appeared(name) => prop_assert!(told.insert(name, 0).is_none()),
                    Change::Updated(name) => prop_assert!(told.contains_key(&name)),
                    Change::Online(name) => prop_assert!(told.insert(name, 0).is_some()),
                    Change::Missed(name, missed) => prop_assert_eq!(told.insert(name, missed), Some(missed - 1)),
                    Change::Removed(name, _) => prop_assert!(told.remove(&name).is_some()),
                }
            }
            let held: Vec<_> = table.iter().map(|(name, peer)| match peer.presence() {
                Presence::Offline { missed } => (*name, missed),
                Presence::Online | Presence::Unproven => (*name, 0),
            }).collect();
            prop_assert_eq!(held, told.clone().into_iter().collect::<Vec<_>>());
            prop_assert!(table.len() <= 4 && table.get(&name(0)).is_none());
        }
    }
}
