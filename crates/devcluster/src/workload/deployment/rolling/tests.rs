#![allow(clippy::unwrap_used)]
//! A roll-out is played with pods that become available in random order.
use super::*;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

fn wanted(replicas: i32, max_surge: i32, max_unavailable: i32) -> Wanted {
    Wanted {
        replicas,
        max_surge,
        max_unavailable,
        rolling: true,
    }
}

fn set(name: &str, replicas: i32, available: i32) -> Set {
    Set {
        name: name.into(),
        replicas,
        available,
        pods: replicas,
        desired_then: None,
        max_then: None,
    }
}

/// The ReplicaSet controller and the kubelet: sizes follow `spec.replicas`, unavailable pods go first,
/// and one pod somewhere may become available.
fn settle(sets: &mut [Set], random: &mut StdRng) {
    for set in sets.iter_mut() {
        set.available = set.available.min(set.replicas);
        set.pods = set.replicas;
    }
    let waiting: Vec<usize> = (0..sets.len())
        .filter(|index| sets[*index].available < sets[*index].replicas)
        .collect();
    if let Some(index) = waiting.choose(random) {
        sets[*index].available += 1;
    }
}

fn apply(wanted: Wanted, sets: &mut [Set], changes: Vec<Scaling>) {
    for (name, replicas) in changes {
        let set = sets.iter_mut().find(|set| set.name == name).unwrap();
        set.replicas = replicas;
        set.desired_then = Some(wanted.replicas);
        set.max_then = Some(wanted.max_total());
    }
}

#[test]
fn a_roll_out_keeps_its_bounds_and_ends() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..500 {
        let replicas = random.random_range(0..20);
        let surge = random.random_range(0..6);
        let unavailable = random.random_range(i32::from(surge == 0)..6).min(replicas);
        let wanted = wanted(replicas, surge, unavailable);
        if replicas > 0 && surge == 0 && unavailable == 0 {
            continue;
        }
        let mut sets = vec![set("a", 0, 0), set("b", replicas, replicas), set("new", 0, 0)];
        let mut steps = 0;
        loop {
            let changes = roll(wanted, &sets[2], &sets[..2]);
            let quiet = changes.is_empty();
            apply(wanted, &mut sets, changes);
            let total: i32 = sets.iter().map(|set| set.replicas).sum();
            let available: i32 = sets.iter().map(|set| set.available.min(set.replicas)).sum();
            assert!(total <= wanted.max_total(), "{total} pods with {wanted:?}");
            assert!(
                available >= wanted.min_available(),
                "{available} available with {wanted:?}"
            );
            if quiet && sets[2].available == replicas && sets[1].replicas == 0 {
                break;
            }
            settle(&mut sets, &mut random);
            steps += 1;
            assert!(steps < 500, "does not end: {wanted:?} {sets:?}");
        }
        assert_eq!((sets[0].replicas, sets[1].replicas, sets[2].replicas), (0, 0, replicas));
    }
}

#[test]
fn scaling_during_a_roll_out_spreads_and_then_the_roll_out_ends() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..300 {
        let mut now = wanted(random.random_range(1..12), 2, 1);
        let mut sets = vec![set("old", now.replicas, now.replicas), set("new", 0, 0)];
        sets[0].desired_then = Some(now.replicas);
        sets[0].max_then = Some(now.max_total());
        let change_at = random.random_range(0..8);
        for step in 0..300 {
            if step == change_at {
                now = wanted(random.random_range(0..20), 2, 1);
            }
            let changes = if is_scaling_event(now, &sets) {
                let changes = scale(now, &sets, Some("new"), sets.iter().map(|set| set.pods).sum());
                assert!(
                    !changes.is_empty(),
                    "a scaling event must be answered: {now:?} {sets:?}"
                );
                changes
            } else {
                roll(now, &sets[1], &sets[..1])
            };
            apply(now, &mut sets, changes);
            settle(&mut sets, &mut random);
        }
        let ended = (sets[0].replicas, sets[1].replicas, sets[1].available);
        assert_eq!(ended, (0, now.replicas, now.replicas), "{now:?} {sets:?}");
    }
}

#[test]
fn recreate_waits_until_every_old_pod_is_gone() {
    let wanted = Wanted {
        replicas: 2,
        max_surge: 0,
        max_unavailable: 0,
        rolling: false,
    };
    let new = set("new", 0, 0);
    assert_eq!(roll(wanted, &new, &[set("old", 2, 2)]), [("old".to_owned(), 0)]);
    let ending = Set {
        pods: 1,
        ..set("old", 0, 0)
    };
    assert_eq!(roll(wanted, &new, &[ending]), []);
    assert_eq!(roll(wanted, &new, &[set("old", 0, 0)]), [("new".to_owned(), 2)]);
}

#[test]
fn percentages_and_the_rule_that_something_must_move() {
    let spec = |json| -> DeploymentSpec { serde_json::from_value(json).unwrap() };
    let with = |replicas: i32, surge: &str, unavailable: &str| {
        Wanted::of(&spec(
            serde_json::json!({"replicas": replicas, "selector": {}, "template": {}, "strategy":
            {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}),
        ))
    };
    assert_eq!(with(10, "25%", "25%"), wanted(10, 3, 2));
    assert_eq!(with(1, "25%", "25%"), wanted(1, 1, 0));
    assert_eq!(with(4, "0%", "0%"), wanted(4, 0, 1));
    assert_eq!(with(0, "25%", "25%"), wanted(0, 0, 0));
}
