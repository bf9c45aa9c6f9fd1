//! The same measurement on anvil: one node, no consensus, nothing on disk. It is the floor.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, ensure};
use hanse_contracts::IConsortium;
use hanse_ports::free_address;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::latency::{self, Measured, Offer};
use super::load::Target;
use super::network::LAN;
use super::rpc::Rpc;

const READY_WITHIN: Duration = Duration::from_secs(30);
const CHAIN_ID: u64 = 31_337;
/// Where the tools of the tests lie within their folder.
const IN_TOOLS: &str = "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";

/// The program: what was asked for, else that of the tests' tools, else whatever the search path has.
pub fn program(asked: Option<PathBuf>) -> PathBuf {
    let tools = std::env::var_os("HANSE_TEST_TOOLS")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/hanse/tools")))
        .map(|tools| tools.join(IN_TOOLS))
        .filter(|program| program.exists());
    asked.or(tools).unwrap_or_else(|| "anvil".into())
}

/// Starts anvil, puts the contracts on it, and measures.
pub async fn measure(program: PathBuf, rate: f64, seconds: u64) -> anyhow::Result<Measured> {
    let address = free_address()?;
    let _anvil = start(&program, address)?;
    let rpc = Rpc::new(address)?;
    let deadline = Instant::now() + READY_WITHIN;
    while rpc.height().await.is_err() {
        ensure!(Instant::now() < deadline, "anvil does not answer");
        sleep(Duration::from_millis(20)).await;
    }
    let signers: Vec<PrivateKeySigner> = (0..4).map(|_| PrivateKeySigner::random()).collect();
    let founders = signers.iter().enumerate().map(|(index, signer)| founder(index, signer));
    let url = format!("http://{address}").parse()?;
    let deployer = PrivateKeySigner::random();
    let foundation = hanse_ledger::Foundation {
        founders: founders.collect(),
        parameters: (&LAN).into(),
    };
    let contracts = hanse_ledger::deploy(&url, &deployer, &foundation)
        .await
        .context("the contracts could not be put on anvil")?;
    latency::measure(Offer {
        target: Target {
            chain_id: CHAIN_ID,
            federation: contracts.federation,
        },
        senders: signers.iter().map(|signer| (signer, rpc.clone())).collect(),
        nodes: vec![rpc.clone()],
        rate,
        seconds,
    })
    .await
}

fn start(program: &PathBuf, address: SocketAddr) -> anyhow::Result<Child> {
    Command::new(program)
        .args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()])
        .args(["--chain-id", &CHAIN_ID.to_string()])
        .args(["--hardfork", "cancun", "--gas-price", "0", "--block-base-fee-per-gas", "0"])
        .arg("--silent")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!(
                "could not start {}; install @foundry-rs/anvil from npm and name its program with --anvil, or leave the \
                 part out with --only",
                program.display()
            )
        })
}

fn founder(index: usize, signer: &PrivateKeySigner) -> IConsortium::MemberInfo {
    IConsortium::MemberInfo {
        account: signer.address(),
        validatorKey: alloy::primitives::keccak256(format!("validator {index}")),
        sealingKey: alloy::primitives::keccak256(format!("sealing {index}")),
        name: format!("member-{index}"),
        consensusAddress: format!("/ip4/127.0.0.1/tcp/{}", 30_000 + index),
        peerId: String::new(),
        url: String::new(),
    }
}
