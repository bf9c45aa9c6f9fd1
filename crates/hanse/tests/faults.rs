//! Agents are killed and cut off at the worst moments; what was agreed goes on, and nothing is lost.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::time::Duration;

use league::{League, wait};
use serde_json::{Value, json};

fn component() -> Value {
    json!({ "service": "object-detection", "scenario": "component" })
}

fn has_step(page: &Value, step: &str) -> bool {
    page["timeline"]
        .as_array()
        .is_some_and(|marks| marks.iter().any(|mark| mark["step"] == step))
}

/// Ends an agreement, and waits until everyone is rid of it and the service is back.
fn bring_back(league: &League, id: &str) {
    let (status, page) = league.post(0, &format!("/api/v1/agreements/{id}/terminate"), &json!({}));
    assert_eq!(status, 202, "{page}");
    assert_eq!(league.wait_outcome(0, id)["kind"], "terminated");
    league.wait_nothing_left();
    wait("the component to run at home again", || {
        let page = league.try_get(0, "/api/v1/services/object-detection")?;
        (page["runningReplicas"] == 1).then_some(())
    });
}

#[test]
fn a_consumer_killed_at_each_of_its_steps_goes_on_where_it_was() {
    let mut league = League::start(4);
    league.deploy_example(0, 1);
    for step in [
        "service_announced",
        "bid_offer_received",
        "winner_choosen",
        "confirm_deployment_received",
        "check_connectivity_federated_service_start",
        "check_connectivity_federated_service_finished",
    ] {
        let id = league.federate(0, &component());
        wait(&format!("step {step}"), || {
            let page = league.agreement(0, &id)?;
            has_step(&page, step).then_some(())
        });
        league.kill(0);
        league.spawn(0);
        league.wait_ready(0);
        let page = league.wait_complete(0, &id);
        assert_eq!(page["verified"], true, "killed after {step}: {page}");
        let provider = league.by_account(&page["provider"]);
        let running = league.get(provider, &format!("/api/v1/agreements/{id}"))["running"].clone();
        assert_eq!(running, json!({ "object-detector": 1 }), "killed after {step}");
        bring_back(&league, &id);
    }
}

#[test]
fn a_provider_killed_between_award_and_confirmation_still_delivers() {
    let mut league = League::start(4);
    league.deploy_example(0, 1);
    let id = league.federate(0, &component());
    let provider = wait("the award", || {
        let page = league.agreement(0, &id)?;
        (!page["provider"].is_null()).then(|| league.by_account(&page["provider"]))
    });
    league.kill(provider);
    league.spawn(provider);
    league.wait_ready(provider);
    assert_eq!(league.wait_complete(0, &id)["verified"], true);
    bring_back(&league, &id);
}

#[test]
fn a_provider_that_never_deploys_loses_the_award_and_another_is_found() {
    let mut league = League::start(4);
    league.deploy_example(0, 1);
    let request = json!({
        "service": "object-detection", "scenario": "component", "retries": 1, "hoursPaid": 2,
        "bidSeconds": 3, "deploySeconds": 5, "offersWanted": 3,
    });
    let id = league.federate(0, &request);
    // The cheapest is the second domain; it is gone as soon as it has bid.
    wait("all bids", || {
        let page = league.try_get(0, &format!("/api/v1/agreements/{id}/bids"))?;
        (!page.as_array()?.is_empty()).then_some(())
    });
    league.kill(1);
    let outcome = wait(
        "the end of the first agreement or its completion without the dead one",
        || {
            let page = league.agreement(0, &id)?;
            let done = !page["outcome"].is_null() || (page["state"] == "confirmed" && page["completed"] == true);
            done.then_some(page)
        },
    );
    let last = if outcome["outcome"].is_null() {
        id
    } else {
        assert_eq!(outcome["outcome"]["kind"], "expired", "{outcome}");
        assert_eq!(outcome["escrow"], "0", "what was paid is not held any longer");
        outcome["next"].as_str().expect("it was announced anew").to_owned()
    };
    let page = league.wait_complete(0, &last);
    let account = page["provider"].clone();
    league.spawn(1);
    league.wait_ready(1);
    assert_ne!(
        league.get(1, "/api/v1/health")["account"],
        account,
        "the dead domain can't have been the provider"
    );
    bring_back(&league, &last);
}

#[test]
fn a_ledger_without_quorum_is_waited_for() {
    let mut league = League::start(4);
    league.deploy_example(0, 1);
    // Two of four validators are gone: nothing can be decided.
    league.kill(2);
    league.kill(3);
    let id = league.federate(0, &component());
    let away = std::time::Instant::now();
    wait("half a minute without a ledger", || {
        let page = league.agreement(0, &id)?;
        assert_eq!(page["outcome"], Value::Null, "{page}");
        (away.elapsed() > Duration::from_secs(30)).then_some(())
    });
    league.spawn(2);
    league.spawn(3);
    league.wait_all_ready();
    // The bid deadline may have passed meanwhile; then the end is told, and a new request works.
    let end = wait("the agreement to go on or to end", || {
        let page = league.agreement(0, &id)?;
        (!page["outcome"].is_null() || page["completed"] == true).then_some(page)
    });
    let id = if end["outcome"].is_null() {
        id
    } else {
        league.federate(0, &component())
    };
    league.wait_complete(0, &id);
    bring_back(&league, &id);
}

#[test]
fn an_image_that_the_provider_lacks_gives_the_award_back_with_the_reason() {
    let mut league = League::prepare(2);
    let config = &league.agents[1].config;
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(
        config,
        text.replace("hanse.example/object-detector:0.1", "hanse.example/something-else:0.1"),
    )
    .unwrap();
    league.spawn(0);
    league.spawn(1);
    league.wait_all_ready();
    league.deploy_example(0, 1);
    let id = league.federate(0, &component());
    let outcome = league.wait_outcome(0, &id);
    assert_eq!(outcome["kind"], "cancelled", "{outcome}");
    let theirs = league.agreement(1, &id).unwrap();
    let trouble = theirs["trouble"].as_str().unwrap();
    assert!(
        trouble.contains("object-detector") && trouble.to_lowercase().contains("image"),
        "{trouble}"
    );
    league.wait_nothing_left();
    assert_eq!(
        league.get(0, "/api/v1/services/object-detection")["runningReplicas"],
        1,
        "the consumer keeps its own"
    );
}
