//! The same federation on Ethereum chains that somebody else runs: nothing but the address of the ledger differs.

#![allow(clippy::unwrap_used, missing_docs)]

mod deploying;
mod endpoints;
#[path = "../league/mod.rs"]
mod league;
mod node;
mod providers;
mod replaced;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use league::HANSE;
use node::Node;
use serde_json::Value;

/// A scenario takes a few seconds on an idle machine.
const SCENARIO_WITHIN: Duration = Duration::from_secs(240);

/// Runs one scenario of `hanse up --once` on the chain and returns its report.
fn once(node: &Node, scenario: &[&str]) -> Value {
    let output = tempfile::tempdir().unwrap();
    let (stdout, stderr) = (output.path().join("stdout"), output.path().join("stderr"));
    let mut process = Command::new(HANSE)
        .args(["up", "--once", "-o", "json", "--domains", "3", "--scenario"])
        .args(scenario)
        .args(["--ledger-url", &node.url()])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&stdout).unwrap())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > SCENARIO_WITHIN {
            let _ = process.kill();
            let _ = process.wait();
            panic!(
                "{scenario:?} took longer than {SCENARIO_WITHIN:?}: {}",
                std::fs::read_to_string(&stderr).unwrap()
            );
        }
        std::thread::park_timeout(Duration::from_millis(50));
    };
    let stdout = std::fs::read_to_string(&stdout).unwrap();
    assert!(
        status.success(),
        "{}\n{stdout}",
        std::fs::read_to_string(&stderr).unwrap()
    );
    serde_json::from_str(&stdout).unwrap()
}

/// All three, one after the other on one chain, with contracts of their own.
fn every_scenario_holds_on(node: &Node) {
    for (scenario, left, moved) in [
        (&["whole"][..], 0, 1),
        (&["component"], 0, 1),
        (&["scale", "--replicas", "3", "--move", "2"], 1, 2),
    ] {
        let report = once(node, scenario);
        assert_eq!(report["agreement"]["scenario"], scenario[0]);
        assert_eq!(report["agreement"]["steps"].as_array().unwrap().len(), 12, "{report}");
        assert_eq!(report["service"]["answered"], true);
        assert_eq!(report["service"]["frames_lost"], 0);
        assert_eq!(report["replicas"]["consumer"], left, "{report}");
        assert_eq!(report["replicas"]["provider"], moved, "{report}");
    }
}

#[test]
fn every_scenario_holds_on_anvil() {
    every_scenario_holds_on(&Node::anvil(&[]));
}

#[test]
fn every_scenario_holds_on_hardhat() {
    every_scenario_holds_on(&Node::hardhat());
}
