//! Who gets what.

use hanse_swarm::PeerId;
use serde_json::json;

use super::super::policy::{Candidate, Grant, Policy, PolicyError, Rule, To};

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Rule {
    let texts = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Rule {
        api_groups: texts(groups),
        resources: texts(resources),
        resource_names: Vec::new(),
        verbs: texts(verbs),
    }
}

fn peer(name: PeerId, categories: &[String], has_agreement: bool) -> Candidate<'_> {
    Candidate {
        name,
        categories,
        has_agreement,
    }
}

#[test]
fn the_default_grants_reading_pods_and_nothing_else() {
    let policy = Policy::default();
    policy.check().unwrap();
    let rights = policy.rights(&peer(PeerId::random(), &[], false)).unwrap();
    assert_eq!(rights.rules(), [rule(&[""], &["pods"], &["get", "list", "watch"])]);
    assert_eq!(policy.for_everyone(), Some(rights));
    assert_eq!(policy.renew_after().as_secs(), 2400);
}

#[test]
fn each_peer_gets_the_rules_of_all_grants_that_are_to_it() {
    let (known, other) = (PeerId::random(), PeerId::random());
    let pods = rule(&[""], &["pods"], &["get"]);
    let logs = rule(&[""], &["pods/log"], &["get"]);
    let deployments = rule(&["apps"], &["deployments"], &["get", "patch"]);
    let grant = |to, rule: &Rule| Grant {
        to,
        rules: vec![rule.clone()],
    };
    let policy = Policy {
        grants: vec![
            grant(To::Peer(known.to_string()), &pods),
            grant(To::Category("computing".into()), &logs),
            grant(To::Agreement, &deployments),
        ],
        ..Policy::default()
    };
    policy.check().unwrap();
    let computing = ["computing".to_owned()];
    let rules = |candidate: Candidate<'_>| policy.rights(&candidate).map(|rights| rights.rules().to_vec());
    assert_eq!(rules(peer(other, &[], false)), None, "nothing is granted to it");
    assert_eq!(rules(peer(known, &[], false)), Some(vec![pods.clone()]));
    assert_eq!(rules(peer(other, &computing, false)), Some(vec![logs.clone()]));
    assert_eq!(rules(peer(other, &[], true)), Some(vec![deployments.clone()]));
    assert_eq!(
        rules(peer(known, &computing, true)),
        Some(vec![pods, logs, deployments])
    );
    assert_eq!(policy.for_everyone(), None);
}

#[test]
fn what_would_give_more_than_it_says_is_refused() {
    let escalating = [
        rule(&[""], &["secrets"], &["list"]),
        rule(&[""], &["*"], &["get"]),
        rule(&["*"], &["secrets"], &["get"]),
        rule(&[""], &["pods"], &["*"]),
        rule(&[""], &["serviceaccounts/token"], &["create"]),
        rule(&[""], &["*/token"], &["create"]),
        rule(&[""], &["serviceaccounts"], &["impersonate"]),
        rule(&["rbac.authorization.k8s.io"], &["roles"], &["create"]),
        rule(&["rbac.authorization.k8s.io"], &["roles"], &["escalate"]),
        rule(&["peerdiscovery.irt-saintexupery.com"], &["identities"], &["delete"]),
    ];
    for rule in escalating {
        let policy = Policy {
            grants: vec![Grant {
                to: To::Everyone,
                rules: vec![rule.clone()],
            }],
            ..Policy::default()
        };
        assert!(
            matches!(policy.check(), Err(PolicyError::Escalation { .. })),
            "{rule:?}"
        );
    }
}

#[test]
fn a_policy_that_makes_no_sense_is_refused() {
    let with = |change: &dyn Fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        policy.check().unwrap_err().to_string()
    };
    let short = with(&|policy| policy.life_seconds = 599);
    assert!(short.contains("600"), "{short}");
    with(&|policy| policy.life_seconds = 1_000_000);
    with(&|policy| policy.renew_after_seconds = Some(0));
    with(&|policy| policy.renew_after_seconds = Some(3600));
    let peer = with(&|policy| policy.grants[0].to = To::Peer("cluster 2".into()));
    assert!(peer.contains("hanse swarm peers"), "{peer}");
    with(&|policy| policy.grants[0].rules[0].verbs.clear());
    with(&|policy| policy.grants = vec![policy.grants[0].clone(); 1000]);
}

#[test]
fn it_is_written_as_the_documentation_says() {
    let peer = PeerId::random().to_string();
    let text = json!({
        "lifeSeconds": 1800,
        "grants": [
            {"to": "everyone", "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
            {"to": "agreement", "rules": []},
            {"to": {"peer": peer}, "rules": []},
            {"to": {"category": "computing"}, "rules": []},
        ],
    });
    let yaml = serde_saphyr::to_string(&text).unwrap();
    let policy: Policy = serde_saphyr::from_str(&yaml).unwrap();
    policy.check().unwrap();
    let tos: Vec<To> = policy.grants.into_iter().map(|grant| grant.to).collect();
    let expected = [
        To::Everyone,
        To::Agreement,
        To::Peer(peer),
        To::Category("computing".into()),
    ];
    assert_eq!(tos, expected);
    assert!(serde_json::from_value::<Policy>(json!({"lifeMinutes": 5})).is_err());
}
