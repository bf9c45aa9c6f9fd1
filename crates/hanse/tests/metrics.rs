//! Whether an agent is well, as Prometheus and probes see it: four real agent processes, of which some are killed.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;
#[path = "metrics/readiness.rs"]
mod readiness;
#[path = "metrics/scrape.rs"]
mod scrape;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use league::{HANSE, League, wait};
use readiness::{ready, reasons};
use scrape::{Scrape, parse};
use serde_json::{Value, json};

/// The table of docs/metrics.md: name and type of each metric.
fn documented() -> BTreeMap<String, String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let text = std::fs::read_to_string(page).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        Some((name.to_owned(), cells.next()?.to_owned()))
    });
    let ours = |name: &str| name.starts_with("hanse_") || name.starts_with("cluster_discovery_");
    rows.filter(|(name, _)| ours(name)).collect()
}

#[test]
fn figures_and_readiness_follow_what_happens_to_the_league() {
    let mut league = League::prepare_beating(4, 1000);
    (0..4).for_each(|index| league.spawn(index));
    league.wait_all_ready();
    league.deploy_example(0, 1);
    let request = json!({ "service": "object-detection", "scenario": "component" });
    let id = league.federate(0, &request);
    league.wait_complete(0, &id);

    // The parser that is the judge refuses what is wrong.
    assert!(parse("# TYPE a counter\na 1\n# EOF\n").is_err());

    let scrape = Scrape::of(&league, 0);
    let live: BTreeMap<String, String> = scrape
        .0
        .iter()
        .map(|(name, family)| (name.clone(), family["type"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(
        live,
        documented(),
        "the table of docs/metrics.md is not what the endpoint gives"
    );
    for (name, family) in &scrape.0 {
        assert!(!family["help"].as_str().unwrap().is_empty(), "{name} has no help");
    }
    let height = league.get(0, "/api/v1/health")["ledger_height"].as_f64().unwrap();
    assert!((1.0..=height).contains(&scrape.value("hanse_ledger_height")));
    assert!(scrape.value("hanse_ledger_state_root_checked_height") <= height);
    assert_eq!(scrape.value("hanse_ledger_state_root_agrees"), 1.0);
    assert_eq!((scrape.peers("connected"), scrape.peers("away")), (3.0, 0.0));
    assert!(scrape.value("hanse_ledger_transaction_finality_seconds_count") >= 5.0);
    let finality = scrape.value("hanse_ledger_transaction_finality_seconds_sum")
        / scrape.value("hanse_ledger_transaction_finality_seconds_count");
    assert!((0.0..60.0).contains(&finality), "{finality} s");
    assert!(scrape.value("hanse_ledger_block_decision_seconds_count") >= 1.0);
    let folder = league.agents[0].config.parent().unwrap();
    let store = scrape.get("hanse_ledger_store_size_bytes", &json!({ "part": "store" }));
    let file = folder.join("ledger/ledger.redb").metadata().unwrap().len();
    assert!(store.is_some_and(|bytes| bytes > 0.0 && bytes <= file as f64));
    let running = json!({ "role": "consumer", "state": "running" });
    assert_eq!(scrape.get("hanse_orchestrator_agreements", &running), Some(1.0));
    assert_eq!(scrape.value("hanse_orchestrator_webhook_queue_deliveries"), 0.0);
    wait("the events to be dealt with", || {
        (Scrape::of(&league, 0).value("hanse_orchestrator_event_lag_blocks") == 0.0).then_some(())
    });

    // A transaction of a stranger is refused and counted.
    let before = scrape.get(
        "hanse_mempool_rejected_transactions_total",
        &json!({ "origin": "client", "reason": "malformed" }),
    );
    assert_eq!(before, None);
    let rpc = config_value(&league, 0, "ledger.embedded.rpcListen");
    let raw = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x02ff"] });
    let answer: Value = reqwest::blocking::Client::new()
        .post(format!("http://{rpc}"))
        .json(&raw)
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert!(answer["error"].is_object(), "{answer}");
    let rejected = json!({ "origin": "client", "reason": "malformed" });
    let scrape = Scrape::of(&league, 0);
    assert_eq!(
        scrape.get("hanse_mempool_rejected_transactions_total", &rejected),
        Some(1.0)
    );

    // One of four is away: the others are ready, and see whose turns go by.
    let account = league.get(3, "/api/v1/health")["account"].as_str().unwrap().to_owned();
    let turns = |scrape: &Scrape| {
        let samples = scrape.0.get("hanse_ledger_missed_proposals")?["samples"].as_array()?;
        let of_it = |sample: &&Value| {
            let validator = sample["labels"]["validator"].as_str();
            validator.is_some_and(|validator| validator.eq_ignore_ascii_case(&account))
        };
        samples.iter().find(of_it).cloned()
    };
    // When it was admitted and not yet connected, it may have let one pass already.
    let before = turns(&scrape).map_or(0.0, |sample| sample["value"].as_f64().unwrap());
    league.kill(3);
    let height = |scrape: &Scrape| scrape.value("hanse_ledger_height");
    let killed_at = height(&Scrape::of(&league, 0));
    let missed = wait("the dead member's turn, and two blocks that it can't know", || {
        assert_eq!(ready(&league, 0).0, 200);
        let scrape = Scrape::of(&league, 0);
        let missed = turns(&scrape)?;
        let away = scrape.peers("away") == 1.0 && height(&scrape) >= killed_at + 3.0;
        (away && missed["value"].as_f64()? > before).then_some(missed)
    });
    let named = missed["labels"]["validator"].as_str().unwrap();
    let scrape = Scrape::of(&league, 0);
    assert!(scrape.get("hanse_ledger_missed_proposals_in_a_row", &json!({ "validator": named })) >= Some(1.0));

    // Two are away: the others turn not ready within seconds and say why, but live.
    league.kill(2);
    let killed = Instant::now();
    for index in [0, 1] {
        let page = wait("the probe to fail", || {
            let (status, page) = ready(&league, index);
            (status == 503 && reasons(&page) == ["no-quorum"]).then_some(page)
        });
        assert!(
            killed.elapsed() < Duration::from_secs(20),
            "it took {:?}",
            killed.elapsed()
        );
        let trouble = &page["troubles"][0];
        assert!(
            trouble["detail"].as_str().unwrap().starts_with("no quorum: 2 of 4"),
            "{page}"
        );
        assert!(
            trouble["next_step"].as_str().unwrap().contains("start the agents"),
            "{page}"
        );
        let live = reqwest::blocking::get(format!("{}/api/v1/live", league.agents[index].api)).unwrap();
        assert_eq!(live.status(), 200);
        let scrape = Scrape::of(&league, index);
        assert_eq!((scrape.peers("connected"), scrape.peers("away")), (1.0, 2.0));
        assert_eq!(scrape.value("hanse_ledger_quorum_validators"), 3.0);
    }
    let shown = Command::new(HANSE)
        .args(["status", "--api", &league.agents[0].api])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("trouble: no quorum: 2 of 4 validators"), "{shown}");

    // They come back. While one was away the others went on: it has blocks to catch up.
    let started = Instant::now();
    league.spawn(2);
    league.spawn(3);
    league.wait_all_ready();
    eprintln!(
        "not ready {:?} after the kill; ready again {:?} after the restart",
        killed.elapsed() - started.elapsed(),
        started.elapsed()
    );
    let first = Scrape::of(&league, 0);
    assert_eq!((first.peers("away"), first.peers("connected")), (0.0, 3.0));
    // One block behind is ready all the same.
    wait("it to catch up", || {
        (Scrape::of(&league, 3).value("hanse_ledger_synced_blocks_total") >= 1.0).then_some(())
    });

    readiness::two_that_say_nothing_are_missed(&league);
    readiness::two_that_do_not_vote_make_the_height_stand_still(&mut league);
    readiness::a_state_that_differs_is_told(&mut league);
}

fn config_value(league: &League, index: usize, path: &str) -> String {
    let shown = Command::new(HANSE)
        .args(["config", "show", "-o", "json", "--config"])
        .arg(&league.agents[index].config)
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    shown[path]["value"].as_str().unwrap().to_owned()
}
