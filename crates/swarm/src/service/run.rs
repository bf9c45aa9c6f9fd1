//! The task that owns the network.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use libp2p::kad::{self, QueryId};
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, ping, swarm};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::announce::Publishing;
use super::ask::Answerers;
use super::blobs::{Blobs, Read};
use super::command::{Answered, Command, LookUpError, StartError};
use super::look::Bootstrap;
use super::messages::Messages;
use super::{PeerView, Status, now, off_thread};
use crate::config::SwarmConfig;
use crate::model::{SwarmAddress, UnixMillis};
use crate::network::{Behaviour, BehaviourEvent, behaviour, transport};
use crate::peers::{Change, PeerTable};
use crate::record::{Announcement, IpnsRecord};
use crate::store::Store;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(500);
/// An unused connection is closed after this long.
const IDLE: Duration = Duration::from_secs(120);

/// A lookup of a record by name: the best valid one so far, and who waits for it.
pub(super) struct LookUp {
    pub name: PeerId,
    pub best: Option<IpnsRecord>,
    pub asked_by: Option<oneshot::Sender<Result<Announcement, LookUpError>>>,
}

/// All that the task has.
pub(super) struct Run {
    pub config: SwarmConfig,
    pub name: PeerId,
    pub swarm: libp2p::Swarm<Behaviour>,
    pub table: PeerTable,
    pub store: Store,
    pub changes: broadcast::Sender<Change>,
    pub publishing: Publishing,
    pub bootstrap: Vec<Bootstrap>,
    pub look_ups: HashMap<QueryId, LookUp>,
    /// Whose address is being asked for.
    pub whereabouts: HashMap<QueryId, PeerId>,
    pub asked: HashMap<OutboundRequestId, oneshot::Sender<Answered>>,
    pub blobs: Blobs,
    pub messages: Messages,
    pub compared_at: Option<UnixMillis>,
    /// What is known of others changed since it was written to the disk.
    pub unwritten: bool,
}

impl Run {
    pub async fn new(
        config: SwarmConfig,
        store: Store,
        changes: broadcast::Sender<Change>,
        answerers: Answerers,
    ) -> Result<Self, StartError> {
        let keypair = config.domain.keypair();
        let name = config.domain.peer_id();
        let transport = transport(&config.key, keypair)?;
        let limits = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE);
        let mut swarm = libp2p::Swarm::new(transport, behaviour(keypair, config.is_public()), name, limits);
        for address in &config.listen {
            listen(&mut swarm, address).await?;
        }
        for address in &config.external {
            swarm.add_external_address(address.multiaddr().clone());
        }
        let bootstrap = config.bootstrap.iter().map(Bootstrap::new).collect::<Result<_, _>>()?;
        let publishing = Publishing::load(&store, name).await?;
        let mut run = Self {
            name,
            table: PeerTable::new(name, config.peers),
            changes,
            publishing,
            bootstrap,
            look_ups: HashMap::new(),
            whereabouts: HashMap::new(),
            asked: HashMap::new(),
            blobs: Blobs::default(),
            messages: Messages::new(answerers),
            compared_at: None,
            unwritten: false,
            config,
            swarm,
            store,
        };
        run.remember_peers().await?;
        Ok(run)
    }

    /// Until the handle is gone.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.swarm.select_next_some() => self.event(event),
                read = self.blobs.next_read() => self.read(read),
                answering = self.messages.next_answer() => self.answer_asked(answering),
                command = commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => break,
                },
                _ = tick.tick() => self.tick().await,
            }
        }
        self.write_peers().await;
    }

    async fn tick(&mut self) {
        let now = now();
        let changes = self.table.passed(now);
        self.tell_changes(changes);
        self.look(now);
        self.call_bootstrap(now);
        self.compare_with_neighbour(now);
        self.publish(now).await;
        self.write_peers().await;
    }

    async fn command(&mut self, command: Command) {
        // Who asked may have given up; then nobody hears the answer.
        match command {
            Command::Publish(statement, done) => {
                let _ = done.send(self.say(&statement).await);
            }
            Command::Peers(done) => {
                let _ = done.send(self.peers());
            }
            Command::Status(done) => {
                let _ = done.send(self.status());
            }
            Command::LookUp(name, done) => self.look_up(name, Some(done)),
            Command::Provide(root) => self.provide(root),
            Command::FindHolders(root, done) => self.find_holders(root, done),
            Command::Ask(holder, block, done) => self.ask(holder, block, done),
            Command::AskPeer(question) => self.ask_peer(question),
            Command::Ban(peer) => {
                tracing::warn!(%peer, "sent a block that is not the one it was asked for; it is banned");
                self.swarm.behaviour_mut().blocked.block_peer(peer);
            }
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                num_established,
                ..
            } => {
                self.reached(peer_id);
                if num_established.get() == 1 {
                    self.greet(peer_id);
                }
            }
            // Too much is going on here: that says nothing about the peer.
            SwarmEvent::OutgoingConnectionError {
                error: DialError::Denied { .. },
                ..
            } => {}
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                self.call_failed(peer_id, &error.to_string());
            }
            SwarmEvent::IncomingConnectionError {
                error, send_back_addr, ..
            } => {
                let fingerprint = self.config.key.fingerprint();
                tracing::debug!(%error, from = %send_back_addr, %fingerprint, "a connection failed; has it another swarm key?");
            }
            SwarmEvent::NewListenAddr { address, .. } => tracing::info!(%address, "listening"),
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            _ => {}
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                for address in info.listen_addrs {
                    // Only what this swarm can call: others have more transports.
                    if let Ok(address) = SwarmAddress::new(address) {
                        self.swarm
                            .behaviour_mut()
                            .kad
                            .add_address(&peer_id, address.multiaddr().clone());
                    }
                }
                self.publishing.somebody_came();
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                result,
                connection,
            }) => match result {
                Ok(_) => self.reached(peer),
                Err(_) => {
                    self.swarm.close_connection(connection);
                }
            },
            BehaviourEvent::Kad(event) => self.kad_event(event),
            BehaviourEvent::Records(event) => self.records_event(event),
            BehaviourEvent::Blocks(event) => self.blocks_event(event),
            BehaviourEvent::Messages(event) => self.messages_event(event),
            _ => {}
        }
    }

    fn kad_event(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest {
                request:
                    kad::InboundRequest::PutRecord {
                        source,
                        record: Some(record),
                        ..
                    },
            } => {
                self.hold(source, record);
            }
            kad::Event::InboundRequest {
                request: kad::InboundRequest::AddProvider { record: Some(record) },
            } => {
                // The store has its own bounds, and libp2p takes a peer's word for itself only.
                let _ = kad::store::RecordStore::add_provider(self.swarm.behaviour_mut().kad.store_mut(), record);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => match result {
                kad::QueryResult::GetRecord(result) => self.record_found(id, result, step.last),
                kad::QueryResult::GetProviders(result) => self.holders_found(id, result, step.last),
                kad::QueryResult::GetClosestPeers(result) => self.address_found(id, result, step.last),
                kad::QueryResult::PutRecord(result) => self.publishing.put_over(id, result.is_ok(), now()),
                _ => {}
            },
            _ => {}
        }
    }

    fn peers(&self) -> Vec<PeerView> {
        let view = |(name, peer): (&PeerId, &crate::peers::Peer)| PeerView {
            name: *name,
            identity: peer.identity().clone(),
            presence: peer.presence(),
            since: peer.since(),
            connected: self.swarm.is_connected(name),
        };
        self.table.iter().map(view).collect()
    }

    fn status(&mut self) -> Status {
        let with_name = |address: &Multiaddr| SwarmAddress::new(address.clone().with_p2p(self.name).ok()?).ok();
        let mut addresses: Vec<_> = self.swarm.external_addresses().filter_map(with_name).collect();
        if addresses.is_empty() {
            addresses = self.swarm.listeners().filter_map(with_name).collect();
        }
        Status {
            fingerprint: self.config.key.fingerprint(),
            addresses,
            connected: self.swarm.connected_peers().count(),
            held_records: kad::store::RecordStore::records(self.swarm.behaviour_mut().kad.store_mut()).count(),
            published: self.publishing.is_put(),
            unreachable: self.bootstrap.iter().filter_map(Bootstrap::trouble).collect(),
        }
    }

    pub(super) fn tell_changes(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.unwritten = true;
            // Nobody may be listening.
            let _ = self.changes.send(change);
        }
    }

    async fn write_peers(&mut self) {
        if !std::mem::take(&mut self.unwritten) {
            return;
        }
        let records = self.table.announcements().map(Announcement::record);
        let peers: Vec<_> = records.map(|record| (record.name(), record.bytes().to_vec())).collect();
        let store = self.store.clone();
        if let Err(error) = off_thread(move || store.keep_peers(&peers)).await {
            tracing::warn!(%error, "who the peers are could not be written down; it will be tried with the next change");
        }
    }

    fn read(&mut self, read: Read) {
        // The asker may have gone.
        let _ = self
            .swarm
            .behaviour_mut()
            .blocks
            .send_response(read.channel, read.answer);
    }
}

/// Listens, and waits until the system has said where.
async fn listen(swarm: &mut libp2p::Swarm<Behaviour>, address: &SwarmAddress) -> Result<(), StartError> {
    let failed = |reason: String| StartError::Listen {
        address: address.to_string(),
        reason,
    };
    let listener = swarm
        .listen_on(address.multiaddr().clone())
        .map_err(|error| failed(error.to_string()))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, .. } if listener_id == listener => return Ok(()),
            SwarmEvent::ListenerClosed {
                listener_id,
                reason: Err(error),
                ..
            } if listener_id == listener => {
                return Err(failed(error.to_string()));
            }
            SwarmEvent::ListenerError { listener_id, error } if listener_id == listener => {
                return Err(failed(error.to_string()));
            }
            _ => {}
        }
    }
}
