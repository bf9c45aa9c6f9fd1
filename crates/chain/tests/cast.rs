//! The ledger as `cast` sees it: a client that nobody here wrote.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/chain.rs"]
mod chain;
mod support;

use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::{B256, hex};
use chain::{Chain, DEADLINE};
use hanse_chain::application::Application;
use hanse_contracts::genesis_addresses;
use serde_json::Value;
use support::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

fn cast_program() -> PathBuf {
    let tools = std::env::var_os("HANSE_TEST_TOOLS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/hanse/tools"));
    let program = tools.join("node_modules/@foundry-rs/cast-linux-amd64/bin/cast");
    assert!(
        program.exists(),
        "{} is missing; run `cargo xtask test`, which installs it",
        program.display()
    );
    program
}

/// Runs cast against the chain; its output, and whether it succeeded.
async fn try_cast(chain: &Chain, arguments: &[&str]) -> (bool, String) {
    let run = Command::new(cast_program())
        .args(arguments)
        .env("ETH_RPC_URL", chain.http())
        .env("FOUNDRY_DISABLE_NIGHTLY_WARNING", "1")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, run).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.success(), text.concat().trim().to_string())
}

async fn cast(chain: &Chain, arguments: &[&str]) -> String {
    let (success, text) = try_cast(chain, arguments).await;
    assert!(success, "cast {}: {text}", arguments.join(" "));
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn cast_deploys_calls_sends_and_reads_logs() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 4).await;
    let federation = genesis_addresses().federation.to_string();
    let secret = |n: u8| hex::encode_prefixed(key(n).to_bytes());

    assert_eq!(cast(&chain, &["chain-id"]).await, CHAIN_ID.to_string());
    assert!(cast(&chain, &["client"]).await.starts_with("hanse/v"));
    assert_eq!(cast(&chain, &["block-number"]).await, "0");
    assert_eq!(cast(&chain, &["gas-price"]).await, "0");
    assert_eq!(
        cast(&chain, &["balance", &key(0).address().to_string()]).await,
        "1000000000000000000"
    );
    assert_eq!(
        cast(&chain, &["call", &federation, "agreementCount()(uint256)"]).await,
        "0"
    );

    let id = B256::repeat_byte(5);
    let announcement = format!(
        "({id},\"from cast\",(9900,50,10,100,500,256,1),{},{},{},60)",
        B256::repeat_byte(6),
        now() + 600,
        now() + 1200
    );
    let announce =
        "announce((bytes32,string,(uint16,uint32,uint32,uint32,uint32,uint32,uint32),bytes32,uint64,uint64,uint32))";
    let secret_0 = secret(0);
    let send = [
        "send",
        "--json",
        "--private-key",
        &secret_0,
        &federation,
        announce,
        &announcement,
    ];
    let receipt: Value = serde_json::from_str(&cast(&chain, &send).await).unwrap();
    assert_eq!(
        (&receipt["status"], &receipt["blockNumber"]),
        (&"0x1".into(), &"0x1".into())
    );
    assert_eq!(
        cast(&chain, &["call", &federation, "agreementCount()(uint256)"]).await,
        "1"
    );

    let topic = "Announced(bytes32,address,string,bytes32,uint64,uint64)";
    let logs = ["logs", "--json", "--from-block", "0", "--address", &federation, topic];
    let logs: Value = serde_json::from_str(&cast(&chain, &logs).await).unwrap();
    assert_eq!(logs[0]["topics"][1], id.to_string());
    assert_eq!(logs[0]["transactionHash"], receipt["transactionHash"]);

    let block: Value = serde_json::from_str(&cast(&chain, &["block", "--json", "latest"]).await).unwrap();
    assert_eq!(block["hash"], chain.ledger.tip().hash.to_string());
    let hash = receipt["transactionHash"].as_str().unwrap();
    let transaction: Value = serde_json::from_str(&cast(&chain, &["tx", "--json", hash]).await).unwrap();
    assert_eq!(transaction["from"], key(0).address().to_string().to_lowercase());

    // An ordinary deployment, as `cast send --create` makes it: code that returns one byte of code.
    let create = [
        "send",
        "--json",
        "--private-key",
        &secret_0,
        "--create",
        "0x6001600c60003960016000f300",
    ];
    let receipt: Value = serde_json::from_str(&cast(&chain, &create).await).unwrap();
    let address = receipt["contractAddress"].as_str().unwrap();
    assert_eq!(cast(&chain, &["code", address]).await, "0x00");

    let secret_1 = secret(1);
    let confirm = [
        "send",
        "--private-key",
        &secret_1,
        &federation,
        "confirm(bytes32)",
        &id.to_string(),
    ];
    let (success, text) = try_cast(&chain, &confirm).await;
    assert!(!success && text.contains("execution reverted"), "{text}");
    let secret_9 = secret(9);
    let stranger = [
        "send",
        "--private-key",
        &secret_9,
        "--gas-limit",
        "21000",
        "--gas-price",
        "0",
        "--legacy",
        address,
    ];
    let (success, text) = try_cast(&chain, &stranger).await;
    assert!(!success && text.contains("not a member of the consortium"), "{text}");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cast_proves_traces_and_subscribes() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let federation = genesis_addresses().federation.to_string();
    let url = chain.ws();
    let mut watching = Command::new(cast_program())
        .args(["logs", "--subscribe", "--rpc-url", &url, "--address", &federation])
        .env("FOUNDRY_DISABLE_NIGHTLY_WARNING", "1")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    // It does not say when it has subscribed: announcements are sent until it shows one.
    let mut nonce = 0;
    let shown = async {
        loop {
            let id = alloy::primitives::keccak256([nonce as u8]);
            chain.ledger.submit(&announce(0, nonce, id)).unwrap();
            nonce += 1;
            while let Ok(line) = tokio::time::timeout(Duration::from_millis(300), lines.next_line()).await {
                let line = line.unwrap().expect("cast goes on");
                if let Some((_, hash)) = line.split_once("transactionHash: ") {
                    return hash.to_string();
                }
            }
        }
    };
    let hash = tokio::time::timeout(DEADLINE, shown).await.unwrap();
    watching.kill().await.unwrap();

    let receipt = cast(&chain, &["receipt", "--json", &hash]).await;
    let receipt: Value = serde_json::from_str(&receipt).unwrap();
    let log = &receipt["logs"][0];
    let options = r#"{"tracer":"callTracer","tracerConfig":{"withLog":true}}"#;
    let trace = cast(&chain, &["rpc", "debug_traceTransaction", &hash, options]).await;
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert_eq!(
        (&trace["type"], &trace["to"]),
        (&"CALL".into(), &federation.to_lowercase().into())
    );
    assert_eq!(trace["logs"][0]["topics"], log["topics"]);
    // Executed again by cast itself, on state that it reads from the block before.
    let run = cast(&chain, &["run", &hash]).await;
    assert!(run.contains("Transaction successfully executed"), "{run}");
    let proof = cast(&chain, &["proof", &federation, "0"]).await;
    let proof: Value = serde_json::from_str(&proof).unwrap();
    assert_eq!(proof["storageHash"], cast(&chain, &["storage-root", &federation]).await);
    let list = cast(&chain, &["access-list", "--json", &federation, "agreementCount()"]).await;
    assert!(list.to_lowercase().contains(&federation.to_lowercase()), "{list}");
    chain.stop().await;
}
