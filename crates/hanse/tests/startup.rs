//! What keeps an agent from starting is told in words that say what to do.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::path::Path;
use std::process::{Command, Output};

use league::{HANSE, League};

fn agent(config: &Path) -> Output {
    Command::new("timeout")
        .args(["60", HANSE, "agent", "--config"])
        .arg(config)
        .output()
        .unwrap()
}

fn refused(config: &Path, words: &[&str]) {
    let output = agent(config);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let league = League::prepare(1);
    let address = league.agents[0].api.trim_start_matches("http://").to_owned();
    let _taken = std::net::TcpListener::bind(&address).unwrap();
    refused(&league.agents[0].config, &[&address, "api.listen"]);
}

#[test]
fn a_data_folder_of_another_consortium_is_refused() {
    let mut first = League::prepare(1);
    first.spawn(0);
    first.wait_ready(0);
    first.kill(0);
    let second = League::prepare(1);
    // The first domain's ledger under the second one's genesis.
    let data = |league: &League| league.agents[0].config.parent().unwrap().join("ledger");
    std::fs::rename(data(&first), data(&second)).unwrap();
    refused(&second.agents[0].config, &["genesis"]);
}

#[test]
fn two_agents_with_one_validator_key_do_not_both_run() {
    let mut league = League::prepare(4);
    for index in 0..4 {
        league.spawn(index);
    }
    league.wait_all_ready();
    // A copy of the first domain's keys, with other ports and another folder.
    let original = league.agents[0].config.parent().unwrap().to_owned();
    let copy = original.parent().unwrap().join("copy");
    std::fs::create_dir_all(copy.join("keys")).unwrap();
    for key in std::fs::read_dir(original.join("keys")).unwrap() {
        let key = key.unwrap();
        std::fs::copy(key.path(), copy.join("keys").join(key.file_name())).unwrap();
    }
    std::fs::copy(&league.agents[0].config, copy.join("hanse.yaml")).unwrap();
    let output = Command::new("timeout")
        .args(["60", HANSE, "agent", "--config"])
        .arg(copy.join("hanse.yaml"))
        .args([
            "--set",
            "api.listen=127.0.0.1:0",
            "--set",
            "ledger.embedded.consensusListen=127.0.0.1:0",
        ])
        .args([
            "--set",
            "ledger.embedded.rpcListen=127.0.0.1:0",
            "--set",
            "cluster.development.listen=127.0.0.1:0",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("another node already runs with this validator key"),
        "{text}"
    );
    league.wait_all_ready();
}

#[test]
fn a_listener_that_others_can_reach_needs_a_token() {
    let league = League::prepare(1);
    let output = Command::new(HANSE)
        .args(["agent", "--set", "api.listen=0.0.0.0:0", "--config"])
        .arg(&league.agents[0].config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("api.tokenFile"), "{text}");
}
