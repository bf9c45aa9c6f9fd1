#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn id(sequence: u64) -> FrameId {
    FrameId {
        stream: "s".parse().unwrap(),
        sequence,
    }
}

fn link(slot: usize) -> LinkId {
    LinkId { slot, attempt: 0 }
}

#[test]
fn destinations_and_their_links_take_turns() {
    let mut dispatch = Dispatch::new(100);
    for slot in 0..4 {
        dispatch.opened(link(slot), slot / 2, 8);
    }
    let now = Instant::now();
    let mut served = BTreeMap::<usize, u32>::new();
    for n in 0..40 {
        dispatch.offer(id(n), n);
        let (on, n) = dispatch.next(now).unwrap();
        *served.entry(on.slot).or_default() += 1;
        assert_eq!(dispatch.answered(on, &id(n)), Some(n));
    }
    assert_eq!(served.into_values().collect::<Vec<_>>(), [10; 4]);
}

#[test]
fn a_slow_destination_gets_less() {
    let mut dispatch = Dispatch::new(100);
    dispatch.opened(link(0), 0, 8);
    dispatch.opened(link(1), 1, 8);
    let now = Instant::now();
    for n in 0..30 {
        dispatch.offer(id(n), n);
        let (on, n) = dispatch.next(now).unwrap();
        if on.slot == 1 {
            dispatch.answered(on, &id(n));
        }
    }
    assert!(
        dispatch.in_flight() <= 2,
        "the one that never answers got {}",
        dispatch.in_flight()
    );
}

#[test]
fn only_links_that_owe_an_answer_for_too_long_are_overdue() {
    let mut dispatch = Dispatch::new(9);
    dispatch.opened(link(0), 0, 1);
    dispatch.opened(link(1), 0, 1);
    let start = Instant::now();
    dispatch.offer(id(0), ());
    let (first, ()) = dispatch.next(start).unwrap();
    let patience = Duration::from_secs(1);
    assert_eq!(dispatch.overdue(start + patience, patience), []);
    assert_eq!(dispatch.overdue(start + patience * 2, patience), [first]);
}

#[derive(Clone, Debug)]
enum Step {
    Offer,
    Open(usize),
    Send,
    Answer(prop::sample::Index),
    Retire(usize),
    Close(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slot = || 0..4_usize;
    let step = prop_oneof![
        4 => Just(Step::Offer),
        1 => slot().prop_map(Step::Open),
        4 => Just(Step::Send),
        3 => any::<prop::sample::Index>().prop_map(Step::Answer),
        1 => slot().prop_map(Step::Retire),
        1 => slot().prop_map(Step::Close),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Every parcel is in exactly one place, whatever happens; windows hold; a finished link has nothing to lose.
    #[test]
    fn no_parcel_is_lost_or_doubled(steps in steps(), capacity in 1..20_usize, window in 1..4_usize) {
        let mut dispatch = Dispatch::new(capacity);
        let now = Instant::now();
        let (mut offered, mut gone) = (0_u64, BTreeSet::new());
        let mut sent: BTreeMap<LinkId, BTreeSet<u64>> = BTreeMap::new();
        let mut attempt = 0;
        let newest = |links: &BTreeMap<LinkId, BTreeSet<u64>>, slot| links.keys().rev().find(|l| l.slot == slot).copied();
        for step in steps {
            match step {
                Step::Offer => {
                    for (_, n) in dispatch.offer(id(offered), offered) {
                        prop_assert!(gone.insert(n));
                    }
                    offered += 1;
                }
                Step::Open(slot) => {
                    attempt += 1;
                    let link = LinkId { slot, attempt };
                    dispatch.opened(link, slot % 2, window);
                    sent.insert(link, BTreeSet::new());
                }
                Step::Send => {
                    if let Some((link, n)) = dispatch.next(now) {
                        let on = sent.get_mut(&link).unwrap();
                        on.insert(n);
                        prop_assert!(on.len() <= window);
                    }
                }
                Step::Answer(which) => {
                    let all: Vec<_> = sent.iter().flat_map(|(l, ns)| ns.iter().map(|n| (*l, *n))).collect();
                    if !all.is_empty() {
                        let (link, n) = all[which.index(all.len())];
                        prop_assert_eq!(dispatch.answered(link, &id(n)), Some(n));
                        prop_assert_eq!(dispatch.answered(link, &id(n)), None);
                        prop_assert!(gone.insert(n));
                        sent.get_mut(&link).unwrap().remove(&n);
                    }
                }
                Step::Retire(slot) => {
                    if let Some(link) = newest(&sent, slot) {
                        dispatch.retire(link);
                        prop_assert_eq!(dispatch.is_finished(link), sent[&link].is_empty());
                    }
                }
                Step::Close(slot) => {
                    if let Some(link) = newest(&sent, slot) {
                        prop_assert_eq!(dispatch.closed(link), sent.remove(&link).unwrap().len());
                        prop_assert_eq!(dispatch.closed(link), 0);
                    }
                }
            }
            let under_way: usize = sent.values().map(BTreeSet::len).sum();
            prop_assert_eq!(dispatch.in_flight(), under_way);
            prop_assert_eq!(dispatch.waiting() + under_way + gone.len(), offered as usize);
        }
        // With one good link everything that is left goes out once, oldest first.
        for link in sent.into_keys() {
            dispatch.closed(link);
        }
        dispatch.opened(LinkId { slot: 9, attempt: 0 }, 0, usize::MAX);
        let rest: Vec<_> = std::iter::from_fn(|| dispatch.next(now).map(|(_, n)| n)).collect();
        prop_assert!(rest.is_sorted());
        prop_assert_eq!(rest, (0..offered).filter(|n| !gone.contains(n)).collect::<Vec<_>>());
    }
}
