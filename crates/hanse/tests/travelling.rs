//! Manifests travel through the swarm: from whoever has them, and without anything that is secret.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::path::Path;

use league::commands::json_of;
use league::{League, wait};
use serde_json::{Value, json};

/// The accounts of those who have bid, as `index` sees it.
fn bids(league: &League, index: usize, id: &str) -> Option<usize> {
    let bids = league.try_get(index, &format!("/api/v1/agreements/{id}/bids"))?;
    Some(bids.as_array()?.len())
}

/// Not the first, through which the others have found into the swarm.
const CONSUMER: usize = 1;

#[test]
fn a_service_moves_though_its_owner_is_killed_after_the_announcement_and_after_the_award() {
    let mut league = League::start(4);
    // A member, but away for now.
    league.kill(3);
    league.deploy_example(CONSUMER, 1);
    let account = |index: usize| league.get(index, "/api/v1/health")["account"].clone();
    let accounts: Vec<Value> = (0..3).map(account).collect();
    // All of it, because a part would wait for the rest, which goes with the consumer's cluster.
    let request = json!({
        "service": "object-detection", "scenario": "whole",
        "offersWanted": 3, "bidWindowMs": 200_000, "bidSeconds": 200, "deploySeconds": 200,
    });
    let id = league.federate(CONSUMER, &request);
    // What is announced is what `hanse services` shows.
    let services = json_of(&["services", "list", "--api", &league.agents[CONSUMER].api]);
    let announced = &league.agreement(CONSUMER, &id).unwrap()["manifest"];
    assert_eq!(services[0]["manifest"], *announced, "{services}");
    wait("the bids of two who have the manifest", || {
        (bids(&league, 0, &id)? == 2).then_some(())
    });

    // The fourth domain hears of it only now, and its author can't give it the manifest.
    league.kill(CONSUMER);
    league.spawn(3);
    league.wait_ready(3);
    wait("the bid of the one who got the manifest from another bidder", || {
        (bids(&league, 3, &id)? == 3).then_some(())
    });

    league.spawn(CONSUMER);
    let provider = wait("the award", || {
        let page = league.agreement(0, &id)?;
        (!page["provider"].is_null()).then(|| page["provider"].clone())
    });
    league.kill(CONSUMER);
    let provider = accounts.iter().position(|account| *account == provider);
    let provider = provider.expect("the dearest bid does not win");
    wait("the deployment while the consumer is away", || {
        let page = league.agreement(provider, &id)?;
        assert!(page["outcome"].is_null(), "{page}");
        (page["state"] == "deployed").then_some(())
    });
    league.spawn(CONSUMER);
    league.wait_ready(CONSUMER);
    let page = league.wait_complete(CONSUMER, &id);
    assert_eq!(page["verified"], true, "{page}");
    assert!(page["manifest"].as_str().unwrap().starts_with("bafkrei"), "{page}");
}

#[test]
fn a_bidder_that_nobody_gives_the_manifest_says_so_and_bids_when_its_author_is_back() {
    let mut league = League::prepare(4);
    for index in [0, 2] {
        let config = &league.agents[index].config;
        let text = std::fs::read_to_string(config).unwrap();
        let silent = text.replacen("bidding:\n  enabled: true", "bidding:\n  enabled: false", 1);
        assert_ne!(text, silent);
        std::fs::write(config, silent).unwrap();
    }
    for index in 0..4 {
        league.spawn(index);
    }
    league.wait_all_ready();
    // A member, but away for now.
    league.kill(3);
    league.deploy_example(CONSUMER, 1);
    let request = json!({
        "service": "object-detection", "scenario": "component",
        "offersWanted": 1, "bidSeconds": 200, "deploySeconds": 200,
    });
    let id = league.federate(CONSUMER, &request);
    wait("the announcement", || {
        (league.agreement(0, &id)?["state"] == "open").then_some(())
    });

    league.kill(CONSUMER);
    league.spawn(3);
    league.wait_ready(3);
    wait("the bidder to say what it lacks", || {
        let page = league.agreement(3, &id)?;
        assert!(page["outcome"].is_null(), "{page}");
        page["trouble"]
            .as_str()?
            .contains("nobody who was asked has it")
            .then_some(())
    });
    assert_eq!(
        bids(&league, 3, &id),
        Some(0),
        "it does not bid for what it has not read"
    );

    league.spawn(CONSUMER);
    league.wait_ready(CONSUMER);
    let page = league.wait_complete(CONSUMER, &id);
    assert_eq!(league.by_account(&page["provider"]), 3);
    assert!(league.agreement(3, &id).unwrap()["trouble"].is_null());
}

const PUBLIC: &str = "what-everybody-may-read";
const SECRET: &str = "what-the-winner-alone-may-read";
/// As Kubernetes writes it.
const ENCODED: &str = "d2hhdC10aGUtd2lubmVyLWFsb25lLW1heS1yZWFk";

/// Whether the file of the domain's swarm holds this text.
fn swarm_holds(config: &Path, text: &str) -> bool {
    let bytes = std::fs::read(config.with_file_name("swarm").join("swarm.redb")).unwrap();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// What the Secret `password` of the agreement's namespace holds in this domain's cluster.
fn password_in(config: &Path, id: &str) -> Value {
    let namespace = format!("hanse-{}", &id.trim_start_matches("0x")[..16]);
    let secret = league::kubectl(config, &["get", "secret", "password", "--namespace", &namespace]);
    secret["data"]["password"].clone()
}

#[test]
fn what_a_secret_holds_reaches_the_provider_and_is_in_nobodys_copy_of_the_manifest() {
    let mut league = League::start(3);
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/object-detection/catalogue/object-detection");
    let read = |file: &str| std::fs::read_to_string(example.join(file)).unwrap();
    let definition: Value = serde_saphyr::from_str(&read("service.yaml")).unwrap();
    let manifest = format!(
        "{}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{text: {PUBLIC}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: password}}
stringData: {{password: {SECRET}}}
",
        read("manifest.yaml")
    );
    let service = json!({ "definition": definition, "manifest": manifest });
    let (status, body) = league.post(0, "/api/v1/services", &service);
    assert_eq!(status, 202, "{body}");
    wait("the service to be ready", || {
        let page = league.try_get(0, "/api/v1/services/object-detection")?;
        (page["ready"] == true).then_some(())
    });
    let request = json!({ "service": "object-detection", "scenario": "whole" });
    let id = league.federate(0, &request);
    let page = league.wait_complete(0, &id);
    let provider = league.by_account(&page["provider"]);
    let configs: Vec<_> = league.agents.iter().map(|agent| agent.config.clone()).collect();
    let there = password_in(&configs[provider], &id);
    assert_eq!(there, ENCODED, "{id}");
    for index in 0..3 {
        league.kill(index);
    }
    assert!(swarm_holds(&configs[0], PUBLIC) && swarm_holds(&configs[provider], PUBLIC));
    for config in &configs {
        assert!(!swarm_holds(config, SECRET), "{}", config.display());
        assert!(!swarm_holds(config, ENCODED), "{}", config.display());
    }
}
