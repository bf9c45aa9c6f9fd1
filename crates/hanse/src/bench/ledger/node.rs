//! One validator as a process of its own: the same node that an agent runs, without the rest of the agent.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use hanse_chain::genesis::Genesis;
use hanse_chain::key::ValidatorKey;
use hanse_chain::node::{Node, NodeConfig};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// File with the validator's key in its folder.
pub const KEY_FILE: &str = "validator.key";
/// File beside the validators' folders from which all of them start.
pub const GENESIS_FILE: &str = "genesis.json";
/// Folder of the store in the validator's folder.
pub const DATA_FOLDER: &str = "ledger";

/// Options of the hidden `hanse bench node`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder with the key; the genesis lies beside it.
    #[arg(long)]
    folder: PathBuf,
    /// Where to take consensus connections.
    #[arg(long)]
    consensus: SocketAddr,
    /// Where to serve JSON-RPC.
    #[arg(long)]
    rpc: SocketAddr,
}

/// Runs until SIGTERM, or until standard input ends, which it does when the bench is gone.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let node = Node::start(NodeConfig {
        data_dir: arguments.folder.join(DATA_FOLDER),
        genesis: Genesis::load(&arguments.folder.join("..").join(GENESIS_FILE))?,
        keys: ValidatorKey::load(&arguments.folder.join(KEY_FILE))?.into(),
        consensus_listen: arguments.consensus,
        rpc_listen: arguments.rpc,
        bootstrap: Vec::new(),
    })
    .await
    .context("the ledger node did not start")?;
    tokio::select! {
        _ = terminate.recv() => {}
        () = input_ended() => {}
    }
    node.shutdown().await;
    Ok(())
}

async fn input_ended() {
    let mut buffer = [0; 64];
    let mut input = tokio::io::stdin();
    while input.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
