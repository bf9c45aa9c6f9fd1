//! Promises that hold for swarms of many: every record reaches all, and nothing grows without bound.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use rand::Rng;

use super::world::{BEGIN, World};
use super::*;
use crate::model::{Statement, UnixMillis};
use crate::peers::{Limits, Presence};

const MINUTE: Duration = Duration::from_secs(60);

/// A seed of its own for each run; printed, so that a failure can be repeated.
fn conditions(loss: f64) -> Conditions {
    let seed = rand::rng().random();
    println!("seed {seed}");
    Conditions {
        loss,
        ..Conditions::internet(seed)
    }
}

/// A swarm whose domains know nothing but the first one, and each say something.
fn swarm(domains: usize, conditions: Conditions) -> World {
    let mut world = World::new(domains, Limits::default(), conditions);
    for index in 0..domains {
        world.start(index, (index > 0).then_some(0));
        let statement = world.present(index, "first");
        world.publish(index, &statement, 1);
    }
    world
}

fn all_know_all(world: &World) -> bool {
    let up: Vec<_> = (0..world.domains.len()).filter(|it| world.domains[*it].up).collect();
    up.iter()
        .all(|index| up.iter().all(|author| index == author || world.knows(*index, *author)))
}

fn sees(world: &World, index: usize, other: usize) -> Option<Presence> {
    let name = world.domains[other].name;
    world.domains[index].member.table.get(&name).map(|peer| peer.presence())
}

/// What is bounded by construction, and stays so.
fn assert_bounded(world: &World) {
    for domain in &world.domains {
        let table = &domain.member.table;
        let most = table.limits().most;
        assert!(table.len() <= most && table.gone() <= most);
    }
}

fn in_time(world: &mut World, within: Duration, what: &str, done: impl FnMut(&World) -> bool) {
    let end = world.now.plus(within);
    assert!(world.run(end, done), "not within {within:?}: {what}");
    assert_bounded(world);
}

#[test]
fn domains_that_know_one_another_know_all_though_messages_are_lost() {
    for domains in [5, 90] {
        let mut world = swarm(domains, conditions(0.05));
        in_time(&mut world, 5 * MINUTE, "all know all", all_know_all);
        let statement = world.present(3, "second");
        world.publish(3, &statement, 2);
        in_time(&mut world, 2 * MINUTE, "the update is with all", |world| {
            (0..domains).all(|index| index == 3 || world.knows(index, 3))
        });
        world.publish(3, &Statement::Withdrawn, 3);
        in_time(&mut world, 2 * MINUTE, "nobody has the one that withdrew", |world| {
            (0..domains).all(|index| sees(world, index, 3).is_none())
        });
    }
}

#[test]
fn who_is_killed_is_offline_then_removed_and_back_when_it_starts_again() {
    for (domains, offline_within) in [(10, 10), (80, 20)] {
        let mut world = swarm(domains, conditions(0.0));
        in_time(&mut world, 5 * MINUTE, "all know all", all_know_all);
        in_time(&mut world, 5 * MINUTE, "all are online", |world| {
            (1..domains).all(|index| {
                sees(world, index, 0) == Some(Presence::Online)
                    && sees(world, 1, index).is_none_or(|it| it == Presence::Online)
            })
        });
        let killed = domains / 2;
        world.kill(killed);
        let others = || (0..domains).filter(move |index| *index != killed);
        in_time(
            &mut world,
            Duration::from_secs(offline_within),
            "all see it offline",
            |world| others().all(|index| matches!(sees(world, index, killed), Some(Presence::Offline { .. }))),
        );
        in_time(&mut world, 2 * MINUTE, "it is removed", |world| {
            others().all(|index| sees(world, index, killed).is_none())
        });
        world.start(killed, Some(0));
        in_time(&mut world, 3 * MINUTE, "it is back", |world| {
            others().all(|index| sees(world, index, killed) == Some(Presence::Online)) && all_know_all(world)
        });
    }
}

#[test]
fn a_swarm_that_was_split_until_its_halves_forgot_each_other_grows_together_again() {
    let domains = 80;
    let mut world = swarm(domains, conditions(0.01));
    in_time(&mut world, 5 * MINUTE, "all know all", all_know_all);
    for index in 0..domains {
        world.put_on_side(index, u8::from(index % 2 == 1));
    }
    in_time(&mut world, 10 * MINUTE, "the halves forget each other", |world| {
        sees(world, 0, 1).is_none() && sees(world, 1, 0).is_none() && sees(world, 2, 3).is_none()
    });
    // Meanwhile some say something else.
    for index in [0, 1, 40, 41] {
        let statement = world.present(index, "said while the swarm was split");
        world.publish(index, &statement, 2);
    }
    for index in 0..domains {
        world.put_on_side(index, 0);
    }
    in_time(&mut world, 10 * MINUTE, "all know all again", all_know_all);
    in_time(&mut world, 10 * MINUTE, "and see each other", |world| {
        (1..domains)
            .all(|index| sees(world, 0, index) == Some(Presence::Online) && sees(world, index, index - 1).is_some())
    });
}

#[test]
fn in_a_swarm_where_members_come_and_go_all_the_time_every_record_reaches_all() {
    let domains = 80;
    let mut world = swarm(domains, conditions(0.02));
    in_time(&mut world, 5 * MINUTE, "all know all", all_know_all);
    for round in 0..10_u64 {
        // The first goes too: nobody is special.
        let index = usize::try_from(round).unwrap() * 7 % domains;
        world.kill(index);
        let author = (index + 1) % domains;
        let statement = world.present(author, &format!("round {round}"));
        world.publish(author, &statement, 2 + round);
        let end = world.now.plus(Duration::from_secs(20));
        world.run(end, |_| false);
        world.start(index, Some((index + 5) % domains));
    }
    in_time(&mut world, 5 * MINUTE, "all know all", all_know_all);
}

#[test]
fn a_flood_of_made_up_domains_stays_in_bounds_and_pushes_out_nobody_who_is_there() {
    let (domains, made_up) = (12, 3);
    let limits = Limits {
        most: 40,
        ..Limits::default()
    };
    // The last three each put a new key in their place again and again, as fast as they can: they know the swarm's key.
    let mut world = World::new(domains + 200, limits, conditions(0.0));
    for index in 0..domains {
        world.start(index, (index > 0).then_some(0));
        let statement = world.present(index, "real");
        world.publish(index, &statement, 1);
    }
    in_time(&mut world, MINUTE, "all know all", all_know_all);
    in_time(&mut world, MINUTE, "all are online", |world| {
        (0..domains).all(|index| {
            (0..domains).all(|other| index == other || sees(world, index, other) == Some(Presence::Online))
        })
    });
    for index in domains..domains + 200 {
        world.start(index, Some(index % made_up));
        let statement = world.present(index, "made up");
        world.publish(index, &statement, 1);
        let end = world.now.plus(Duration::from_secs(2));
        world.run(end, |_| false);
        assert_bounded(&world);
        world.kill(index);
    }
    let end = world.now.plus(2 * MINUTE);
    world.run(end, |_| false);
    for index in 0..domains {
        for other in (0..domains).filter(|other| *other != index) {
            assert_eq!(
                sees(&world, index, other),
                Some(Presence::Online),
                "{index} sees {other}"
            );
        }
    }
}

#[test]
fn a_record_costs_each_domain_the_same_number_of_messages_however_many_there_are() {
    let conditions = conditions(0.0);
    let (few, many) = (spread(100, 5, conditions), spread(1000, 3, conditions));
    assert_eq!((few.lost, many.lost), (0, 0));
    assert!(
        few.messages_per_domain <= 12.0 && many.messages_per_domain <= 12.0,
        "{few:?} {many:?}"
    );
    assert!(many.hops_p99 <= few.hops_p99 + 4, "{few:?} {many:?}");
    assert_eq!(spread(100, 5, conditions), few, "the same seed gives the same figures");
}

#[test]
fn lookups_grow_with_the_logarithm_of_the_swarm() {
    let conditions = conditions(0.0);
    let (few, many) = (look_up(100, 100, conditions), look_up(3000, 100, conditions));
    assert_eq!((few.failed, many.failed), (0, 0));
    // Thirty times as many domains: five doublings.
    assert!(
        many.hops_p99 <= few.hops_p99 + 5 && many.asked_p99 <= 40,
        "{few:?} {many:?}"
    );
}

#[test]
fn time_passes_only_when_something_happens() {
    let mut world = World::new(1, Limits::default(), conditions(0.0));
    world.start(0, None);
    assert!(!world.run(BEGIN.plus(MINUTE), |_| false));
    assert_eq!(world.now, UnixMillis(BEGIN.0 + 60_000));
}
