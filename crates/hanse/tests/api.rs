//! The REST API as a user meets it: what is wrong is said, what was accepted survives, and old scripts go on working.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use league::{League, wait};
use serde_json::{Value, json};

/// Runs a line of the original's README with another address in it.
fn curl(line: &str, address: &str) -> Value {
    let line = line
        .replace("http://<vm1-ip>:8000", address)
        .replace("http://<vm2-ip>:8000", address);
    let output = Command::new("sh")
        .args(["-c", &line.replace("curl ", "curl -sS ")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{line} answered {text}"));
    assert!(answer.get("status").is_none(), "{line} failed: {answer}");
    answer
}

/// A ConfigMap of the first domain, read from its cluster.
fn config_map(league: &League, name: &str) -> Value {
    league::kubectl(&league.agents[0].config, &["get", "configmap", name])
}

#[test]
fn every_line_of_the_original_readme_works_unchanged() {
    let league = League::start(2);
    let (vm1, vm2) = (league.agents[0].api.clone(), league.agents[1].api.clone());
    curl("curl -X POST http://<vm1-ip>:8000/register_domain", &vm1);
    curl("curl -X POST http://<vm2-ip>:8000/register_domain", &vm2);

    // Scenario 1: the entire service.
    curl(
        "curl -X POST http://<vm1-ip>:8000/deploy_object_detection_service",
        &vm1,
    );
    curl("curl -X POST http://<vm2-ip>:8000/start_experiments_provider_v1", &vm2);
    let done = curl("curl -X POST http://<vm1-ip>:8000/start_experiments_consumer_v1", &vm1);
    assert_eq!(done["agreement"]["verified"], true, "{done}");
    curl(
        "curl -X DELETE http://<vm1-ip>:8000/delete_object_detection_service",
        &vm1,
    );
    curl(
        "curl -X DELETE http://<vm2-ip>:8000/delete_object_detection_service",
        &vm2,
    );
    league.wait_nothing_left();

    // Scenario 2: one component; the ConfigMap then names the provider's address.
    curl(
        "curl -X POST http://<vm1-ip>:8000/deploy_object_detection_service",
        &vm1,
    );
    curl("curl -X POST http://<vm2-ip>:8000/start_experiments_provider_v2", &vm2);
    let done = curl("curl -X POST http://<vm1-ip>:8000/start_experiments_consumer_v2", &vm1);
    let shown = config_map(&league, "sampler-sender-config-map");
    let shown = shown["data"]["destination_ip"].as_str().unwrap();
    assert_eq!(
        done["agreement"]["endpoint"]["services"]["object-detector"]["host"], shown,
        "{done}"
    );
    curl(
        "curl -X DELETE http://<vm1-ip>:8000/delete_object_detection_service",
        &vm1,
    );
    let delete = r#"curl -X DELETE "http://<vm2-ip>:8000/delete_object_detection_federation_component" -H "Content-Type: application/json" -d '{"domain": "provider", "pod_prefixes": ["object-detector-"]}'"#;
    curl(delete, &vm2);
    league.wait_nothing_left();

    // Scenario 3: four of six replicas.
    curl(
        "curl -X POST http://<vm1-ip>:8000/deploy_object_detection_service?replicas=6",
        &vm1,
    );
    curl("curl -X POST http://<vm2-ip>:8000/start_experiments_provider_v3", &vm2);
    let done = curl(
        "curl -X POST http://<vm1-ip>:8000/start_experiments_consumer_v3?replicas=4",
        &vm1,
    );
    let id = done["service_id"].as_str().unwrap();
    assert_eq!(league.get(0, "/api/v1/services/object-detection")["runningReplicas"], 2);
    assert_eq!(
        league.agreement(1, id).unwrap()["running"],
        json!({ "object-detector": 4 })
    );
    curl(
        "curl -X DELETE http://<vm1-ip>:8000/delete_object_detection_service",
        &vm1,
    );
    curl(delete, &vm2);
    league.wait_nothing_left();
}

#[test]
fn what_is_wrong_is_said_as_problem_details() {
    let league = League::start(2);
    let problem = |index: usize, path: &str, body: Value, status: u16, words: &[&str]| {
        let (code, answer) = league.post(index, path, &body);
        assert_eq!(code, status, "{path} {body}: {answer}");
        assert_eq!(answer["status"], status, "{answer}");
        for word in words {
            assert!(
                answer["detail"].as_str().unwrap().contains(word),
                "{word:?} is missing in {answer}"
            );
        }
    };
    let federate = "/api/v1/agreements";
    problem(
        0,
        federate,
        json!({ "service": "no-such", "scenario": "whole" }),
        404,
        &["no-such", "/api/v1/services"],
    );
    let definition = json!({ "name": "bad", "requirements": league_requirements() });
    let manifest = |text: &str| json!({ "definition": definition, "manifest": text });
    problem(0, "/api/v1/services", manifest("kind: [unclosed"), 422, &[]);
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all}\n";
    problem(0, "/api/v1/services", manifest(role), 422, &["ClusterRole"]);
    problem(
        0,
        "/api/v1/services",
        json!({ "catalogue": "../../etc" }),
        422,
        &["a-z"],
    );
    problem(0, "/api/v1/services", json!({}), 400, &["catalogue"]);
    problem(
        0,
        "/api/v1/subscriptions",
        json!({ "event_name": "Anounced", "callback_url": "http://127.0.0.1:1/" }),
        400,
        &["Announced"],
    );
    problem(
        0,
        "/api/v1/subscriptions",
        json!({ "event_name": "*", "callback_url": "ftp://127.0.0.1/" }),
        400,
        &["ftp"],
    );

    league.deploy_example(0, 2);
    let scale = |replicas: u32| json!({ "service": "object-detection", "scenario": "scale", "replicas": replicas });
    problem(0, federate, scale(3), 409, &["3", "2"]);
    problem(0, federate, scale(0), 400, &["replicas"]);
    let id = league.federate(0, &json!({ "service": "object-detection", "scenario": "component" }));
    problem(0, federate, scale(1), 409, &[&id]);
    problem(0, &format!("{federate}/{id}/bids"), json!({}), 422, &["own"]);
    problem(
        1,
        &format!("{federate}/{id}/choose"),
        json!({ "bidder": id[..42] }),
        422,
        &["not announced by this domain"],
    );
    let page = league.wait_complete(0, &id);
    problem(0, &format!("{federate}/{id}/cancel"), json!({}), 409, &["terminate"]);
    problem(1, &format!("{federate}/{id}/bids"), json!({}), 422, &[]);
    problem(0, &format!("{federate}/0x12/cancel"), json!({}), 400, &["0x12"]);
    assert_eq!(page["role"], "consumer");
    let (status, _) = league.post(0, &format!("{federate}/{id}/terminate"), &json!({}));
    assert_eq!(status, 202);
    league.wait_nothing_left();
}

fn league_requirements() -> Value {
    json!({
        "availabilityBps": 9900, "latencyMs": 0, "jitterMs": 0, "bandwidthMbps": 1, "cpuMillicores": 1, "ramMb": 1, "replicas": 1,
    })
}

#[test]
fn a_subscriber_that_is_away_and_an_agent_that_is_killed_lose_no_event() {
    let mut league = League::start(2);
    // A port that nobody listens on yet.
    let address = hanse_ports::free_address().unwrap();
    let body = json!({ "event_name": "*", "callback_url": format!("http://{address}/hook") });
    let (status, subscription) = league.post(0, "/api/v1/subscriptions", &body);
    assert_eq!(status, 201, "{subscription}");
    league.deploy_example(0, 1);
    let id = league.federate(0, &json!({ "service": "object-detection", "scenario": "component" }));
    league.wait_complete(0, &id);
    league.kill(0);
    league.spawn(0);
    league.wait_ready(0);

    let listener = TcpListener::bind(address).unwrap();
    let mut events: Vec<String> = Vec::new();
    while !["Announced", "BidPlaced", "Awarded", "Deployed", "Confirmed"]
        .iter()
        .all(|name| events.iter().any(|it| it == name))
    {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .unwrap();
        let event: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(event["subscription_id"], subscription["subscription_id"]);
        assert_eq!(event["args"]["id"], id.as_str());
        events.push(event["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        events,
        ["Announced", "BidPlaced", "Awarded", "Deployed", "Confirmed"],
        "in order, each once"
    );
    wait("the queue to be empty", || {
        league.try_get(0, "/api/v1/health").map(drop)
    });
}

#[test]
fn a_request_with_an_idempotency_key_is_carried_out_once() {
    let league = League::start(2);
    league.deploy_example(0, 1);
    let client = reqwest::blocking::Client::new();
    let request = |scenario: &str| {
        let body = json!({ "service": "object-detection", "scenario": scenario });
        let url = format!("{}/api/v1/agreements", league.agents[0].api);
        let answer = client
            .post(url)
            .header("idempotency-key", "move-1")
            .json(&body)
            .send()
            .unwrap();
        (answer.status().as_u16(), answer.json::<Value>().unwrap())
    };
    let (first, second) = (request("component"), request("component"));
    assert_eq!((first.0, second.0), (202, 202));
    assert_eq!(first.1["id"], second.1["id"]);
    assert_eq!(request("whole").0, 400, "the same key for something else");
    league.wait_complete(0, first.1["id"].as_str().unwrap());
}

#[test]
fn the_api_describes_itself() {
    let league = League::start(1);
    let description = league.get(0, "/api/openapi.json");
    for path in [
        "/api/v1/agreements",
        "/api/v1/services",
        "/api/v1/members",
        "/api/v1/subscriptions",
        "/api/v1/health",
        "/api/v1/live",
        "/api/v1/ready",
        "/api/v1/consortium",
        "/api/v1/consortium/invites",
        "/api/v1/consortium/votes",
        "/api/v1/consortium/removals",
        "/api/v1/consortium/departure",
        "/api/v1/consortium/rotations",
        "/api/v1/consortium/admission",
        "/api/v1/consortium/bootstrap",
        "/api/v1/consortium/requests",
        "/api/v1/consortium/claims",
        "/api/v1/consortium/claims/{account}",
        "/api/v1/ledger",
        "/api/v1/ledger/backup",
        "/api/v1/ledger/blocks",
        "/api/v1/ledger/transactions/{hash}",
        "/api/v1/ledger/evidence",
        "/metrics",
    ] {
        assert!(description["paths"][path].is_object(), "{path} is not described");
    }
    let fields = |schema: &str| description["components"]["schemas"][schema]["properties"].clone();
    assert!(fields("FederationRequest")["providers"].is_object());
    for field in ["categories", "domains", "wait"] {
        assert!(fields("Providers")[field].is_object(), "{field} is not described");
    }
    assert!(fields("AgreementPage")["providers"].is_object() && fields("PeerPage")["party"].is_object());
    let refusal = &description["paths"]["/api/v1/agreements"]["post"]["responses"]["409"];
    assert!(refusal.is_object() && fields("Problem")["domains"].is_object());
    let page = reqwest::blocking::get(format!("{}/docs/", league.agents[0].api)).unwrap();
    assert!(page.text().unwrap().contains("swagger"));
}

#[test]
fn a_bid_by_hand_is_replaced_as_often_as_its_owner_wishes() {
    let league = League::start(2);
    league.deploy_example(0, 1);
    let request = json!({
        "service": "object-detection", "scenario": "component", "offersWanted": 9, "bidWindowMs": 20_000, "bidSeconds": 20,
    });
    let id = league.federate(0, &request);
    let bids = format!("/api/v1/agreements/{id}/bids");
    let wait_for = |price: &str| {
        wait(&format!("a bid of {price}"), || {
            let page = league.try_get(0, &bids)?;
            (page.as_array()?.first()?["bid"]["pricePerHour"] == price).then_some(())
        });
    };
    // By the price list; the example has one replica.
    wait_for("11");
    for price in [7, 3, 7] {
        let (status, page) = league.post(1, &bids, &json!({ "pricePerHour": price }));
        assert_eq!(status, 202, "{page}");
        wait_for(&price.to_string());
    }
    let (status, page) = league.post(1, &bids, &json!({ "pricePerHour": 7 }));
    assert_eq!(status, 422, "{page}");
    league.wait_complete(0, &id);
    wait_for("7");
}
