//! Whole agents on a chain that replaces blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, channel};

use alloy::primitives::keccak256;
use serde_json::{Value, json};

use crate::league::{League, PATIENCE, wait};
use crate::node::Node;

const EVENTS: [(&str, &str); 5] = [
    ("Announced", "Announced(bytes32,address,string,bytes32,uint64,uint64)"),
    ("BidPlaced", "BidPlaced(bytes32,address,uint128,uint64,bool)"),
    ("Awarded", "Awarded(bytes32,address,uint128,uint256,bytes)"),
    ("Deployed", "Deployed(bytes32,address,bytes32,uint64,bytes)"),
    ("Confirmed", "Confirmed(bytes32,address,uint256)"),
];

/// Heights of the blocks in which an agreement's events are, by name.
fn events(node: &Node, id: &str) -> BTreeMap<&'static str, Vec<u64>> {
    let filter = json!([{ "fromBlock": "0x0", "toBlock": "latest", "topics": [null, id] }]);
    let logs = node.call("eth_getLogs", filter);
    let mut found = BTreeMap::new();
    for log in logs.as_array().unwrap() {
        let known = EVENTS
            .iter()
            .find(|(_, signature)| log["topics"][0] == keccak256(signature).to_string());
        if let Some((name, _)) = known {
            found
                .entry(*name)
                .or_insert_with(Vec::new)
                .push(number(&log["blockNumber"]));
        }
    }
    found
}

fn number(hex: &Value) -> u64 {
    u64::from_str_radix(hex.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

fn height(node: &Node) -> u64 {
    number(&node.call("eth_blockNumber", json!([])))
}

/// Replaces the blocks from this one on by as many empty ones.
fn undo_from(node: &Node, block: u64) {
    let depth = height(node) + 1 - block;
    node.call("anvil_reorg", json!([depth, []]));
}

/// Three agents; effects only after so many blocks.
fn league(node: &Node, confirmations: u64) -> League {
    let mut league = League::prepare_with(3, &["--ledger-url", &node.url()]);
    for index in 0..3 {
        let config = &league.agents[index].config;
        let text = std::fs::read_to_string(config).unwrap();
        assert!(text.contains("confirmations: 0"), "{text}");
        let text = text.replace("confirmations: 0", &format!("confirmations: {confirmations}"));
        std::fs::write(config, text).unwrap();
        league.spawn(index);
    }
    league.wait_all_ready();
    league.deploy_example(0, 1);
    league
}

fn request() -> Value {
    json!({
        "service": "object-detection", "scenario": "component", "offersWanted": 2, "bidWindowMs": 60_000,
        "bidSeconds": 120, "deploySeconds": 240, "confirmSeconds": 240,
    })
}

/// So many bids, and one of everything else.
fn assert_each_once(events: &BTreeMap<&str, Vec<u64>>, bids: RangeInclusive<usize>) {
    for (name, _) in EVENTS {
        let count = events.get(name).map_or(0, Vec::len);
        let expected = if name == "BidPlaced" { bids.clone() } else { 1..=1 };
        assert!(expected.contains(&count), "{name}: {events:?}");
    }
}

#[test]
fn nobody_acts_on_a_block_before_it_is_final_and_what_is_undone_before_is_repeated() {
    const DEPTH: u64 = 2;
    let node = Node::anvil(&["--block-time", "1"]);
    let league = league(&node, DEPTH);
    let id = league.federate(0, &request());
    let first = wait("the announcement to be in a block", || {
        events(&node, &id).get("Announced").map(|blocks| blocks[0])
    });
    undo_from(&node, first);
    let page = league.wait_complete(0, &id);
    assert_eq!(page["verified"], true);
    let events = events(&node, &id);
    assert_each_once(&events, 2..=2);
    for step in EVENTS.windows(2) {
        let (before, after) = (&events[step[0].0], &events[step[1].0]);
        let (last, next) = (before.iter().max().unwrap(), after.iter().min().unwrap());
        assert!(*next > last + DEPTH, "{step:?}: {events:?}");
    }
}

/// Listens for webhooks; gives the id and the name of each event that it hears of, in order.
fn receiver() -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (heard, events) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            stream.get_mut().write_all(answer).unwrap();
            let event: Value = serde_json::from_slice(&body).unwrap();
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            if heard.send((text("id"), text("event"))).is_err() {
                return;
            }
        }
    });
    (url, events)
}

/// The events that are heard of until this one.
fn hear_until(events: &Receiver<(String, String)>, last: &str) -> Vec<(String, String)> {
    let mut heard = Vec::new();
    loop {
        let event = events.recv_timeout(PATIENCE);
        heard.push(event.unwrap_or_else(|error| panic!("no {last} ({error}) after {heard:?}")));
        if heard.last().unwrap().1 == last {
            return heard;
        }
    }
}

#[test]
fn an_agreement_that_is_undone_although_it_counted_is_made_again_while_its_service_runs_on() {
    let node = Node::anvil(&[]);
    let league = league(&node, 0);
    let (url, heard) = receiver();
    let subscription = json!({ "event_name": "*", "callback_url": url });
    assert_eq!(league.post(0, "/api/v1/subscriptions", &subscription).0, 201);
    let mut request = request();
    request["offersWanted"] = 3.into();
    request["bidWindowMs"] = 10_000.into();
    let id = league.federate(0, &request);
    // While it is open, with all bids in.
    wait("both bids", || {
        (events(&node, &id).get("BidPlaced")?.len() == 2).then_some(())
    });
    undo_from(&node, events(&node, &id)["Announced"][0]);
    let page = league.wait_complete(0, &id);
    assert_eq!(page["verified"], true);
    assert_each_once(&events(&node, &id), 2..=2);
    let provider = league.by_account(&page["provider"]);
    // Nothing is said of an agreement that the ledger does not know for a moment.
    let running = || {
        let page = league.agreement(provider, &id)?;
        assert!(page["outcome"].is_null(), "it is in use: {page}");
        Some(page["running"].clone())
    };
    assert_eq!(running().unwrap(), json!({ "object-detector": 1 }));
    let mut told = hear_until(&heard, "Confirmed");

    // After everything is done.
    undo_from(&node, events(&node, &id)["Announced"][0]);
    wait("the agreement to be made again", || {
        assert_eq!(running()?, json!({ "object-detector": 1 }));
        events(&node, &id).contains_key("Confirmed").then_some(())
    });
    // The service stays with who has it as soon as that one bids again; the other may come too late.
    assert_each_once(&events(&node, &id), 1..=2);
    let again = league.wait_complete(0, &id);
    assert_eq!(again["provider"], page["provider"]);
    let (status, page) = league.post(0, &format!("/api/v1/agreements/{id}/terminate"), &json!({}));
    assert_eq!(status, 202, "{page}");
    assert_eq!(league.wait_outcome(0, &id)["kind"], "terminated");
    league.wait_nothing_left();

    // Webhooks heard once of each event, although most were in up to three blocks. The second time the bids were in another
    // order, or the award was sealed anew: what followed from that is another event.
    told.extend(hear_until(&heard, "Terminated"));
    let ids: BTreeSet<&String> = told.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), told.len(), "{told:?}");
    assert_eq!(
        told.iter().filter(|(_, name)| name == "Announced").count(),
        1,
        "{told:?}"
    );
}
