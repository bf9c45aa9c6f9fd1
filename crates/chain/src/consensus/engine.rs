//! Starts and stops the Malachite engine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;
use futures::future::join_all;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use malachitebft_app_channel::app::config::NodeConfig;
use malachitebft_app_channel::{
    Channels, ConsensusContext, EngineBuilder, EngineHandle, NetworkContext, NetworkIdentity, RequestContext,
    SyncContext,
};
use malachitebft_codec::Codec as _;
use malachitebft_config::{
    ConsensusConfig, DiscoveryConfig, GossipSubConfig, P2pConfig, ProtocolNames, PubSubMaxSizePerTopic, PubSubProtocol,
    ValuePayload, ValueSyncConfig,
};
use malachitebft_signing::Signer as _;
use ractor::ActorCell;

use super::abstention;
use super::blocks::BlockPool;
use super::codec::{
    MAX_CONSENSUS_MESSAGE, MAX_LIVENESS_MESSAGE, MAX_PART_MESSAGE, MAX_SMALL_MESSAGE, MAX_SYNC_RESPONSE, WalCodec,
    WireCodec,
};
use super::context::{LedgerContext, ValidatorAddress};
use super::heights::PeerHeights;
use super::peers::{self, Peers};
use super::signing::{DurableSigner, Signer, Verifier};
use super::wal;
use crate::application::Application;
use crate::key::ValidatorKey;

/// How long the engine may take to stop before it is left to itself.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Connections from one address: all nodes of a league may run on one machine.
const CONNECTIONS_PER_IP: usize = 200;

/// What stays the same over restarts of the engine.
#[derive(Clone)]
pub struct EngineSettings {
    /// Hash of the genesis block: names the ledger.
    pub ledger: B256,
    /// This validator's key.
    pub key: ValidatorKey,
    /// Where to take connections.
    pub listen: SocketAddr,
    /// Folder of the write-ahead logs.
    pub folder: PathBuf,
    /// Whether the node may vote; see [`super::abstention`].
    pub votes: bool,
    /// Tells this running node from any other with the same key.
    pub instance: u64,
}

impl EngineSettings {
    /// The address under which this node votes; nobody's if it does not.
    pub fn address(&self) -> ValidatorAddress {
        match self.votes {
            true => ValidatorAddress::of_key(&self.key.public_key()),
            false => ValidatorAddress([0; 20]),
        }
    }

    /// The write-ahead log. That of a node that votes is not touched while it does not.
    pub fn log(&self) -> PathBuf {
        abstention::log(&self.folder, self.votes)
    }

    /// What the node calls itself to those who connect.
    pub fn name(&self) -> String {
        format!("{}-{:016x}", self.address(), self.instance)
    }

    fn config(&self, peers: &Peers) -> Config {
        let p2p = P2pConfig {
            listen_addr: multiaddr(self.listen),
            persistent_peers: peers.addresses().cloned().collect(),
            persistent_peers_only: true,
            discovery: DiscoveryConfig {
                enabled: false,
                max_connections_per_ip: CONNECTIONS_PER_IP,
                num_inbound_peers: CONNECTIONS_PER_IP,
                num_outbound_peers: CONNECTIONS_PER_IP,
                ip_throttle_duration: Duration::ZERO,
                ..Default::default()
            },
            protocol: PubSubProtocol::GossipSub(gossip()),
            // Above the largest message by what gossipsub's signature and framing take.
            pubsub_max_size: byte_size(MAX_PART_MESSAGE + 4096),
            pubsub_max_size_per_topic: PubSubMaxSizePerTopic {
                consensus: Some(byte_size(MAX_CONSENSUS_MESSAGE)),
                proposal_parts: Some(byte_size(MAX_PART_MESSAGE)),
                liveness: Some(byte_size(MAX_LIVENESS_MESSAGE)),
            },
            rpc_max_size: byte_size(MAX_SYNC_RESPONSE),
            // Nodes of another ledger are turned away when they identify themselves.
            protocol_names: ProtocolNames {
                consensus: format!("/hanse/consensus/1/{}", hex::encode(&self.ledger[..16])),
                ..Default::default()
            },
            ..Default::default()
        };
        Config {
            moniker: self.name(),
            consensus: ConsensusConfig {
                p2p,
                value_payload: ValuePayload::ProposalAndParts,
                ..Default::default()
            },
            value_sync: ValueSyncConfig {
                status_update_interval: Duration::from_secs(1),
                request_timeout: Duration::from_secs(5),
                max_request_size: byte_size(MAX_SMALL_MESSAGE),
                max_response_size: byte_size(MAX_SYNC_RESPONSE),
                batch_size: 20,
                ..Default::default()
            },
        }
    }
}

/// Authors send to everyone, since all members are connected to each other; the mesh through which messages are forwarded
/// besides, to those whom an author can't reach, is thin. Persistent peers are not "explicit" peers in the sense of
/// gossipsub: those are forwarded everything by everyone, so that each node would receive, and check, a copy from each other.
fn gossip() -> GossipSubConfig {
    let (mesh, high, low, outbound) = (2, 4, 1, 1);
    let (scoring, explicit_peering, flood_publish) = (false, false, true);
    GossipSubConfig::new(mesh, high, low, outbound, scoring, explicit_peering, flood_publish)
}

/// The configuration's size type, which its crate does not export.
fn byte_size<T: FromStr<Err: std::fmt::Debug>>(bytes: usize) -> T {
    bytes.to_string().parse().expect("a number is a size in bytes")
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

#[derive(Clone)]
struct Config {
    moniker: String,
    consensus: ConsensusConfig,
    value_sync: ValueSyncConfig,
}

impl NodeConfig for Config {
    fn moniker(&self) -> &str {
        &self.moniker
    }

    fn consensus(&self) -> &ConsensusConfig {
        &self.consensus
    }

    fn consensus_mut(&mut self) -> &mut ConsensusConfig {
        &mut self.consensus
    }

    fn value_sync(&self) -> &ValueSyncConfig {
        &self.value_sync
    }

    fn value_sync_mut(&mut self) -> &mut ValueSyncConfig {
        &mut self.value_sync
    }
}

/// The running engine.
pub struct Engine {
    handle: EngineHandle,
    /// Hears the heights of other nodes.
    listener: Option<ActorCell>,
}

impl Engine {
    /// Starts the engine. Blocks that its write-ahead log holds are put into `blocks`; `application` is flushed before
    /// anything is signed.
    ///
    /// # Errors
    /// The engine's own account of why it can't start, most likely that the write-ahead log is locked.
    pub async fn start(
        settings: &EngineSettings,
        peers: &Peers,
        blocks: BlockPool,
        application: Arc<dyn Application>,
        heights: &PeerHeights,
    ) -> Result<(Self, Channels<LedgerContext>), String> {
        let config = settings.config(peers);
        let address = settings.address();
        let signer = Signer::new(settings.ledger, settings.key.signing_key());
        let keypair = peers::keypair(&settings.key);
        let peer = keypair.public().to_peer_id().to_bytes();
        let proof = signer
            .sign_validator_proof(settings.key.public_key().to_vec(), peer)
            .await
            .map_err(|error| error.to_string())?;
        let proof = WireCodec.encode(&proof).map_err(|error| error.to_string())?;
        // The others know it by its key, whether or not it votes.
        let known_as = ValidatorAddress::of_key(&settings.key.public_key()).to_string();
        let identity = NetworkIdentity::new_validator(config.moniker.clone(), keypair, known_as, proof);
        let verifier = Box::new(Verifier::new(settings.ledger));
        let consensus = match settings.votes {
            true => {
                ConsensusContext::new_validator(address, verifier, Box::new(DurableSigner::new(signer, application)))
            }
            false => ConsensusContext::new_full_node(address, verifier),
        };
        let log = wal::start(settings.log(), WalCodec::new(blocks)).await?;
        let log_cell = log.get_cell();
        let built = EngineBuilder::new(LedgerContext, config)
            .with_custom_wal(log)
            .with_default_network(NetworkContext::new(identity, WireCodec))
            .with_default_sync(SyncContext::new(WireCodec))
            .with_default_consensus(consensus)
            .with_default_request(RequestContext::new(16))
            .build()
            .await;
        let (channels, handle) = match built {
            Ok(built) => built,
            Err(report) => {
                // It is not among what the engine stops when it can't be built.
                let _ = log_cell.stop_and_wait(None, Some(STOP_DEADLINE)).await;
                return Err(format!("{report:#}"));
            }
        };
        // A node that can't hear heights still decides blocks; it will say that it has not heard the others.
        let listener = heights.listen(&handle.actor.get_cell().get_children()).await;
        if listener.is_none() {
            tracing::warn!("the heights of other nodes can't be heard; this node can't tell whether it is in sync");
        }
        Ok((Self { handle, listener }, channels))
    }

    /// Stops all actors: the log is closed and the port is free when this returns. Drop the channels first, so that no
    /// actor waits for an answer.
    pub async fn stop(self) {
        // The supervisor kills all actors as soon as one of them stops, and a network actor that is killed leaves its
        // connections and its listener behind. So the actors are taken from it and stopped one beside the other.
        if let Some(listener) = self.listener {
            listener.stop(None);
        }
        let supervisor = self.handle.actor.get_cell();
        let actors = supervisor.get_children();
        for actor in &actors {
            actor.unlink(supervisor.clone());
        }
        let reason = || Some("the node stops".to_owned());
        let stops = actors
            .iter()
            .map(|actor| actor.stop_and_wait(reason(), Some(STOP_DEADLINE)));
        for result in join_all(stops).await {
            if let Err(error) = result {
                tracing::debug!(%error, "a part of the consensus engine had stopped before, or did not stop in time");
            }
        }
        self.handle.actor.stop(reason());
        if tokio::time::timeout(STOP_DEADLINE, self.handle.handle).await.is_err() {
            tracing::warn!("the consensus engine did not stop in time");
        }
    }

    /// After its channels have closed: whether the engine keeps itself stopped because it could not trust its
    /// write-ahead log. It must then not be restarted, or it might contradict its own votes.
    pub async fn hangs_for_safety(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(2), &mut self.handle.handle)
            .await
            .is_err()
    }
}
