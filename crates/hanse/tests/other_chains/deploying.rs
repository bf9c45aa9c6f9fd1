//! `hanse ledger deploy`, and what agents and `hanse check` say of a chain that is not the right one.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::league::{HANSE, League, log, wait};
use crate::node::Node;

/// What the command needs, in a folder of its own.
struct Desk {
    folder: tempfile::TempDir,
    url: String,
}

impl Desk {
    fn new(node: &Node) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prepared = Command::new(HANSE)
            .args(["up", "--prepare", "--domains", "2", "--api-port", "0", "--data"])
            .arg(folder.path().join("league"))
            .output()
            .unwrap();
        assert!(prepared.status.success(), "{}", text(&prepared.stderr));
        let desk = Self {
            folder,
            url: node.url(),
        };
        std::fs::write(desk.key(), "0x".to_owned() + &"42".repeat(32)).unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(desk.key(), permissions).unwrap();
        desk
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("deployer.key")
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("ledger.json")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(HANSE);
        command
            .args(["ledger", "deploy", "-o", "json", "--url", &self.url, "--key-file"])
            .arg(self.key())
            .arg("--genesis")
            .arg(self.folder.path().join("league/genesis.json"))
            .arg("--record")
            .arg(self.record());
        command
    }

    fn deploy(&self) -> Output {
        self.command().output().unwrap()
    }

    fn planned(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.record()).ok()?).ok()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn kill(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn contracts_are_put_on_a_chain_once() {
    let node = Node::anvil(&[]);
    let desk = Desk::new(&node);
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(desk.key(), permissions).unwrap();
    let refused = desk.deploy();
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("chmod 600"), "{}", text(&refused.stderr));

    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(desk.key(), permissions).unwrap();
    let first = desk.deploy();
    assert!(first.status.success(), "{}", text(&first.stderr));
    let again = desk.deploy();
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(first.stdout, again.stdout, "nothing is deployed twice");
    let deployed: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(deployed["chainId"], 31337, "{deployed}");
    let genesis = node.call("eth_getBlockByNumber", json!(["0x0", false]));
    assert_eq!(deployed["genesisHash"], genesis["hash"]);

    // The same record on another chain.
    let other = Node::anvil(&["--chain-id", "4711"]);
    let elsewhere = Desk {
        url: other.url(),
        ..desk
    };
    let refused = elsewhere.deploy();
    assert!(!refused.status.success());
    let words = text(&refused.stderr);
    assert!(words.contains("4711") && words.contains("31337"), "{words}");
}

/// Killed when it has planned, when it has sent the first creation, and when it has sent the second: the next run goes on
/// with the same plan.
#[test]
fn a_deployment_that_is_killed_is_gone_on_with() {
    for moment in ["planned", "first sent", "second sent"] {
        let node = Node::anvil(&[]);
        let desk = Desk::new(&node);
        let pending = || node.call("txpool_status", json!([]))["pending"] == "0x1";
        node.call("evm_setAutomine", json!([false]));
        let process = desk
            .command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let plan = wait("the plan", || desk.planned());
        if moment != "planned" {
            wait("the first creation", || pending().then_some(()));
        }
        if moment == "second sent" {
            node.call("evm_mine", json!([]));
            wait("the second creation", || pending().then_some(()));
        }
        kill(process);
        node.call("evm_setAutomine", json!([true]));
        // What was sent before is not necessarily in a block when the next run looks.
        let again = desk.deploy();
        assert!(again.status.success(), "{moment}: {}", text(&again.stderr));
        let deployed: Value = serde_json::from_slice(&again.stdout).unwrap();
        assert_eq!(deployed, plan, "killed when {moment}");
        let count = node.call("eth_getTransactionCount", json!([plan["deployer"], "latest"]));
        assert_eq!(count, "0x2", "killed when {moment}: two contracts and no more");
    }
}

fn check(league: &League) -> (bool, String) {
    let output = Command::new(HANSE)
        .args(["check", "-o", "json", "--config"])
        .arg(&league.agents[0].config)
        .output()
        .unwrap();
    (output.status.success(), text(&output.stdout))
}

#[test]
fn an_agent_and_the_check_refuse_another_chain_and_contracts_that_are_not_there() {
    let node = Node::anvil(&[]);
    let mut league = League::prepare_with(2, &["--ledger-url", &node.url()]);
    let (well, found) = check(&league);
    assert!(well && found.contains("with the contracts on it"), "{found}");

    let other = Node::anvil(&["--chain-id", "4711"]);
    let config = league.agents[0].config.clone();
    let right = std::fs::read_to_string(&config).unwrap();
    let port = |node: &Node| format!(":{}", node.port);
    let zeros = right.lines().find(|line| line.contains("federation:")).unwrap();
    let missing = format!("  federation: \"0x{}\"", "77".repeat(20));
    for (wrong, words) in [
        (right.replace(&port(&node), &port(&other)), &["4711", "31337"][..]),
        (right.replace(zeros, &missing), &["no contract", "7777"]),
    ] {
        assert_ne!(wrong, right);
        std::fs::write(&config, wrong).unwrap();
        let (well, found) = check(&league);
        assert!(!well && words.iter().all(|word| found.contains(word)), "{found}");
        league.spawn(0);
        wait("the agent to refuse", || {
            let log = log(&config);
            words.iter().all(|word| log.contains(word)).then_some(())
        });
        league.kill(0);
    }
}
