//! Who gets credentials because of an agreement: both sides, from the award to the end, and nobody else.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use league::{League, kubectl, try_kubectl, wait};
use serde_json::{Value, json};

const CONSUMER: usize = 0;
const PROVIDER: usize = 1;
const BYSTANDER: usize = 2;

/// Nobody gets anything but who has an agreement.
fn grant_to_partners_only(config: &Path) {
    let text = std::fs::read_to_string(config).unwrap();
    let mut value: Value = serde_saphyr::from_str(&text).unwrap();
    let rule = json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] });
    value["swarm"]["credentials"]["policy"]["grants"] = json!([{ "to": "agreement", "rules": [rule] }]);
    std::fs::write(config, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
}

fn peer_id(league: &League, index: usize) -> String {
    let page = league.get(index, "/api/v1/swarm");
    page["peerId"].as_str().unwrap().to_owned()
}

/// Names of the Secrets with what others gave to a domain.
fn given(config: &Path) -> Vec<String> {
    let secrets = kubectl(config, &["get", "secrets", "--namespace", "default"]);
    let names = secrets["items"].as_array().unwrap().iter();
    let names = names.map(|secret| secret["metadata"]["name"].as_str().unwrap().to_owned());
    names.filter(|name| name.ends_with("-kubeconfig")).collect()
}

/// What `giver` gave to `taker`, as a folder whose `kubeconfig` it is.
fn taken(league: &League, taker: usize, giver: &str, folder: &Path) -> Option<()> {
    let name = format!("{}-kubeconfig", giver.to_lowercase());
    let config = &league.agents[taker].config;
    let secret = try_kubectl(config, &["get", "secret", &name, "--namespace", "default"]).ok()?;
    let kubeconfig = STANDARD.decode(secret["data"]["config"].as_str()?).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("kubeconfig"), kubeconfig).unwrap();
    Some(())
}

fn list_pods(folder: &Path) -> Result<Value, String> {
    try_kubectl(&folder.join("hanse.yaml"), &["get", "pods", "--namespace", "default"])
}

#[test]
fn partners_of_an_agreement_have_what_the_policy_grants_as_long_as_it_lasts() {
    let mut league = League::prepare(3);
    (0..3).for_each(|index| grant_to_partners_only(&league.agents[index].config));
    (0..3).for_each(|index| league.spawn(index));
    league.wait_all_ready();
    league.deploy_example(CONSUMER, 1);
    let ids: Vec<String> = (0..3).map(|index| peer_id(&league, index)).collect();
    let configs: Vec<_> = league.agents.iter().map(|agent| agent.config.clone()).collect();
    for config in &configs {
        wait("the Identity to say that nobody gets anything", || {
            let identities = try_kubectl(config, &["get", "identities", "--namespace", "default"]).ok()?;
            let conditions = identities["items"][0]["status"]["conditions"].as_array()?.clone();
            let delivered = conditions.iter().find(|it| it["type"] == "CredentialsDelivered")?;
            (delivered["reason"] == "NothingToDeliver").then_some(())
        });
    }

    let provider = league.agents[PROVIDER].name.clone();
    let request =
        json!({ "service": "object-detection", "scenario": "component", "providers": { "domains": [provider] } });
    let id = league.federate(CONSUMER, &request);
    let page = league.wait_complete(CONSUMER, &id);
    assert_eq!(league.by_account(&page["provider"]), PROVIDER);
    let (of_consumer, of_provider) = (league.folder.path().join("a"), league.folder.path().join("b"));
    wait("the provider to have what the consumer gives", || {
        taken(&league, PROVIDER, &ids[CONSUMER], &of_consumer)
    });
    wait("the consumer to have what the provider gives", || {
        taken(&league, CONSUMER, &ids[PROVIDER], &of_provider)
    });
    for folder in [&of_consumer, &of_provider] {
        list_pods(folder).unwrap();
    }
    assert_eq!(given(&configs[BYSTANDER]), [""; 0]);
    assert_eq!(given(&configs[CONSUMER]).len(), 1);

    // A giver that was killed does not take back what it gave only because it has yet to learn who its partners are.
    league.kill(CONSUMER);
    league.spawn(CONSUMER);
    league.wait_ready(CONSUMER);
    wait("the provider to be online again", || {
        let peers = league.try_get(CONSUMER, "/api/v1/swarm/peers")?;
        let peer = peers
            .as_array()?
            .iter()
            .find(|peer| peer["peerId"] == *ids[PROVIDER])?
            .clone();
        (peer["presence"] == "online").then_some(())
    });
    list_pods(&of_consumer).expect("what was given before the restart is as good as it was");

    let (status, page) = league.post(CONSUMER, &format!("/api/v1/agreements/{id}/terminate"), &json!({}));
    assert_eq!(status, 202, "{page}");
    for index in [CONSUMER, PROVIDER] {
        league.wait_outcome(index, &id);
    }
    for folder in [&of_consumer, &of_provider] {
        wait("the token to be void", || {
            let refusal = list_pods(folder).err()?;
            refusal.contains("Unauthorized").then_some(())
        });
    }
    for config in [&configs[CONSUMER], &configs[PROVIDER]] {
        wait("what was given to be removed", || {
            given(config).is_empty().then_some(())
        });
    }
}
