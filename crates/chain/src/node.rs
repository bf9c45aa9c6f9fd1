//! One ledger node: the store, execution and mempool behind [`Ledger`], consensus that drives it, and JSON-RPC that reads it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use hanse_metrics::Registry;
use tokio::sync::watch;

use crate::application::Application;
use crate::consensus::{self, Consensus, ConsensusConfig, ConsensusStartError, ConsensusStatus, EvidenceBook, Wishes};
use crate::genesis::Genesis;
use crate::keyring::KeyRing;
use crate::ledger::{Ledger, StateCheck};
use crate::metrics::NodeReading;
use crate::readiness::{self, Unready};
use crate::rpc::{self, NodeInfo, RpcHandle, RpcStartError};
use crate::snapshot::SnapshotServer;
use crate::store::{OpenError, StoreError};

/// Blocks whose transactions every node keeps, at least: others catch up from them.
pub const LEAST_HISTORY: u64 = 1024;

/// Between two rounds of forgetting, each of a few blocks: faster than blocks are made on purpose, slow enough not to be noticed.
const PRUNE_EVERY: Duration = Duration::from_millis(200);

/// How long requests that run when the node stops may take.
const RPC_DEADLINE: Duration = Duration::from_secs(2);

/// How long readers of a stopped node may take to let go of its store.
const RELEASE_DEADLINE: Duration = Duration::from_secs(5);

/// What a node needs to start.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The node's own folder; made if it is missing.
    pub data_dir: PathBuf,
    /// What all nodes of the ledger start from.
    pub genesis: Genesis,
    /// The keys with which it validates: the one that the Consortium contract names. A node none of whose keys belongs to a
    /// member follows the chain without a vote.
    pub keys: KeyRing,
    /// Where it takes consensus connections. The member's consensus address in the Consortium contract must lead here.
    pub consensus_listen: SocketAddr,
    /// Where it serves JSON-RPC over HTTP and WebSocket; port 0 takes any free one. There is no authentication: keep it on
    /// loopback.
    pub rpc_listen: SocketAddr,
    /// Multiaddrs, each with a `/p2p/` peer id, of members from whom to catch up as long as it is no member itself.
    pub bootstrap: Vec<String>,
}

/// Why a node did not start. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder: locked by another process, of another consortium, damaged, full.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Consensus: its port is taken, or another node runs with the same key.
    #[error(transparent)]
    Consensus(#[from] ConsensusStartError),
    /// The JSON-RPC port is taken.
    #[error(transparent)]
    Rpc(#[from] RpcStartError),
    /// The store broke right after it was opened.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// A bootstrap peer can't be dialed.
    #[error("bootstrap peer {address:?}: {reason}; it must look like /ip4/192.0.2.1/tcp/26656/p2p/<peer id>")]
    BootstrapPeer {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A running node. Dropping it stops it soon; [`Self::shutdown`] stops it in order.
#[derive(Debug)]
pub struct Node {
    ledger: Arc<Ledger>,
    consensus: Consensus,
    rpc: RpcHandle,
    data_dir: PathBuf,
    wishes: watch::Sender<Wishes>,
    snapshots: Arc<SnapshotServer>,
}

impl Node {
    /// Starts a node. Returns when it runs; other nodes may not be connected yet.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let bootstrap = config
            .bootstrap
            .iter()
            .map(|address| parse_peer(address))
            .collect::<Result<_, _>>()?;
        let (data_dir, genesis) = (config.data_dir.clone(), config.genesis);
        let ledger = tokio::task::spawn_blocking(move || Ledger::open(&data_dir, &genesis))
            .await
            .expect("opening a ledger returns its errors")?;
        let wishes = watch::Sender::default();
        let consensus = ConsensusConfig {
            ledger: genesis_hash(&ledger)?,
            keys: config.keys,
            listen: config.consensus_listen,
            folder: consensus::folder(&config.data_dir),
            bootstrap,
            wishes: wishes.subscribe(),
        };
        let consensus = Consensus::start(consensus, ledger.clone()).await?;
        match rpc::serve(ledger.clone(), config.rpc_listen, node_info(consensus.status())).await {
            Ok(rpc) => Ok(Self {
                snapshots: serve_snapshots(&ledger),
                ledger,
                consensus,
                rpc,
                data_dir: config.data_dir,
                wishes,
            }),
            Err(error) => {
                consensus.shutdown().await;
                Err(error.into())
            }
        }
    }

    /// Where JSON-RPC is served.
    pub fn rpc_addr(&self) -> SocketAddr {
        self.rpc.address()
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What newcomers fetch to join without replaying history.
    pub fn snapshots(&self) -> &Arc<SnapshotServer> {
        &self.snapshots
    }

    /// How the node stands. Cheap.
    pub fn status(&self) -> ConsensusStatus {
        self.consensus.status().borrow().clone()
    }

    /// How the node stands, to wait for changes.
    pub fn watch_status(&self) -> watch::Receiver<ConsensusStatus> {
        self.consensus.status()
    }

    /// What validators did that none may do, as this node saw it. The record survives restarts.
    pub fn evidence(&self) -> EvidenceBook {
        self.consensus.evidence().clone()
    }

    /// Tells why the node is not ready, whenever asked; nothing if it is. Does not keep the node's store open.
    pub fn readiness(&self) -> impl Fn() -> Vec<Unready> + Send + Sync + 'static {
        let (status, ledger) = (self.consensus.status(), Arc::downgrade(&self.ledger));
        move || {
            let state = ledger.upgrade().map(|ledger| ledger.state_check());
            let unknown = StateCheck {
                height: 0,
                agrees: true,
            };
            readiness::unready(&status.borrow(), state.unwrap_or(unknown))
        }
    }

    /// Puts the node's figures into a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.ledger.metrics().register(registry);
        self.consensus.metrics().register(registry);
        let reading = NodeReading {
            ledger: Arc::downgrade(&self.ledger),
            status: self.consensus.status(),
            evidence: self.evidence(),
            data_dir: self.data_dir.clone(),
        };
        hanse_metrics::register(registry, reading);
    }

    /// Keeps the transactions of the newest `blocks` blocks ([`LEAST_HISTORY`] at least), and forgets older ones while the node
    /// runs, but never those from `needed` on: the height of the first block that somebody here has yet to read.
    pub fn keep_newest(&self, blocks: u64, needed: impl Fn() -> u64 + Send + 'static) {
        let ledger = Arc::downgrade(&self.ledger);
        let snapshots = self.snapshots.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PRUNE_EVERY).await;
                let Some(ledger) = ledger.upgrade() else { return };
                let (height, floor) = (ledger.head().height(), ledger.earliest());
                let to = height.saturating_sub(blocks.max(LEAST_HISTORY)).min(needed());
                // Who fetches a state goes on with the blocks after it.
                let to = snapshots.oldest().map_or(to, |oldest| to.min(oldest));
                if to <= floor {
                    continue;
                }
                let pruned = tokio::task::spawn_blocking(move || ledger.prune(to)).await;
                if let Ok(Err(error)) = pruned {
                    tracing::error!(%error, "old transactions could not be forgotten; going on with all of them");
                    return;
                }
            }
        });
    }

    /// What the operator may change while the node runs: who may catch up from it, and which key comes next.
    pub fn wishes(&self) -> watch::Sender<Wishes> {
        self.wishes.clone()
    }

    /// Stops taking requests, then consensus, then the rest. When it returns, ports and store are free.
    pub async fn shutdown(self) {
        self.snapshots.close();
        self.rpc.shutdown(RPC_DEADLINE).await;
        self.consensus.shutdown().await;
        let deadline = Instant::now() + RELEASE_DEADLINE;
        while Arc::strong_count(&self.ledger) > 1 {
            if Instant::now() >= deadline {
                tracing::warn!("the stopped node's store is still being read; it stays locked until that ends");
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// States that nobody fetches any more are let go by the clock.
fn serve_snapshots(ledger: &Arc<Ledger>) -> Arc<SnapshotServer> {
    let snapshots = Arc::new(SnapshotServer::new(ledger));
    let watched = Arc::downgrade(&snapshots);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let Some(snapshots) = watched.upgrade() else { return };
            snapshots.let_go();
        }
    });
    snapshots
}

fn node_info(status: watch::Receiver<ConsensusStatus>) -> NodeInfo {
    let highest = status.clone();
    NodeInfo {
        peer_count: Arc::new(move || {
            let status = status.borrow();
            status.connected.saturating_sub(usize::from(status.is_validator))
        }),
        highest_block: {
            let status = highest;
            Arc::new(move || status.borrow().highest)
        },
        ..NodeInfo::alone()
    }
}

fn genesis_hash(ledger: &Ledger) -> Result<B256, StoreError> {
    let genesis = ledger.head().snapshot().header_at(0)?;
    Ok(genesis.expect("a store that opened holds block 0").1)
}

fn parse_peer(address: &str) -> Result<libp2p::Multiaddr, StartError> {
    let error = |reason: String| StartError::BootstrapPeer {
        address: address.into(),
        reason,
    };
    let parsed: libp2p::Multiaddr = address
        .parse()
        .map_err(|e: libp2p::multiaddr::Error| error(e.to_string()))?;
    match parsed.iter().last() {
        Some(libp2p::multiaddr::Protocol::P2p(_)) => Ok(parsed),
        _ => Err(error("no peer id at its end".into())),
    }
}
