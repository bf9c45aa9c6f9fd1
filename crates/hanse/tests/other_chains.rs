//! The same federation on Ethereum chains that somebody else runs: nothing but the address of the ledger differs.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const HANSE: &str = env!("CARGO_BIN_EXE_hanse");

fn tools() -> PathBuf {
    let folder = std::env::var_os("HANSE_TEST_TOOLS").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/hanse/tools"),
        PathBuf::from,
    );
    assert!(folder.join("installed").exists(), "run `cargo xtask tools` first");
    folder.join("node_modules")
}

/// A node that is stopped with the test.
struct Node {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Node {
    fn start(mut command: Command, folder: tempfile::TempDir, port: u16, ready: &str) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Ends with the node's output, if it never says so.
        assert!(
            lines.any(|line| line.unwrap().contains(ready)),
            "the node did not start"
        );
        // Its output must be read on, or it blocks.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
            _folder: folder,
        }
    }

    fn anvil() -> Self {
        let port = hanse_ports::free_address().unwrap().port();
        let mut command = Command::new(tools().join("@foundry-rs/anvil-linux-amd64/bin/anvil"));
        command
            .args(["--port", &port.to_string(), "--hardfork", "cancun"])
            .args(["--gas-price", "0", "--block-base-fee-per-gas", "0"]);
        Self::start(command, tempfile::tempdir().unwrap(), port, "Listening on")
    }

    fn hardhat() -> Self {
        let port = hanse_ports::free_address().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let config = r#"module.exports = { solidity: "0.8.28", networks: { hardhat: {
            hardfork: "cancun", gasPrice: 0, initialBaseFeePerGas: 0, blockGasLimit: 100000000 } } };"#;
        std::fs::write(folder.path().join("hardhat.config.js"), config).unwrap();
        std::fs::write(folder.path().join("package.json"), "{}").unwrap();
        // Hardhat insists on being installed in its project.
        std::os::unix::fs::symlink(tools(), folder.path().join("node_modules")).unwrap();
        let mut command = Command::new("node");
        command
            .arg(folder.path().join("node_modules/hardhat/internal/cli/cli.js"))
            .args(["node", "--hostname", "127.0.0.1", "--port", &port.to_string()])
            .env("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true")
            .current_dir(folder.path());
        Self::start(command, folder, port, "Started HTTP")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn a_component_moves_on(node: &Node) {
    let output = Command::new(HANSE)
        .args([
            "up",
            "--once",
            "--scenario",
            "component",
            "--domains",
            "3",
            "-o",
            "json",
        ])
        .args(["--ledger-url", &node.url])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{stderr}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["agreement"]["steps"].as_array().unwrap().len(), 12);
    assert_eq!(report["service"]["answered"], true);
    assert_eq!(report["service"]["frames_lost"], 0);
}

#[test]
fn a_component_moves_on_anvil() {
    a_component_moves_on(&Node::anvil());
}

#[test]
fn a_component_moves_on_hardhat() {
    a_component_moves_on(&Node::hardhat());
}

#[test]
fn contracts_are_put_on_a_chain_once() {
    let node = Node::anvil();
    let folder = tempfile::tempdir().unwrap();
    let league = folder.path().join("league");
    let prepared = Command::new(HANSE)
        .args(["up", "--prepare", "--domains", "2", "--api-port", "0", "--data"])
        .arg(&league)
        .output()
        .unwrap();
    assert!(
        prepared.status.success(),
        "{}",
        String::from_utf8_lossy(&prepared.stderr)
    );
    let key = folder.path().join("deployer.key");
    std::fs::write(&key, "0x".to_owned() + &"42".repeat(32)).unwrap();
    let deploy = || {
        Command::new(HANSE)
            .args(["ledger", "deploy", "-o", "json", "--url", &node.url, "--key-file"])
            .arg(&key)
            .arg("--genesis")
            .arg(league.join("genesis.json"))
            .arg("--record")
            .arg(folder.path().join("ledger.json"))
            .output()
            .unwrap()
    };
    let refused = deploy();
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("chmod 600"), "{text}");

    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, permissions).unwrap();
    let first = deploy();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let again = deploy();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(first.stdout, again.stdout, "nothing is deployed twice");
    let deployed: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert!(deployed["consortium"].as_str().unwrap().starts_with("0x"), "{deployed}");
}
