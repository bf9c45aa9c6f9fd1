//! What a member says and does.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use libp2p::PeerId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use super::known::Known;
use super::*;
use crate::DomainKey;
use crate::model::{Identity, SealingKey, Statement, UnixMillis};
use crate::network::{Entry, RecordsAnswer, RecordsQuestion};
use crate::peers::{Change, Limits, PeerTable, Presence};
use crate::record::{Announcement, IpnsRecord};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn key(tag: u8) -> DomainKey {
    DomainKey::from_secret(Zeroizing::new([tag; 32]))
}

fn record(tag: u8, sequence: u64) -> IpnsRecord {
    let identity = Identity::new(
        format!("Cluster {tag}").try_into().unwrap(),
        sequence.to_string().try_into().unwrap(),
        "https://35.240.24.118".to_owned().try_into().unwrap(),
        Vec::new(),
        SealingKey([tag; 32]),
    );
    let path = Statement::Present(Box::new(identity.unwrap())).to_path().unwrap();
    IpnsRecord::sign(&key(tag), &path, sequence, NOW.plus(DAY), DAY).unwrap()
}

fn table(own: u8, records: &[IpnsRecord]) -> PeerTable {
    let mut table = PeerTable::new(key(own).peer_id(), Limits::default());
    for record in records {
        table
            .announced(Announcement::of(record.clone(), NOW).unwrap(), NOW)
            .unwrap();
    }
    table
}

fn member(own: u8, records: &[IpnsRecord]) -> Member {
    let mut member = Member::new(table(own, records), Duration::from_secs(30), StdRng::seed_from_u64(7));
    member.review();
    member
}

fn told(records: &[&IpnsRecord]) -> RecordsQuestion {
    RecordsQuestion {
        told: records.iter().map(|it| Entry::new(&it.name(), it.bytes())).collect(),
        ..RecordsQuestion::default()
    }
}

fn compares(known: &Known<'_>) -> RecordsQuestion {
    RecordsQuestion {
        after: Some(Vec::new()),
        digest: known.digests(),
        ..RecordsQuestion::default()
    }
}

#[test]
fn members_that_know_the_same_have_the_same_digests_whoever_they_are() {
    let (a, b, c) = (record(1, 1), record(2, 1), record(3, 1));
    let (one, two) = (table(0, &[a.clone(), b.clone()]), table(0, &[c.clone(), a.clone()]));
    let digests = Known::new(&one, Some(&c)).digests();
    assert!(Known::new(&two, Some(&b)).differing(&digests).is_nothing());
    assert!(!Known::new(&two, None).differing(&digests).is_nothing());
    assert!(!Known::new(&two, Some(&record(2, 2))).differing(&digests).is_nothing());
    for nonsense in [vec![], vec![0; 15], vec![0; 16 * 3], vec![0; 16 * 2048]] {
        assert!(!Known::new(&one, Some(&c)).differing(&nonsense).is_nothing());
    }
}

#[test]
fn pages_one_after_another_are_everything_once() {
    let records: Vec<_> = (1..=40).map(|tag| record(tag, 1)).collect();
    let (table, own) = (table(0, &records), record(0, 9));
    let known = Known::new(&table, Some(&own));
    let all = known.differing(&[]);
    let (mut after, mut seen) = (Vec::new(), Vec::new());
    loop {
        let (page, more) = known.page(&after, &all, 6);
        assert!(page.len() == 6 || !more);
        after = page.last().unwrap().0.to_bytes();
        seen.extend(page.into_iter().map(|(name, _)| name));
        if !more {
            break;
        }
    }
    let mut names: Vec<_> = records.iter().chain([&own]).map(IpnsRecord::name).collect();
    names.sort_by_key(|name| name.to_bytes());
    assert_eq!(seen, names);
    assert_eq!(known.page(b"\xff", &all, 6), (Vec::new(), false));
}

#[test]
fn one_missing_record_of_many_does_not_move_all_of_them() {
    let records: Vec<_> = (1..=200).map(|tag| record(tag, 1)).collect();
    let (all, but_one) = (table(0, &records), table(0, &records[1..]));
    let (all, but_one) = (Known::new(&all, None), Known::new(&but_one, None));
    let (page, more) = all.page(b"", &all.differing(&but_one.digests()), 1000);
    assert!(page.iter().any(|(name, _)| *name == records[0].name()) && !more);
    assert!(page.len() < 40, "{} records move", page.len());
}

#[test]
fn what_is_new_is_told_on_once_and_not_to_its_teller() {
    let mut member = member(0, &[record(1, 1), record(2, 1)]);
    let teller = key(1).peer_id();
    for tag in [1, 2] {
        member.connected(key(tag).peer_id(), None, NOW);
    }
    let question = told(&[&record(3, 1)]);
    let (_, effects) = member.asked(teller, question.clone(), None, NOW);
    let three = key(3).peer_id();
    assert_eq!(
        effects,
        vec![
            Effect::Changed(Change::Appeared(three)),
            Effect::Tell(question.clone(), Some(teller))
        ]
    );
    member.review();
    assert_eq!(
        member.audience(Some(teller)),
        vec![key(2).peer_id()],
        "only who is connected"
    );
    let (_, effects) = member.asked(teller, question, None, NOW);
    assert_eq!(effects, vec![], "it is known");
    let mut forged = record(4, 1).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let entry = Entry::new(&key(4).peer_id(), &forged);
    let (_, effects) = member.asked(
        teller,
        RecordsQuestion {
            told: vec![entry],
            ..Default::default()
        },
        None,
        NOW,
    );
    assert_eq!(effects, vec![]);
}

#[test]
fn who_differs_is_answered_with_what_it_lacks_and_asked_back_once() {
    let mut has = member(0, &[record(1, 1)]);
    let lacks = table(2, &[]);
    let asker = key(2).peer_id();
    let mut question = compares(&Known::new(&lacks, None));
    let (answer, effects) = has.asked(asker, question.clone(), None, NOW);
    assert_eq!(
        answer.entries,
        vec![Entry::new(&key(1).peer_id(), record(1, 1).bytes())]
    );
    assert!(matches!(effects.as_slice(), [Effect::Ask(peer, back)] if *peer == asker && back.back));
    question.back = true;
    let (_, effects) = has.asked(asker, question, None, NOW);
    assert_eq!(effects, vec![], "else two would ask each other for ever");
}

#[test]
fn pages_end_even_if_the_other_always_has_more() {
    let mut member = member(0, &[]);
    let mut asked = 0;
    let mut answer = |tags: &[u8]| {
        let answer = RecordsAnswer {
            entries: tags
                .iter()
                .map(|tag| told(&[&record(*tag, 1)]).told.remove(0))
                .collect(),
            more: true,
        };
        let effects = member.answered(key(9).peer_id(), answer, None, NOW);
        asked += effects.iter().filter(|it| matches!(it, Effect::Ask(..))).count();
    };
    for _ in 0..5 {
        answer(&[1]);
    }
    answer(&[]);
    // The same page again is not followed by another one: every second answer begins anew.
    assert!(asked <= 3, "{asked}");
}

#[test]
fn a_neighbours_word_makes_one_look_and_nothing_else() {
    let many: Vec<_> = (1..=100).map(|tag| record(tag, 1)).collect();
    let mut member = member(0, &many);
    for tag in 1..=100 {
        member.reached(key(tag).peer_id(), NOW);
    }
    let of = |tag: u8| key(tag).peer_id();
    let (looks, _) = member.looks(NOW, 32);
    assert_eq!(looks, vec![], "everybody was looked at just now");
    let stranger = (1..=100).map(of).find(|name| !member.neighbours().wants(name)).unwrap();
    let word = RecordsQuestion {
        look: vec![stranger.to_bytes(), PeerId::random().to_bytes(), vec![1, 2]],
        ..Default::default()
    };
    let (_, effects) = member.asked(of(1), word.clone(), None, NOW);
    assert_eq!(effects, vec![], "nobody's word is passed on");
    assert_eq!(
        member.table.get(&stranger).unwrap().presence(),
        Presence::Online,
        "nor believed"
    );
    let soon = NOW.plus(Duration::from_secs(2));
    let (looks, _) = member.looks(soon, 32);
    assert_eq!(looks, vec![stranger]);
    // It did not answer: now one says so oneself.
    let effects = member.missed(stranger, soon);
    let look = RecordsQuestion {
        look: vec![stranger.to_bytes()],
        ..Default::default()
    };
    assert_eq!(
        effects,
        vec![
            Effect::Changed(Change::Missed(stranger, 1)),
            Effect::Tell(look, Some(stranger))
        ]
    );
}

#[test]
fn who_is_missing_here_is_looked_at_again_when_a_neighbour_knows_it() {
    let mut member = member(0, &[record(1, 1)]);
    let one = key(1).peer_id();
    while member.missed(one, NOW) != vec![Effect::Changed(Change::Removed(one, crate::peers::Removal::Missing))] {}
    assert_eq!(member.looks(NOW, 32).0, vec![]);
    member.asked(key(2).peer_id(), told(&[&record(1, 1)]), None, NOW);
    assert_eq!(member.looks(NOW, 32).0, vec![one]);
    assert_eq!(member.reached(one, NOW), vec![Effect::Changed(Change::Appeared(one))]);
    // And if nobody knows it: now and then all the same, for the swarm may have been split.
    while member.missed(one, NOW) != vec![Effect::Changed(Change::Removed(one, crate::peers::Removal::Missing))] {}
    assert_eq!(member.looks(NOW.plus(Duration::from_secs(61)), 32).0, vec![one]);
}

#[test]
fn in_a_full_mesh_a_closed_connection_is_looked_after_at_once() {
    let mut member = member(0, &[record(1, 1)]);
    let one = key(1).peer_id();
    member.connected(one, None, NOW);
    member.disconnected(one, NOW);
    assert_eq!(member.looks(NOW, 32).0, vec![one]);
}
