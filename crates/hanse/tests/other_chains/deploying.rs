//! `hanse ledger deploy`.

use std::process::Command;

use serde_json::Value;

use crate::league::HANSE;
use crate::node::Node;

#[test]
fn contracts_are_put_on_a_chain_once() {
    let node = Node::anvil(&[]);
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
            .args(["ledger", "deploy", "-o", "json", "--url", &node.url(), "--key-file"])
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
