//! One validator as a process of its own: the same node that an agent runs, without the rest of the agent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use alloy::signers::local::PrivateKeySigner;
use anyhow::Context;
use clap::Args;
use hanse_chain::genesis::Genesis;
use hanse_chain::key::ValidatorKey;
use hanse_chain::node::{Node, NodeConfig};
use hanse_chain::snapshot;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::SnapshotConfig;
use crate::consortium::snapshots::{self, Gate};

/// File with the validator's key in its folder.
pub const KEY_FILE: &str = "validator.key";
/// File with the key of the member's account in its folder (hexadecimal).
pub const ACCOUNT_FILE: &str = "account.key";
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
    /// Where to serve snapshots to other members, as an agent does.
    #[arg(long)]
    api: SocketAddr,
}

/// Runs until SIGTERM, or until standard input ends, which it does when the bench is gone.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let genesis = Genesis::load(&arguments.folder.join("..").join(GENESIS_FILE))?;
    let digest = genesis.digest();
    let account = std::fs::read_to_string(arguments.folder.join(ACCOUNT_FILE))?;
    let account: PrivateKeySigner = account.trim().parse().context("the account's key does not decode")?;
    let listener = TcpListener::bind(arguments.api).await?;
    let limits = SnapshotConfig::default();
    let snapshot = snapshot::Settings {
        data_dir: arguments.folder.join(DATA_FOLDER),
        genesis: genesis.clone(),
        fill: false,
        least_blocks: limits.least_blocks,
        most_bytes: limits.most_mebibytes << 20,
    };
    snapshots::fetch(snapshot, &[], &account).await?;
    let node = Node::start(NodeConfig {
        data_dir: arguments.folder.join(DATA_FOLDER),
        genesis,
        keys: ValidatorKey::load(&arguments.folder.join(KEY_FILE))?.into(),
        consensus_listen: arguments.consensus,
        rpc_listen: arguments.rpc,
        bootstrap: Vec::new(),
    })
    .await
    .context("the ledger node did not start")?;
    let stop = CancellationToken::new();
    snapshots::fill(&node, digest, &account, &stop).await?;
    let routes = snapshots::routes(Arc::new(Gate::new(node.snapshots().clone(), digest)));
    let server = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    let server = tokio::spawn(server.into_future());
    tokio::select! {
        _ = terminate.recv() => {}
        () = input_ended() => {}
    }
    stop.cancel();
    node.shutdown().await;
    server.abort();
    Ok(())
}

async fn input_ended() {
    let mut buffer = [0; 64];
    let mut input = tokio::io::stdin();
    while input.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
