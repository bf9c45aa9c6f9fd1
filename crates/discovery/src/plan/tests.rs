//! Who speaks where, and which Peers there are, as functions.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{Identity, SwarmPool};
use crate::swarms::{Entry, EntryKey, SwarmId};

fn identity(name: &str, age: u32, swarms: &[&str]) -> Arc<Identity> {
    let swarms: Vec<_> = swarms
        .iter()
        .map(|swarm| json!({"swarmPool": "pool", "swarm": swarm}))
        .collect();
    let object = json!({
        "apiVersion": "peerdiscovery.irt-saintexupery.com/v1alpha1", "kind": "Identity",
        "metadata": {"name": name, "namespace": "n", "uid": name, "creationTimestamp": format!("2026-01-01T00:{:02}:00Z", 59 - age % 60)},
        "spec": {"swarms": swarms, "name": name, "URL": "https://192.0.2.7"},
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn pool(name: &str, swarms: &[&str]) -> Arc<SwarmPool> {
    let swarms: Vec<_> = swarms.iter().map(|name| json!({"name": name})).collect();
    let object = json!({
        "apiVersion": "peerdiscovery.irt-saintexupery.com/v1alpha1", "kind": "SwarmPool",
        "metadata": {"name": name, "namespace": "n", "uid": name}, "spec": {"swarms": swarms},
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A pool whose swarms are those given: names and what runs for them.
fn entries(swarms: &[(&str, Option<&str>)]) -> BTreeMap<EntryKey, Entry> {
    let entry = |(swarm, runs): &(&str, Option<&str>)| {
        let key = EntryKey {
            namespace: "n".into(),
            pool: "pool".into(),
            swarm: (*swarm).to_owned(),
        };
        let entry = runs.map_or_else(
            || Entry::Waiting("its key is malformed".into()),
            |id| Entry::Running(SwarmId::named(id)),
        );
        (key, entry)
    };
    swarms.iter().map(entry).collect()
}

#[test]
fn the_oldest_speaks_and_the_others_are_told_who_does() {
    let identities = [identity("young", 1, &["a", "b"]), identity("old", 30, &["a"])];
    let plan = publications(
        &identities,
        &[pool("pool", &["a", "b"])],
        &entries(&[("a", Some("1")), ("b", Some("2"))]),
    );
    assert_eq!(plan.claims[&SwarmId::named("1")].owner.name, "old");
    assert_eq!(plan.claims[&SwarmId::named("2")].owner.name, "young");
    let targets = &plan.targets[&Owner::of(&identities[0])];
    let hindrance = targets[0].hindrance.as_ref().unwrap();
    assert!(hindrance.reason() == "Conflict" && hindrance.message().contains("n/old"));
    assert_eq!(targets[1].hindrance, None);
}

#[test]
fn who_names_one_swarm_twice_speaks_once() {
    let identities = [identity("me", 1, &["a", "b"])];
    let plan = publications(
        &identities,
        &[pool("pool", &["a", "b"])],
        &entries(&[("a", Some("1")), ("b", Some("1"))]),
    );
    let targets = &plan.targets[&Owner::of(&identities[0])];
    assert_eq!(targets[0].hindrance, None);
    assert_eq!(targets[1].hindrance.as_ref().unwrap().reason(), "Repeated");
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let identities = [identity("me", 1, &["x", "a"])];
    let plan = publications(&identities, &[pool("pool", &["a", "b"])], &entries(&[("a", None)]));
    let targets = &plan.targets[&Owner::of(&identities[0])];
    let hindrances: Vec<_> = targets
        .iter()
        .map(|target| target.hindrance.as_ref().unwrap())
        .collect();
    assert!(hindrances[0].reason() == "SwarmNotFound" && hindrances[0].message().ends_with("it has: a, b"));
    assert!(hindrances[1].reason() == "SwarmNotReady" && hindrances[1].message().contains("malformed"));
    assert!(plan.unsettled.contains("n"), "nobody knows yet who is there");
    let plan = publications(&identities, &[pool("other", &["a"])], &BTreeMap::new());
    let hindrance = plan.targets[&Owner::of(&identities[0])][0].hindrance.clone().unwrap();
    assert!(
        hindrance.reason() == "PoolNotFound" && hindrance.message().ends_with("there is: other"),
        "{hindrance:?}"
    );
}

proptest! {
    /// Whatever Identities there are: each running swarm that is named has one that speaks, it is the oldest, and the order in which
    /// they are listed does not matter.
    #[test]
    fn each_swarm_that_is_named_has_one_who_speaks(
        named in prop::collection::vec((0_u32..60, prop::collection::btree_set(0_usize..4, 1..4)), 0..8),
        turn in 0_usize..8,
    ) {
        let swarms = ["a", "b", "c", "d"];
        let mut identities: Vec<_> = named.iter().enumerate().map(|(index, (age, targets))| {
            let targets: Vec<&str> = targets.iter().map(|target| swarms[*target]).collect();
            identity(&format!("i{index}"), *age, &targets)
        }).collect();
        let running = entries(&[("a", Some("1")), ("b", Some("2")), ("c", Some("1")), ("d", Some("3"))]);
        let pools = [pool("pool", &swarms)];
        let plan = publications(&identities, &pools, &running);
        for (key, entry) in &running {
            let Entry::Running(id) = entry else { continue };
            let oldest = |id: &SwarmId| {
                let names = |identity: &&Arc<Identity>| identity.spec.swarms.iter().any(|target| {
                    running.iter().any(|(key, entry)| key.swarm == target.swarm && *entry == Entry::Running(id.clone()))
                });
                identities.iter().filter(names).map(|identity| identity.metadata.creation_timestamp.clone().unwrap().0).min()
            };
            let speaks = plan.claims.get(id).map(|claim| claim.identity.metadata.creation_timestamp.clone().unwrap().0);
            prop_assert_eq!(speaks, oldest(id), "{}", key);
        }
        let len = identities.len().max(1);
        identities.rotate_left(turn % len.max(1));
        let turned = publications(&identities, &pools, &running);
        let owners = |plan: &PublicationPlan| plan.claims.iter().map(|(id, claim)| (id.clone(), claim.owner.clone())).collect::<Vec<_>>();
        prop_assert_eq!(owners(&plan), owners(&turned));
    }
}
