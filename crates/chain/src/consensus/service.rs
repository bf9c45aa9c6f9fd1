//! Consensus as a running service: starts the engine, watches over it, restarts it, stops it.

use std::fs::{File, TryLockError};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::{B256, Bytes};
use libp2p::{Multiaddr, PeerId};
use malachitebft_app_channel::Channels;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::abstention::{self, Abstention};
use super::app::{App, Exit, blocking};
use super::blocks::BlockPool;
use super::context::LedgerContext;
use super::engine::{Engine, EngineSettings};
use super::evidence::EvidenceBook;
use super::heights::PeerHeights;
use super::intake::Intake;
use super::peers::{self, Peers};
use super::status::ConsensusStatus;
use super::twin;
use super::validators::ValidatorSet;
use super::watchdog::Watchdog;
use crate::application::{Application, Halt, HeightRules};
use crate::key::ValidatorKey;
use crate::keyring::KeyRing;
use crate::metrics::ConsensusMetrics;

/// Between the death of an engine and its restart.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How long to wait for port and log after the engine has stopped.
const RELEASE_DEADLINE: Duration = Duration::from_secs(10);

/// What consensus needs to know beyond the application.
#[derive(Debug, Clone)]
pub struct ConsensusConfig {
    /// Hash of the genesis block.
    pub ledger: B256,
    /// This validator's keys.
    pub keys: KeyRing,
    /// Where to take connections of other validators.
    pub listen: SocketAddr,
    /// Folder of the write-ahead log.
    pub folder: PathBuf,
    /// Whom to catch up from (multiaddrs that end in `/p2p/<peer id>`) while this node is no validator.
    pub bootstrap: Vec<Multiaddr>,
    /// What changes while it runs.
    pub wishes: watch::Receiver<Wishes>,
}

/// What the operator of a running node may change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Nodes beside the validators that may connect, to catch up before they are admitted.
    pub guests: Vec<PeerId>,
    /// The generation of the key that a rotation under way will put in the place of the present one. A node that its peers
    /// turn away under the present key tries this one: the rotation may have been decided without it.
    pub offered_key: Option<u32>,
}

/// Why consensus did not start.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusStartError {
    /// The port is in use.
    #[error(
        "the consensus address {address} can't be used ({source}); stop the program that holds it, or choose another port"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Another node signs with this key.
    #[error(
        "another node already runs with this validator key and answers at {0}. Two nodes with one key would sign \
         contradicting votes: stop the other node, or give this one its own key and have it admitted as a member"
    )]
    DuplicateKey(Multiaddr),
    /// The ledger can't go on.
    #[error(transparent)]
    Ledger(#[from] Halt),
    /// The engine refused.
    #[error(
        "the consensus engine did not start: {reason}. If it is its write-ahead log {} that it can't read, run `hanse ledger \
         resync --log` and start this node again: it then follows the other members without a vote until it can't contradict \
         a vote that it has forgotten",
        .log.display()
    )]
    Engine {
        /// Its own account.
        reason: String,
        /// Its write-ahead log.
        log: PathBuf,
    },
}

/// What lives on while engines come and go.
pub(super) struct Shared {
    pub(super) application: Arc<dyn Application>,
    pub(super) settings: EngineSettings,
    pub(super) abstention: Option<Abstention>,
    pub(super) keys: KeyRing,
    pub(super) bootstrap: Vec<Multiaddr>,
    pub(super) wishes: watch::Receiver<Wishes>,
    pub(super) status: watch::Sender<ConsensusStatus>,
    pub(super) outgoing: Option<mpsc::Receiver<Bytes>>,
    pub(super) incoming: Intake,
    pub(super) watchdog: Watchdog,
    pub(super) heights: PeerHeights,
    pub(super) evidence: EvidenceBook,
    pub(super) metrics: ConsensusMetrics,
}

/// The running service. Dropping it stops consensus, [`Self::shutdown`] also waits until it has stopped.
#[derive(Debug)]
pub struct Consensus {
    status: watch::Receiver<ConsensusStatus>,
    evidence: EvidenceBook,
    metrics: ConsensusMetrics,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Consensus {
    /// Starts to decide blocks for `application`. Returns when the engine runs, not when peers are connected.
    ///
    /// # Errors
    /// See [`ConsensusStartError`].
    pub async fn start(
        config: ConsensusConfig,
        application: Arc<dyn Application>,
    ) -> Result<Self, ConsensusStartError> {
        let (tip, rules) = blocking(&application, |app| app.rules().map(|rules| (app.tip(), rules))).await??;
        let set = ValidatorSet::from_rules(&rules)?;
        let key = config.keys.generation(config.keys.among(&rules).unwrap_or(0));
        refuse_twin(&rules, &key).await?;
        check_port(config.listen)?;
        let abstention =
            Abstention::at_start(&config.folder, tip.height).map_err(|error| ConsensusStartError::Engine {
                reason: format!("its write-ahead log can't be read: {error}"),
                log: abstention::log(&config.folder, true),
            })?;
        if let Some(abstention) = &abstention {
            tracing::warn!("this node does not vote: {}", abstention.reason());
        }
        let settings = EngineSettings {
            ledger: config.ledger,
            key,
            listen: config.listen,
            votes: abstention.is_none(),
            folder: config.folder.clone(),
            instance: rand::random(),
        };
        let (status, watch) = watch::channel(ConsensusStatus {
            height: tip.height,
            hash: tip.hash,
            last_block: None,
            validators: set.as_slice().len(),
            connected: usize::from(set.contains(&settings.address())),
            quorum: set.quorum(),
            is_validator: set.contains(&settings.address()),
            guests: 0,
            heard: 0,
            highest: None,
            standstill: false,
            abstains: abstention.as_ref().map(Abstention::reason),
            engine_restarts: 0,
            halted: None,
            duplicate_key: false,
        });
        let incoming = Intake::start(application.clone());
        let evidence = EvidenceBook::open(&config.folder);
        let metrics = ConsensusMetrics::default();
        let shared = Shared {
            heights: PeerHeights::default(),
            evidence: evidence.clone(),
            metrics: metrics.clone(),
            outgoing: application.outgoing_transactions(),
            watchdog: Watchdog::new(tip.height, Instant::now()),
            bootstrap: config.bootstrap,
            wishes: config.wishes,
            keys: config.keys,
            application,
            settings,
            abstention,
            status,
            incoming,
        };
        let refused = |reason| ConsensusStartError::Engine {
            reason,
            log: shared.settings.log(),
        };
        let first = start_engine(&shared).await.map_err(refused)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(supervise(shared, first, stop.clone()));
        Ok(Self {
            status: watch,
            evidence,
            metrics,
            stop,
            task: Some(task),
        })
    }

    /// How consensus stands; changes can be awaited.
    pub fn status(&self) -> watch::Receiver<ConsensusStatus> {
        self.status.clone()
    }

    /// What validators did that none may do.
    pub fn evidence(&self) -> &EvidenceBook {
        &self.evidence
    }

    /// What it counts and measures.
    pub fn metrics(&self) -> &ConsensusMetrics {
        &self.metrics
    }

    /// Stops the engine and waits until its port and its log are free.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && task.await.is_err()
        {
            tracing::error!("the consensus task failed while stopping");
        }
    }
}

impl Drop for Consensus {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Running = (Engine, Channels<LedgerContext>, BlockPool, Peers);

async fn start_engine(shared: &Shared) -> Result<Running, String> {
    let rules = blocking(&shared.application, |app| app.rules())
        .await
        .and_then(|rules| rules);
    let rules = rules.map_err(|halt| halt.0)?;
    let guests = shared.wishes.borrow().guests.clone();
    let peers = Peers::new(&rules, &shared.settings.key.public_key(), &shared.bootstrap, &guests);
    let blocks = BlockPool::default();
    let application = shared.application.clone();
    let (engine, channels) =
        Engine::start(&shared.settings, &peers, blocks.clone(), application, &shared.heights).await?;
    Ok((engine, channels, blocks, peers))
}

async fn supervise(mut shared: Shared, first: Running, stop: CancellationToken) {
    let mut running = Some(first);
    while let Some((mut engine, channels, blocks, peers)) = running.take() {
        let exit = match App::new(&mut shared, channels, blocks, peers).await {
            Ok(app) => app.run(&stop).await,
            Err(halt) => Exit::Halted(halt),
        };
        let exit = match exit {
            Exit::EngineDied if engine.hangs_for_safety().await => {
                let height = shared.status.borrow().height + 1;
                Exit::Halted(Halt(format!(
                    "the consensus write-ahead log could not be written or read. Check the disk, and start this node again \
                     when the other members have decided height {height}: before that it might contradict a vote that it has \
                     forgotten. After `hanse ledger resync --log` it waits for that by itself"
                )))
            }
            exit => exit,
        };
        engine.stop().await;
        released(&shared.settings).await;
        match exit {
            Exit::Shutdown => return,
            Exit::Halted(halt) => return halted(&shared, halt.0, false),
            Exit::Twin(reason) => return halted(&shared, reason, true),
            Exit::OtherKey(generation) => {
                shared.settings.key = shared.keys.generation(generation);
                tracing::info!(generation, key = ?shared.settings.key, "going on with another validator key");
                running = restart(&shared, &stop).await;
                continue;
            }
            Exit::MayVote => {
                if let Err(error) = Abstention::unmark(&shared.settings.folder) {
                    return halted(
                        &shared,
                        format!("the mark of a restored node can't be removed: {error}"),
                        false,
                    );
                }
                shared.abstention = None;
                shared.settings.votes = true;
                tracing::info!("this node votes again");
                running = restart(&shared, &stop).await;
                continue;
            }
            Exit::EngineDied => tracing::warn!("the consensus engine died; restarting it"),
            Exit::Stalled => {
                tracing::warn!("the height stands still although a quorum is connected; restarting the engine")
            }
        }
        shared.status.send_modify(|status| status.engine_restarts += 1);
        running = restart(&shared, &stop).await;
    }
}

fn halted(shared: &Shared, reason: String, duplicate_key: bool) {
    tracing::error!(reason, "consensus halted");
    shared.status.send_modify(|status| {
        status.halted = Some(reason);
        status.duplicate_key = duplicate_key;
    });
}

async fn restart(shared: &Shared, stop: &CancellationToken) -> Option<Running> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(RESTART_PAUSE) => {}
        }
        if let Err(error) = check_port(shared.settings.listen) {
            tracing::warn!(%error, "waiting with the restart of the consensus engine");
            continue;
        }
        match start_engine(shared).await {
            Ok(running) => return Some(running),
            Err(error) => tracing::warn!(%error, "the consensus engine did not start again; trying on"),
        }
    }
}

async fn refuse_twin(rules: &HeightRules, key: &ValidatorKey) -> Result<(), ConsensusStartError> {
    let Some(address) = peers::registered_address(rules, &key.public_key()) else {
        return Ok(());
    };
    match twin::who_answers(address.clone()).await {
        Some(answer) if Some(answer.peer) == peers::peer_id(&key.public_key()).ok() => {
            Err(ConsensusStartError::DuplicateKey(address))
        }
        _ => Ok(()),
    }
}

/// Waits until port and log are free. The engine closes its log on a thread that it does not wait for, and the operating
/// system may take a moment to give the port back.
async fn released(settings: &EngineSettings) {
    let deadline = Instant::now() + RELEASE_DEADLINE;
    loop {
        let busy = match (check_port(settings.listen), log_is_locked(&settings.log())) {
            (Err(error), _) => error.to_string(),
            (Ok(()), true) => "the consensus write-ahead log is still open".into(),
            (Ok(()), false) => return,
        };
        if Instant::now() >= deadline {
            tracing::warn!(busy, "the consensus engine has not let go of everything");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn log_is_locked(log: &Path) -> bool {
    File::open(log).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// The engine would go on without a listener, and several processes could listen on one port.
fn check_port(address: SocketAddr) -> Result<(), ConsensusStartError> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|source| ConsensusStartError::Listen { address, source })
}
