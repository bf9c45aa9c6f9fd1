//! What makes agents not ready, each caused and mended again.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use alloy::consensus::TrieAccount;
use alloy::primitives::{Address, U256};
use redb::{Database, ReadableTable, TableDefinition};
use serde_json::{Value, json};

use crate::league::{HANSE, League, wait};
use crate::scrape::Scrape;

/// Status and page of the readiness probe.
pub fn ready(league: &League, index: usize) -> (u16, Value) {
    probe(league, index).unwrap()
}

/// The same, of an agent that may not answer yet.
fn probe(league: &League, index: usize) -> Option<(u16, Value)> {
    let answer = reqwest::blocking::get(format!("{}/api/v1/ready", league.agents[index].api)).ok()?;
    Some((answer.status().as_u16(), answer.json().unwrap()))
}

pub fn reasons(page: &Value) -> Vec<&str> {
    let troubles = page["troubles"].as_array().unwrap().iter();
    troubles.map(|trouble| trouble["reason"].as_str().unwrap()).collect()
}

/// Waits until an agent is not ready, for this reason alone, and its metrics are as wanted. Returns the page.
fn wait_unready(league: &League, index: usize, reason: &str, metrics: impl Fn(&Scrape) -> bool) -> Value {
    let started = Instant::now();
    let mut seen = Vec::new();
    let page = wait(
        &format!("{} to be not ready: {reason}", league.agents[index].name),
        || {
            let (status, page) = probe(league, index)?;
            let now = reasons(&page).join(", ");
            if seen.last() != Some(&now) {
                eprintln!("after {:?}: {status} {now}", started.elapsed());
                seen.push(now);
            }
            let told = status == 503 && reasons(&page) == [reason];
            (told && metrics(&Scrape::of(league, index))).then_some(page)
        },
    );
    eprintln!("{reason} told after {:?}", started.elapsed());
    page
}

/// Two processes are stopped without being killed: their connections stay, and no answer comes.
pub fn two_that_say_nothing_are_missed(league: &League) {
    league.freeze(2);
    league.freeze(3);
    for index in [0, 1] {
        wait_unready(league, index, "no-quorum", |scrape| scrape.peers("away") >= 2.0);
    }
    league.thaw(2);
    league.thaw(3);
    wait("all to be connected again", || {
        (Scrape::of(league, 0).peers("away") == 0.0).then_some(())
    });
    league.wait_all_ready();
    league.decides(0);
}

/// `hanse ledger …` for an agent that does not run.
fn offline(league: &League, index: usize, arguments: &[&str]) {
    let output = Command::new(HANSE)
        .arg("ledger")
        .args(arguments)
        .arg("--config")
        .arg(&league.agents[index].config)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Two of four have lost the logs of their votes: all are connected, but only two vote.
pub fn two_that_do_not_vote_make_the_height_stand_still(league: &mut League) {
    // Killed between two blocks, they have no vote under way that they might contradict in the end.
    league.wait_for_blocks(2, 1);
    league.kill(2);
    league.kill(3);
    for index in [2, 3] {
        offline(league, index, &["resync", "--log"]);
        league.spawn(index);
    }
    for index in [0, 1] {
        let page = wait_unready(league, index, "standstill", |scrape| {
            scrape.value("hanse_ledger_standstill") == 1.0 && scrape.peers("connected") == 3.0
        });
        let detail = page["troubles"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("although a quorum is connected"), "{page}");
        assert!(Scrape::of(league, index).value("hanse_ledger_engine_restarts_total") >= 1.0);
    }
    let (status, page) = ready(league, 2);
    assert!(status == 503 && reasons(&page).contains(&"abstains"), "{page}");
    for index in [2, 3] {
        league.kill(index);
        offline(league, index, &["vote", "--old-node-is-gone"]);
        league.spawn(index);
    }
    league.wait_all_ready();
    assert_eq!(Scrape::of(league, 0).value("hanse_ledger_standstill"), 0.0);
}

/// A member's coins are other ones in one node's store: a block that touches them has another state root there.
pub fn a_state_that_differs_is_told(league: &mut League) {
    let account: Address = league.get(0, "/api/v1/health")["account"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    league.kill(3);
    enrich(&league.agents[3].config.with_file_name("ledger/ledger.redb"), account);
    league.spawn(3);
    let fourth = &league.agents[3].name;
    let removal = json!({ "member": fourth, "acceptFewerThanFour": true });
    let (status, answer) = league.post(0, "/api/v1/consortium/removals", &removal);
    assert_eq!(status, 200, "{answer}");
    let page = wait_unready(league, 3, "state-root-mismatch", |scrape| {
        scrape.value("hanse_ledger_state_root_agrees") == 0.0 && scrape.value("hanse_ledger_halted") == 1.0
    });
    let trouble = &page["troubles"][0];
    assert!(
        trouble["detail"]
            .as_str()
            .unwrap()
            .contains("state-root mismatch after height"),
        "{page}"
    );
    assert!(
        trouble["next_step"].as_str().unwrap().contains("hanse ledger resync"),
        "{page}"
    );
    for index in 0..3 {
        league.wait_ready(index);
    }
    assert_eq!(Scrape::of(league, 0).value("hanse_ledger_state_root_agrees"), 1.0);
}

/// Gives an account a coin that nobody ever gave it, in the store of an agent that does not run.
fn enrich(store: &Path, account: Address) {
    const ACCOUNTS: TableDefinition<&[u8; 20], &[u8]> = TableDefinition::new("accounts");
    let store = Database::open(store).unwrap();
    let change = store.begin_write().unwrap();
    {
        let mut accounts = change.open_table(ACCOUNTS).unwrap();
        let row = accounts.get(&account.into_array()).unwrap().unwrap().value().to_vec();
        let mut row: TrieAccount = alloy::rlp::decode_exact(&row).unwrap();
        row.balance += U256::ONE;
        let row = alloy::rlp::encode(row);
        accounts.insert(&account.into_array(), row.as_slice()).unwrap();
    }
    change.commit().unwrap();
}
