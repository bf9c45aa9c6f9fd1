//! A consumer says which domains may provide: by what they say of themselves in the swarm, or by name.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use league::commands::{json_of, refusal};
use league::{League, wait};
use serde_json::{Value, json};

/// Neither the first, through which the others have found into the swarm, nor the cheapest.
const CONSUMER: usize = 1;
const WITH_GPU: usize = 3;

fn find(league: &League, arguments: &[&str]) -> Value {
    json_of(&[&["swarm", "find", "--api", &league.agents[CONSUMER].api], arguments].concat())
}

fn names(domains: &Value) -> Vec<&str> {
    let domains = domains.as_array().unwrap().iter();
    domains.map(|domain| domain["name"].as_str().unwrap()).collect()
}

/// Has a domain publish another category, from its next start on.
fn set_category(league: &League, index: usize, category: &str) {
    let config = &league.agents[index].config;
    let text = std::fs::read_to_string(config).unwrap();
    let changed = text.replacen("- edge", &format!("- {category}"), 1);
    assert_ne!(text, changed);
    std::fs::write(config, changed).unwrap();
}

fn accounts(league: &League) -> Vec<Value> {
    let account = |index| league.get(index, "/api/v1/health")["account"].clone();
    (0..league.agents.len()).map(account).collect()
}

/// Waits until the consumer has read from each other domain in the swarm what it runs for others.
fn wait_for_claims(league: &League, accounts: &[Value]) {
    wait("what each domain says of itself", || {
        let peers = league.try_get(CONSUMER, "/api/v1/swarm/peers")?;
        let known = peers.as_array()?.iter().filter(|peer| {
            let is_own = accounts.contains(&peer["party"]["account"]) && peer["party"]["capacity"].is_object();
            is_own && peer["member"] == peer["name"] && peer["presence"] == "online"
        });
        (known.count() == accounts.len() - 1).then_some(())
    });
}

/// The provider, as soon as there is one. That a service moves whole to whoever was chosen is what other tests are about.
fn chosen(league: &League, id: &str) -> Value {
    wait("the award", || {
        let page = league.agreement(CONSUMER, id)?;
        (!page["provider"].is_null()).then(|| page["provider"].clone())
    })
}

fn bids(league: &League, index: usize, id: &str) -> Option<Vec<Value>> {
    let bids = league.try_get(index, &format!("/api/v1/agreements/{id}/bids"))?;
    bids.as_array().cloned()
}

#[test]
fn only_a_domain_of_the_category_gets_the_service_though_others_are_cheaper_and_the_consumer_is_killed() {
    let mut league = League::prepare(4);
    set_category(&league, WITH_GPU, "gpu");
    (0..4).for_each(|index| league.spawn(index));
    league.wait_all_ready();
    league.deploy_example(CONSUMER, 1);
    let accounts = accounts(&league);
    wait_for_claims(&league, &accounts);

    // Anybody can look beforehand; the capacity is that of the bidding's configuration, changed without a restart.
    let found = find(&league, &["--category", "gpu", "--cpu", "500", "--availability", "99"]);
    assert_eq!(names(&found["domains"]), ["west"], "{found}");
    assert_eq!(
        found["others"][0]["reasons"],
        json!(["does not say that it offers gpu"]),
        "{found}"
    );
    let found = find(&league, &["--cpu", "2000", "--replicas", "3"]);
    assert_eq!(found["domains"], json!([]));
    let reason = found["others"][0]["reasons"][0].as_str().unwrap();
    assert!(reason.contains("CPU 4000 millicores, needed at least 6000"), "{reason}");

    // Nobody qualifies: the answer says who is there and why not.
    let ask = |providers: Value, requirements: Value| {
        let mut request = json!({ "service": "object-detection", "scenario": "component", "providers": providers });
        if !requirements.is_null() {
            request["requirements"] = requirements;
        }
        league.post(CONSUMER, "/api/v1/agreements", &request)
    };
    let (status, problem) = ask(json!({ "categories": ["gpu", "tape"] }), Value::Null);
    assert_eq!(
        (status, &problem["type"]),
        (409, &json!("/problems/no-provider")),
        "{problem}"
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("north does not say that it offers gpu, tape"),
        "{detail}"
    );
    assert!(detail.contains("west does not say that it offers tape"), "{detail}");
    let domains = problem["domains"].as_array().unwrap();
    assert_eq!(domains.len(), 3, "{problem}");
    assert!(
        domains
            .iter()
            .all(|it| accounts.contains(&it["account"]) && it["reasons"].is_array())
    );
    let needs = json!({
        "availabilityBps": 9_000, "latencyMs": 0, "jitterMs": 0, "bandwidthMbps": 0, "cpuMillicores": 4_001, "ramMb": 1, "replicas": 1,
    });
    let (status, problem) = ask(json!({}), needs);
    assert_eq!(status, 409, "{problem}");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("has too little: CPU 4000 millicores"),
        "{problem}"
    );
    let (status, problem) = ask(json!({ "domains": ["wets"] }), Value::Null);
    assert_eq!(status, 400, "{problem}");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("no member is called \"wets\""),
        "{problem}"
    );
    let federate = ["services", "federate", "object-detection", "--scenario", "component"];
    let wish = ["--category", "tape", "--api", &league.agents[CONSUMER].api];
    let said = refusal(&[&federate[..], &wish].concat());
    assert!(said.contains("nobody who qualifies is there"), "{said}");
    assert!(
        said.contains("--wait-for-provider") && !said.contains("east does"),
        "{said}"
    );
    assert_eq!(league.get(CONSUMER, "/api/v1/agreements"), json!([]));

    // The one that qualifies says nothing until the others have bid and the consumer was killed.
    league.freeze(WITH_GPU);
    let request = json!({
        "service": "object-detection", "scenario": "whole", "providers": { "categories": ["gpu"] },
        "bidWindowMs": 0, "bidSeconds": 200, "deploySeconds": 200,
    });
    let id = league.federate(CONSUMER, &request);
    wait("the cheaper bids", || (bids(&league, 0, &id)?.len() == 2).then_some(()));
    let page = league.agreement(CONSUMER, &id).unwrap();
    assert_eq!(
        (&page["state"], &page["provider"]),
        (&json!("open"), &Value::Null),
        "{page}"
    );
    assert_eq!(page["providers"]["qualified"], json!([accounts[WITH_GPU]]), "{page}");
    league.kill(CONSUMER);
    league.thaw(WITH_GPU);
    wait("the bid of the one that qualifies", || {
        (bids(&league, 0, &id)?.len() == 3).then_some(())
    });
    league.spawn(CONSUMER);
    league.wait_ready(CONSUMER);
    assert_eq!(chosen(&league, &id), accounts[WITH_GPU]);
    let bids = bids(&league, CONSUMER, &id).unwrap();
    for bid in &bids {
        let chosen = bid["bid"]["bidder"] == accounts[WITH_GPU];
        let reason = "the bidder is not one of the providers that were asked for";
        assert_eq!(
            bid["rejected"],
            if chosen { Value::Null } else { json!(reason) },
            "{bids:?}"
        );
    }
    // What was refused reached nobody.
    for index in 0..4 {
        let heard = league.get(index, "/api/v1/agreements");
        assert_eq!(heard.as_array().unwrap().len(), 1, "{heard}");
    }
}

#[test]
fn who_waits_takes_the_first_that_comes_to_qualify_and_who_no_longer_bids_says_so() {
    let mut league = League::start(3);
    league.deploy_example(CONSUMER, 1);
    let accounts = accounts(&league);
    wait_for_claims(&league, &accounts);
    let request = json!({
        "service": "object-detection", "scenario": "component", "providers": { "categories": ["tape"], "wait": true },
        "bidWindowMs": 0, "bidSeconds": 200, "deploySeconds": 200,
    });
    let id = league.federate(CONSUMER, &request);
    wait("two bids", || (bids(&league, CONSUMER, &id)?.len() == 2).then_some(()));
    let page = league.agreement(CONSUMER, &id).unwrap();
    assert_eq!(
        (&page["state"], &page["providers"]["qualified"]),
        (&json!("open"), &json!([])),
        "{page}"
    );

    league.kill(2);
    set_category(&league, 2, "tape");
    league.spawn(2);
    league.wait_ready(2);
    assert_eq!(chosen(&league, &id), accounts[2]);

    // Bidding is switched off over the API, and the swarm hears of it.
    let mut bidding = league.get(0, "/api/v1/bidding");
    bidding["enabled"] = json!(false);
    let answer = reqwest::blocking::Client::new()
        .put(format!("{}/api/v1/bidding", league.agents[0].api))
        .json(&bidding)
        .send()
        .unwrap();
    assert!(answer.status().is_success());
    wait("the swarm to hear that it bids no more", || {
        let found = find(&league, &["--replicas", "1"]);
        let others = found["others"].as_array()?;
        let idle = others.iter().find(|it| it["name"] == league.agents[0].name)?;
        (idle["reasons"] == json!(["runs nothing for others at present"])).then_some(())
    });
}
