//! The operator's commands on a league of real agents: what they show, and that backups, restored validators and damaged
//! stores are what the documentation promises, whatever is killed when.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use league::{HANSE, League, wait};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// `hanse ledger …` with an answer in JSON.
fn ledger(arguments: &[&str]) -> Result<Value, String> {
    let output: Output = Command::new(HANSE)
        .arg("ledger")
        .args(arguments)
        .args(["-o", "json"])
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// What `hanse ledger …` says to people.
fn told(arguments: &[&str]) -> String {
    let output: Output = Command::new(HANSE).arg("ledger").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn config(league: &League, index: usize) -> &str {
    league.agents[index].config.to_str().unwrap()
}

fn data(league: &League, index: usize) -> PathBuf {
    league.agents[index].config.with_file_name("ledger")
}

fn status(league: &League, index: usize) -> Option<Value> {
    ledger(&["status", "--api", &league.agents[index].api]).ok()
}

/// Runs a command and kills it after this long; whether it had ended by itself before.
fn kill_after(delay: Duration, arguments: &[&str]) -> bool {
    let mut child = Command::new(HANSE)
        .arg("ledger")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The moment of the kill is what varies here; nothing is waited for.
    std::thread::park_timeout(delay);
    child.kill().unwrap();
    child.wait().unwrap().success()
}

/// The agent's refusal to start.
fn refusal(config: &Path) -> String {
    let output = Command::new("timeout")
        .args(["90", HANSE, "agent", "--config"])
        .arg(config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

fn rpc(url: &str, method: &str, parameters: Value) -> Value {
    let url = url.replace("ws://", "http://");
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters });
    let answer = reqwest::blocking::Client::new()
        .post(url)
        .json(&request)
        .send()
        .unwrap();
    answer.json::<Value>().unwrap()["result"].clone()
}

/// The only store that an agent has, in use or moved aside.
fn only_store(league: &League, index: usize) -> PathBuf {
    let files = std::fs::read_dir(data(league, index)).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let stores: Vec<PathBuf> = files
        .filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("ledger.redb"))
        .collect();
    assert_eq!(stores.len(), 1, "{stores:?}");
    stores.into_iter().next().unwrap()
}

/// Kills `resync` at random moments: the store is where it was or aside, the same it was, and the log of votes stays.
fn killed_while_it_moves_the_store_aside(league: &League, index: usize) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let resync = ["resync", "--config", config(league, index)];
    let store = data(league, index).join("ledger.redb");
    let log = data(league, index).join("consensus/consensus.wal");
    let before = [&store, &log].map(|file| std::fs::read(file).unwrap());
    let started = Instant::now();
    ledger(&resync).unwrap();
    let takes = started.elapsed();
    let mut moved = 0;
    for _ in 0..20 {
        std::fs::rename(only_store(league, index), &store).unwrap();
        kill_after(takes.mul_f64(random.random_range(0.0..1.2)), &resync);
        let found = only_store(league, index);
        moved += u32::from(found != store);
        assert!(before == [&found, &log].map(|file| std::fs::read(file).unwrap()));
    }
    println!("{moved} of 20 had moved it before they were killed; uninterrupted it takes {takes:?}");
}

#[test]
fn a_running_ledger_is_shown_verified_and_backed_up_and_a_restored_validator_votes_when_it_may() {
    let mut league = League::start(4);
    let api = league.agents[0].api.clone();

    // What is there is shown.
    let page = status(&league, 0).unwrap();
    assert_eq!(page["members"].as_array().unwrap().len(), 4, "{page}");
    assert_eq!(
        (&page["node"]["quorum"], &page["node"]["validates"]),
        (&json!(3), &json!(true))
    );
    assert!(page["node"]["abstains"].is_null(), "{page}");
    let fourth = &league.agents[3].name;
    let (code, answer) = league.post(
        0,
        "/api/v1/consortium/removals",
        &json!({ "member": fourth, "acceptFewerThanFour": true }),
    );
    assert_eq!(code, 200, "{answer}");
    let blocks = ledger(&["blocks", "--limit", "200", "--api", &api]).unwrap();
    let full = blocks
        .as_array()
        .unwrap()
        .iter()
        .find(|block| block["transactions"] == 1)
        .unwrap();
    let number = format!("{:#x}", full["height"].as_u64().unwrap());
    let block = rpc(
        page["url"].as_str().unwrap(),
        "eth_getBlockByNumber",
        json!([number, false]),
    );
    assert_eq!(block["hash"], full["hash"]);
    let hash = block["transactions"][0].as_str().unwrap();
    let shown = ledger(&["tx", hash, "--api", &api]).unwrap();
    assert_eq!(
        (&shown["outcome"], &shown["command"]["contract"]),
        (&json!("succeeded"), &json!("Consortium"))
    );
    assert_eq!(shown["command"]["name"], "proposeRemoval", "{shown}");
    assert_eq!(shown["fromName"], json!(league.agents[0].name));
    assert!(!shown["events"].as_array().unwrap().is_empty(), "{shown}");
    // People are told by names whom the addresses mean.
    let text = told(&["tx", hash, "--api", &api]);
    let target = text.lines().find(|line| line.contains("target: ")).unwrap();
    assert!(target.ends_with(&format!(" ({fourth})")), "{text}");
    let text = told(&["blocks", "--to", "1", "--api", &api]);
    let proposers: Vec<&str> = text.lines().skip(1).collect();
    let members: Vec<&str> = league.agents.iter().map(|agent| &*agent.name).collect();
    assert!(
        members.iter().any(|name| proposers[0].contains(&format!("{name} (0x"))),
        "{text}"
    );
    assert!(proposers[1].contains(" genesis "), "{text}");
    let nothing = ledger(&["tx", &format!("0x{}", "77".repeat(32)), "--api", &api]).unwrap_err();
    assert!(nothing.contains("no transaction"), "{nothing}");
    for milliseconds in [20, 50, 80] {
        let delay = Duration::from_millis(milliseconds);
        kill_after(delay, &["verify", "--config", config(&league, 0)]);
    }
    let verified = wait("a turn to verify", || {
        ledger(&["verify", "--config", config(&league, 0)]).ok()
    });
    assert_eq!((&verified["good"], &verified["executed"]), (&json!(true), &json!(true)));
    let scratch = league.agents[0].config.with_file_name("verify-scratch");
    assert!(!scratch.exists(), "nothing is left of verifications that were killed");

    // A backup has its name when it is whole, whenever its maker is killed.
    let folder = league.folder.path().to_owned();
    for milliseconds in [5, 20, 40, 60, 80, 120] {
        let file = folder.join(format!("backup-{milliseconds}"));
        kill_after(
            Duration::from_millis(milliseconds),
            &["backup", file.to_str().unwrap(), "--api", &api],
        );
        if file.exists() {
            hanse_chain::store::check_backup(std::fs::File::open(&file).unwrap()).unwrap();
        }
    }
    let file = folder.join("backup");
    let file = file.to_str().unwrap();
    let taken = wait("a turn to back up", || ledger(&["backup", file, "--api", &api]).ok());
    assert!(
        ledger(&["backup", file, "--api", &api])
            .unwrap_err()
            .contains("is there already")
    );
    assert!(
        ledger(&["restore", file, "--config", config(&league, 0)])
            .unwrap_err()
            .contains("is there already")
    );

    // Nor does it have its name when the agent is killed that sends it, and that agent goes on.
    let source = league.agents[2].api.clone();
    for milliseconds in [10, 25, 40] {
        let file = folder.join(format!("broken-off-{milliseconds}"));
        let mut taking = Command::new(HANSE)
            .args(["ledger", "backup", file.to_str().unwrap(), "--api", &source])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::park_timeout(Duration::from_millis(milliseconds));
        league.kill(2);
        let whole = taking.wait().unwrap().success();
        assert_eq!(file.exists(), whole);
        if whole {
            hanse_chain::store::check_backup(std::fs::File::open(&file).unwrap()).unwrap();
        }
        league.spawn(2);
        wait("the agent that was killed", || status(&league, 2));
    }

    // The fourth loses its disk, the log of its votes included, and is restored, with interruptions.
    league.kill(3);
    std::fs::remove_dir_all(data(&league, 3)).unwrap();
    let store = data(&league, 3).join("ledger.redb");
    for milliseconds in [5, 20, 40, 70, 100, 130] {
        kill_after(
            Duration::from_millis(milliseconds),
            &["restore", file, "--config", config(&league, 3)],
        );
        if store.exists() {
            break;
        }
    }
    if !store.exists() {
        let restored = ledger(&["restore", file, "--config", config(&league, 3)]).unwrap();
        assert_eq!(
            (&restored["hash"], &restored["abstains"]),
            (&taken["hash"], &json!(true))
        );
    }
    let verified = ledger(&["verify", "--config", config(&league, 3)]).unwrap();
    assert_eq!(verified["hash"], taken["hash"]);
    league.spawn(3);
    let first = wait("the restored agent", || status(&league, 3));
    assert!(
        first["node"]["abstains"].is_string() && first["node"]["validates"] == false,
        "{first}"
    );
    wait("the restored validator to vote", || {
        let page = status(&league, 3)?;
        (page["node"]["abstains"].is_null() && page["node"]["validates"] == true).then_some(())
    });

    // It does: without the second there are three of four left, all of which are needed.
    league.kill(1);
    league.wait_for_blocks(0, 3);

    // The second's store is damaged. That is said, it is moved aside, and the log of its votes stays.
    let store = data(&league, 1).join("ledger.redb");
    let length = std::fs::metadata(&store).unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(&store)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let text = refusal(&league.agents[1].config);
    assert!(
        text.contains("damaged") && text.contains("hanse ledger resync"),
        "{text}"
    );
    assert!(ledger(&["verify", "--config", config(&league, 1)]).is_err());
    killed_while_it_moves_the_store_aside(&league, 1);
    let moved = ledger(&["resync", "--config", config(&league, 1)]).unwrap();
    assert_eq!(moved["abstains"], false, "the log is there");
    let aside = only_store(&league, 1);
    assert_ne!(aside, store);
    // The one that was killed last may have been quicker.
    assert!(
        moved["movedTo"].is_null() || moved["movedTo"] == json!(aside),
        "{moved}"
    );
    assert_eq!(
        std::fs::metadata(aside).unwrap().len(),
        length / 2,
        "nothing is deleted"
    );
    league.spawn(1);
    wait("the second to validate again", || {
        let page = status(&league, 1)?;
        (page["node"]["abstains"].is_null() && page["node"]["validates"] == true).then_some(())
    });
    league.kill(2);
    league.wait_for_blocks(0, 3);
    assert_eq!(
        ledger(&["verify", "--config", config(&league, 1)]).unwrap()["good"],
        true
    );

    // The third's log is damaged. It is given up, with interruptions, and the third votes when it can't contradict itself.
    let consensus = data(&league, 2).join("consensus");
    let log = consensus.join("consensus.wal");
    std::fs::write(&log, [0xff; 100]).unwrap();
    let text = refusal(&league.agents[2].config);
    assert!(text.contains("hanse ledger resync --log"), "{text}");
    for milliseconds in [5, 15, 25, 35] {
        kill_after(
            Duration::from_millis(milliseconds),
            &["resync", "--log", "--config", config(&league, 2)],
        );
        assert!(
            log.exists() || consensus.join("abstains").exists(),
            "without its log it must not vote"
        );
    }
    let moved = ledger(&["resync", "--log", "--config", config(&league, 2)]).unwrap();
    assert_eq!((&moved["abstains"], log.exists()), (&json!(true), false));
    league.spawn(2);
    let first = wait("the third agent", || status(&league, 2));
    assert!(first["node"]["abstains"].is_string(), "{first}");
    let ready = reqwest::blocking::get(format!("{}/api/v1/ready", league.agents[2].api)).unwrap();
    assert_eq!(ready.status(), 503, "it is not ready before it votes");
    let reasons = ready.text().unwrap();
    assert!(reasons.contains("abstains"), "{reasons}");
    wait("the third to vote", || {
        let page = status(&league, 2)?;
        (page["node"]["abstains"].is_null() && page["node"]["validates"] == true).then_some(())
    });
    league.kill(0);
    league.wait_for_blocks(1, 3);
}

#[test]
fn a_store_in_use_is_neither_moved_nor_restored_over() {
    let league = League::start(1);
    let error = ledger(&["resync", "--config", config(&league, 0)]).unwrap_err();
    assert!(error.contains("stop the agent first"), "{error}");
    let error = ledger(&["vote", "--old-node-is-gone", "--config", config(&league, 0)]).unwrap_err();
    assert!(error.contains("stop the agent first"), "{error}");
    league.wait_for_blocks(0, 1);
}
