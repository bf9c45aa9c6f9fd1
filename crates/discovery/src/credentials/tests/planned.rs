//! What is done when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hanse_swarm::PeerId;
use hanse_swarm::model::{SealingKey, UnixMillis};
use proptest::prelude::*;

use super::super::names;
use super::super::plan::{
    Action, Cluster, Delivered, Issued, Key, Memory, Plan, Published, SeenPeer, Server, Wanted, pause, plan, wanted,
};
use super::super::policy::{Grant, Policy, Rule, To};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const SERVER: Server<'_> = Server {
    url: "https://192.0.2.1",
    authority: "",
};

fn seen(name: PeerId, key: u8) -> SeenPeer {
    SeenPeer {
        name,
        categories: Vec::new(),
        sealing_key: SealingKey([key; 32]),
        may_answer: true,
    }
}

fn published(peers: &[SeenPeer]) -> Vec<Published> {
    vec![Published {
        namespace: "ns".into(),
        identity: "me".into(),
        uid: "uid-1".into(),
        swarm: "0123456789ab".into(),
        peers: peers.to_vec(),
    }]
}

/// What there is in the cluster when a plan was carried out and every peer took what it got.
fn carried_out(plan: &Plan, mut cluster: Cluster, now: UnixMillis, life: Duration) -> Cluster {
    for action in &plan.actions {
        match action {
            Action::Revoke(key) => drop(cluster.issued.remove(key)),
            Action::RemoveAccount { namespace, name } => {
                drop(cluster.accounts.remove(&(namespace.clone(), name.clone())));
            }
            Action::MakeAccount(account) => {
                let place = (account.namespace.clone(), account.name.clone());
                cluster.accounts.insert(place, account.digest());
            }
            Action::Issue { key, wanted } => {
                let issued = Issued {
                    identity_uid: wanted.account.uid.clone(),
                    digest: wanted.digest.clone(),
                    delivered: Some(Delivered {
                        at: now,
                        ends: now.plus(life),
                    }),
                };
                cluster.issued.insert(key.clone(), issued);
            }
        }
    }
    cluster
}

struct World {
    policy: Policy,
    published: Vec<Published>,
    agreements: BTreeSet<PeerId>,
}

impl World {
    fn wanted(&self) -> BTreeMap<Key, Wanted> {
        wanted(&self.policy, &self.published, &self.agreements, &SERVER)
    }

    fn plan(&self, cluster: &Cluster, now: UnixMillis) -> Plan {
        plan(
            &self.policy,
            &self.published,
            &self.wanted(),
            cluster,
            &Memory::default(),
            now,
        )
    }

    /// Everything is done.
    fn settled(&self, mut cluster: Cluster) -> Cluster {
        for _ in 0..3 {
            cluster = carried_out(&self.plan(&cluster, NOW), cluster, NOW, self.policy.life());
        }
        assert_eq!(self.plan(&cluster, NOW).actions, [], "nothing is left to do");
        cluster
    }
}

fn world(peers: &[SeenPeer]) -> World {
    World {
        policy: Policy::default(),
        published: published(peers),
        agreements: BTreeSet::new(),
    }
}

#[test]
fn the_account_is_made_with_the_identity_and_has_its_name() {
    let world = world(&[]);
    let plan = world.plan(&Cluster::default(), NOW);
    let [Action::MakeAccount(account)] = plan.actions.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!((account.namespace.as_str(), account.name.as_str()), ("ns", "me"));
}

#[test]
fn a_credential_is_issued_once_and_renewed_at_two_thirds_of_its_life() {
    let world = world(&[seen(PeerId::random(), 1)]);
    let cluster = world.settled(Cluster::default());
    let two_thirds = NOW.plus(Duration::from_secs(2400));
    let quiet = world.plan(&cluster, two_thirds.minus(Duration::from_secs(1)));
    assert_eq!(quiet.actions, []);
    assert_eq!(quiet.look_again, Some(two_thirds));
    let due = world.plan(&cluster, two_thirds);
    assert!(matches!(due.actions.as_slice(), [Action::Issue { .. }]), "{due:?}");
    // Whose clock was set back can't tell.
    let back = world.plan(&cluster, NOW.minus(Duration::from_secs(5)));
    assert!(matches!(back.actions.as_slice(), [Action::Issue { .. }]), "{back:?}");
}

#[test]
fn a_server_that_gives_shorter_lives_is_asked_earlier() {
    let world = world(&[seen(PeerId::random(), 1)]);
    let first = world.plan(&Cluster::default(), NOW);
    let cluster = carried_out(&first, Cluster::default(), NOW, Duration::from_secs(60));
    assert_eq!(
        world.plan(&cluster, NOW).look_again,
        Some(NOW.plus(Duration::from_secs(40)))
    );
}

#[test]
fn what_was_prepared_and_not_confirmed_is_delivered_again() {
    let world = world(&[seen(PeerId::random(), 1)]);
    let mut cluster = world.settled(Cluster::default());
    cluster.issued.values_mut().for_each(|issued| issued.delivered = None);
    let plan = world.plan(&cluster, NOW);
    assert!(matches!(plan.actions.as_slice(), [Action::Issue { .. }]), "{plan:?}");
}

#[test]
fn a_peer_that_is_gone_loses_its_credential_and_others_keep_theirs() {
    let (stays, goes) = (seen(PeerId::random(), 1), seen(PeerId::random(), 2));
    let mut world = world(&[stays.clone(), goes.clone()]);
    let cluster = world.settled(Cluster::default());
    world.published[0].peers = vec![stays];
    let plan = world.plan(&cluster, NOW);
    let [Action::Revoke(key)] = plan.actions.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!(key.peer, goes.name);
}

#[test]
fn without_the_identity_everything_goes() {
    let mut world = world(&[seen(PeerId::random(), 1), seen(PeerId::random(), 2)]);
    let cluster = world.settled(Cluster::default());
    world.published.clear();
    let after = world.settled(cluster);
    assert!(after.issued.is_empty() && after.accounts.is_empty());
}

#[test]
fn an_identity_of_the_same_name_made_anew_inherits_nothing() {
    let mut world = world(&[seen(PeerId::random(), 1)]);
    let cluster = world.settled(Cluster::default());
    world.published[0].uid = "uid-2".into();
    let plan = world.plan(&cluster, NOW);
    assert!(
        matches!(
            plan.actions.as_slice(),
            [Action::Revoke(_), Action::MakeAccount(_), Action::Issue { .. }]
        ),
        "{plan:?}"
    );
}

#[test]
fn another_key_another_server_and_other_rules_rotate() {
    let name = PeerId::random();
    let mut world = world(&[seen(name, 1)]);
    let cluster = world.settled(Cluster::default());
    world.published[0].peers = vec![seen(name, 2)];
    let plan = world.plan(&cluster, NOW);
    assert!(
        matches!(plan.actions.as_slice(), [Action::Revoke(_), Action::Issue { .. }]),
        "{plan:?}"
    );
    let elsewhere = Server {
        url: "https://192.0.2.2",
        authority: "",
    };
    let moved = wanted(&world.policy, &world.published, &world.agreements, &elsewhere);
    assert_ne!(
        moved.values().next().unwrap().digest,
        world.wanted().values().next().unwrap().digest
    );
    world.policy.grants[0].rules[0].verbs = vec!["get".into()];
    let plan = world.plan(&cluster, NOW);
    assert!(
        matches!(
            plan.actions.as_slice(),
            [Action::Revoke(_), Action::MakeAccount(_), Action::Issue { .. }]
        ),
        "{plan:?}"
    );
}

#[test]
fn a_peer_that_does_not_answer_is_revoked_but_not_called() {
    let name = PeerId::random();
    let mut world = world(&[seen(name, 1)]);
    let cluster = world.settled(Cluster::default());
    world.published[0].peers[0].sealing_key = SealingKey([2; 32]);
    world.published[0].peers[0].may_answer = false;
    let plan = world.plan(&cluster, NOW);
    assert!(matches!(plan.actions.as_slice(), [Action::Revoke(_)]), "{plan:?}");
}

#[test]
fn failures_are_waited_for_longer_and_longer_but_not_for_ever() {
    let pauses: Vec<_> = (1..12).map(pause).collect();
    assert!(pauses.is_sorted());
    assert_eq!(pauses[0], Duration::from_millis(250));
    assert_eq!(pause(u32::MAX), Duration::from_secs(60));
    let world = world(&[seen(PeerId::random(), 1)]);
    let key = world.wanted().into_keys().next().unwrap();
    let later = NOW.plus(pause(3));
    let memory = Memory {
        not_before: [(key.clone(), later)].into(),
        ..Memory::default()
    };
    let account = world.settled(Cluster::default()).accounts;
    let cluster = Cluster {
        accounts: account,
        ..Cluster::default()
    };
    let waiting = plan(&world.policy, &world.published, &world.wanted(), &cluster, &memory, NOW);
    assert_eq!(
        (waiting.actions.as_slice(), waiting.look_again),
        ([].as_slice(), Some(later))
    );
    let under_way = Memory {
        under_way: [key].into(),
        ..Memory::default()
    };
    let plan = plan(
        &world.policy,
        &world.published,
        &world.wanted(),
        &cluster,
        &under_way,
        NOW,
    );
    assert_eq!(plan.actions, []);
}

#[test]
fn names_of_long_identities_are_still_names_and_differ() {
    let key = |identity: String, peer| Key {
        namespace: "ns".into(),
        identity,
        swarm: "0123456789ab".into(),
        peer,
    };
    let (one, two) = (PeerId::random(), PeerId::random());
    for identity in ["a".repeat(253), format!("{}.b", "a".repeat(170)), "me".into()] {
        let (first, second) = (
            names::binding(&key(identity.clone(), one)),
            names::binding(&key(identity, two)),
        );
        assert_ne!(first, second);
        for name in [first, second] {
            assert!(
                name.len() <= 253 && name.ends_with(|c: char| c.is_ascii_alphanumeric()),
                "{name}"
            );
        }
    }
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let verbs = prop::sample::subsequence(vec!["get", "list", "watch"], 1..=3);
    let to = prop_oneof![Just(To::Everyone), Just(To::Agreement), Just(To::Category("c".into()))];
    let grant = (to, verbs).prop_map(|(to, verbs)| Grant {
        to,
        rules: vec![Rule {
            api_groups: vec![String::new()],
            resources: vec!["pods".into()],
            resource_names: Vec::new(),
            verbs: verbs.into_iter().map(str::to_owned).collect(),
        }],
    });
    prop::collection::vec(grant, 0..4).prop_map(|grants| Policy {
        grants,
        ..Policy::default()
    })
}

proptest! {
    /// From whatever was, to whatever is wanted: in the end every peer has exactly what the policy says, and whoever loses or
    /// changes rights is revoked before anything else is done.
    #[test]
    fn whatever_changes_the_cluster_follows(
        before in any_policy(), after in any_policy(),
        peers in prop::collection::vec((0..4_u8, any::<bool>(), any::<bool>()), 0..6),
        then in prop::collection::vec(any::<bool>(), 6),
    ) {
        let all: Vec<_> = peers.iter().map(|(key, computing, _)| SeenPeer {
            categories: computing.then(|| "c".to_owned()).into_iter().collect(),
            ..seen(PeerId::random(), *key)
        }).collect();
        let agreements = all.iter().zip(&peers).filter(|(_, (_, _, has))| *has).map(|(peer, _)| peer.name).collect();
        let mut world = World { policy: before, published: published(&all), agreements };
        let cluster = world.settled(Cluster::default());
        let old = world.wanted();
        world.policy = after;
        world.published[0].peers = all.into_iter().zip(then).filter(|(_, stays)| *stays).map(|(peer, _)| peer).collect();
        let new = world.wanted();
        let plan = world.plan(&cluster, NOW);
        let first_other = plan.actions.iter().position(|action| !matches!(action, Action::Revoke(_)));
        let revoked: BTreeSet<_> = plan.actions.iter().take(first_other.unwrap_or(usize::MAX)).filter_map(|action| match action {
            Action::Revoke(key) => Some(key.clone()),
            _ => None,
        }).collect();
        for (key, old) in &old {
            let same = new.get(key).is_some_and(|new| new.digest == old.digest);
            prop_assert_eq!(revoked.contains(key), !same);
        }
        let settled = world.settled(cluster);
        prop_assert_eq!(settled.issued.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
        for (key, wanted) in &new {
            prop_assert_eq!(&settled.issued[key].digest, &wanted.digest);
            let place = (wanted.account.namespace.clone(), wanted.account.name.clone());
            prop_assert_eq!(&settled.accounts[&place], &wanted.account.digest());
        }
    }
}
