//! The ledger as the clients see it that the world uses: each deploys a contract, calls it, sends to it, reads its logs and
//! subscribes. `cast` has its own file. Their accounts own no coins.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/chain.rs"]
mod chain;
mod support;

use std::path::{Path, PathBuf};

use alloy::network::EthereumWallet;
use alloy::primitives::{B256, keccak256};
use alloy::providers::{Provider, ProviderBuilder};
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;
use chain::{Chain, DEADLINE};
use futures::StreamExt;
use hanse_chain::genesis::Genesis;
use hanse_chain::ledger::Ledger;
use hanse_contracts::{Federation, genesis_addresses};
use support::*;
use tokio::process::Command;

/// A chain of which nobody owns a coin.
async fn chain(folder: &Path) -> Chain {
    let genesis = Genesis {
        balances: Default::default(),
        ..genesis(2)
    };
    Chain::with(Ledger::open(folder, &genesis).unwrap(), 2).await
}

/// Runs one of the programs in `clients/` beside the npm packages, where Node.js looks for what it imports.
async fn run_node(program: &str) {
    let folder = tempfile::tempdir().unwrap();
    let chain = chain(folder.path()).await;
    let tools = std::env::var_os("HANSE_TEST_TOOLS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/hanse/tools"));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = tools.join("node_modules").join(program);
    assert!(
        package.exists(),
        "{} is missing; run `cargo xtask test`, which installs it",
        package.display()
    );
    let workplace = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(tools.join("node_modules"), workplace.path().join("node_modules")).unwrap();
    let script = workplace.path().join("client.mjs");
    std::fs::copy(manifest.join("tests/clients").join(format!("{program}.mjs")), &script).unwrap();
    let run = Command::new("node")
        .arg(&script)
        .env("HTTP_URL", chain.http())
        .env("WS_URL", chain.ws())
        .env("CHAIN_ID", CHAIN_ID.to_string())
        .env("SECRET", alloy::hex::encode_prefixed(key(0).to_bytes()))
        .env("ARTIFACT", manifest.join("../../contracts/artifacts/Federation.json"))
        .env("CONSORTIUM", genesis_addresses().consortium.to_string())
        .env("UNTIL", (now() + 600).to_string())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE * 2, run).await.expect("in time").unwrap();
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success() && text[0].trim() == "ok", "{}", text.concat());
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ethers_deploys_calls_sends_reads_logs_and_subscribes() {
    run_node("ethers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn web3_deploys_calls_sends_reads_logs_and_subscribes() {
    run_node("web3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alloy_deploys_calls_sends_reads_logs_and_subscribes() {
    let folder = tempfile::tempdir().unwrap();
    let chain = chain(folder.path()).await;
    // Gas, nonces and chain id are asked of the node. The price is named: alloy's own is a wei at least.
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(key(0)))
        .connect(&chain.http())
        .await
        .unwrap();
    let socket = ProviderBuilder::new().connect(&chain.ws()).await.unwrap();
    let deploy = Federation::deploy_builder(provider.clone(), genesis_addresses().consortium);
    let address = deploy.gas_price(0).deploy().await.unwrap();
    let federation = Federation::new(address, provider.clone());
    assert!(federation.agreementCount().call().await.unwrap().is_zero());

    let mut heads = socket.subscribe_blocks().await.unwrap().into_stream();
    let filter = Filter::new()
        .address(address)
        .event_signature(Federation::Announced::SIGNATURE_HASH);
    let mut logs = socket.subscribe_logs(&filter).await.unwrap().into_stream();
    let id = keccak256("from alloy");
    let sent = federation.announce(announcement(id)).gas_price(0).send().await.unwrap();
    let receipt = sent.with_timeout(Some(DEADLINE)).get_receipt().await.unwrap();
    assert!(receipt.status());
    let in_time = async { (heads.next().await.unwrap(), logs.next().await.unwrap()) };
    let (head, log) = tokio::time::timeout(DEADLINE, in_time).await.unwrap();
    assert_eq!(head.hash, receipt.block_hash.unwrap());
    assert_eq!(log.transaction_hash, Some(receipt.transaction_hash));
    assert_eq!(log.topics()[1], id);
    let found = provider.get_logs(&filter.from_block(0)).await.unwrap();
    assert_eq!(found, [log]);
    assert_eq!(federation.agreementCount().call().await.unwrap().to::<u64>(), 1);

    let refused = federation.confirm(B256::ZERO).call().await.err().unwrap();
    assert!(
        refused.as_decoded_error::<Federation::UnknownAgreement>().is_some(),
        "{refused}"
    );
    chain.stop().await;
}
