//! The task that owns the network.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::kad::{self, QueryId};
use libp2p::request_response::OutboundRequestId;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, ping, swarm};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::addresses::listen;
use super::announce::Publishing;
use super::ask::Answerers;
use super::blobs::{Blobs, Read};
use super::command::{Answered, Command, LookUpError, StartError};
use super::holding::Holding;
use super::lan::Lan;
use super::lists::Banned;
use super::look::Bootstrap;
use super::messages::Messages;
use super::rates::Rates;
use super::relays::Served;
use super::traffic::AllCounters;
use super::{PeerView, now, off_thread};
use crate::config::SwarmConfig;
use crate::gossip::Member;
use crate::model::{SwarmAddress, UnixMillis};
use crate::network::{Behaviour, BehaviourEvent, HELD_RECORDS, behaviour, transport};
use crate::peers::{Change, PeerTable};
use crate::record::{Announcement, IpnsRecord};
use crate::relay::{Links, Reservations};
use crate::store::Store;

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(500);
/// Who the others are is written down no more often than this: losing it costs a comparison with a neighbour.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// An unused connection is closed after this long. Those with neighbours are used more often.
const IDLE: Duration = Duration::from_secs(600);

/// How many streams of a connection may be at the point where it is not yet said what they are for. More are reset.
const NEGOTIATING: usize = 64;

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
    pub member: Member,
    /// Calls that only see whether somebody is there.
    pub looking: HashSet<ConnectionId>,
    /// Who did not answer a ping and whose connections are being closed.
    silent: HashSet<PeerId>,
    pub store: Store,
    pub changes: broadcast::Sender<Change>,
    pub publishing: Publishing,
    pub traffic: Arc<AllCounters>,
    pub bootstrap: Vec<Bootstrap>,
    pub look_ups: HashMap<QueryId, LookUp>,
    /// Whose address is being asked for.
    pub whereabouts: HashMap<QueryId, PeerId>,
    pub asked: HashMap<OutboundRequestId, oneshot::Sender<Answered>>,
    pub blobs: Blobs,
    pub messages: Messages,
    pub banned: Banned,
    pub rates: Rates,
    pub links: Links,
    pub reservations: Reservations,
    pub served: Served,
    pub lan: Option<Lan>,
    /// Records held for others.
    pub records: Holding,
    /// Others' words that they have blobs.
    pub providers: Holding,
    /// What is known of others changed since it was written to the disk.
    pub unwritten: bool,
    /// Where others can call beside what the configuration says.
    pub external: Vec<Multiaddr>,
    written_at: Option<UnixMillis>,
}

impl Run {
    pub async fn new(
        config: SwarmConfig,
        store: Store,
        changes: broadcast::Sender<Change>,
        answerers: Answerers,
        traffic: Arc<AllCounters>,
    ) -> Result<Self, StartError> {
        let keypair = config.domain.keypair();
        let name = config.domain.peer_id();
        let (circuits, circuits_asked) = libp2p_relay::client::new(name);
        let transport = transport(&config.key, keypair, circuits)?;
        let limits = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(IDLE)
            .with_max_negotiating_inbound_streams(NEGOTIATING);
        let mut swarm = libp2p::Swarm::new(transport, behaviour(&config, circuits_asked), name, limits);
        for address in &config.listen {
            listen(&mut swarm, address).await?;
        }
        for address in &config.external {
            swarm.add_external_address(address.multiaddr().clone());
        }
        let bootstrap = config.bootstrap.iter().map(Bootstrap::new).collect::<Result<_, _>>()?;
        let publishing = Publishing::load(&store, name).await?;
        let table = PeerTable::new(name, config.peers);
        let mut run = Self {
            name,
            member: Member::new(table, config.compare_every, StdRng::from_os_rng()),
            looking: HashSet::new(),
            silent: HashSet::new(),
            changes,
            publishing,
            traffic,
            bootstrap,
            look_ups: HashMap::new(),
            whereabouts: HashMap::new(),
            asked: HashMap::new(),
            blobs: Blobs::default(),
            messages: Messages::new(answerers),
            banned: Banned::default(),
            links: Links::default(),
            reservations: Reservations::default(),
            served: Served::default(),
            lan: config.mdns.then(Lan::start),
            rates: Rates::default(),
            records: Holding::new(HELD_RECORDS),
            providers: Holding::new(HELD_RECORDS),
            unwritten: false,
            external: Vec::new(),
            written_at: None,
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
        self.talk(|member, own| member.tick(own, now));
        self.look(now);
        self.call_bootstrap(now);
        self.use_relays(now);
        self.use_lan(now);
        self.publish(now).await;
        let is_due = |at: UnixMillis| at > now || now.since(at) >= WRITE_EVERY;
        if self.written_at.is_none_or(is_due) {
            self.write_peers().await;
        }
    }

    async fn command(&mut self, command: Command) {
        // Who asked may have given up; then nobody hears the answer.
        match command {
            Command::Publish(statement, done) => {
                let _ = done.send(self.say(&statement).await);
            }
            Command::SetExternal(addresses) => self.set_external(addresses),
            Command::Peers(done) => {
                let _ = done.send(self.peers());
            }
            Command::Status(done) => {
                let _ = done.send(self.status());
            }
            Command::LookUp(name, done) => self.look_up(name, Some(done)),
            Command::Provide(root) => self.provide(root),
            Command::Withdraw(root) => self.withdraw(root),
            Command::FindHolders(root, told) => self.find_holders(root, told),
            Command::Ask(holder, block, done) => self.ask(holder, block, done),
            Command::AskPeer(question) => self.ask_peer(question),
            Command::Ban(peer) => self.ban(peer),
            Command::Block(peer) => self.block(peer),
            Command::Unblock(peer) => self.unblock(peer),
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                num_established,
                connection_id,
                endpoint,
                ..
            } => {
                self.links.opened(connection_id, peer_id, &endpoint, now());
                self.answers(peer_id);
                if num_established.get() == 1 {
                    self.talk(|member, own| member.connected(peer_id, own, now()));
                }
                if self.looking.remove(&connection_id) && !self.member.neighbours().wants(&peer_id) {
                    self.swarm.close_connection(connection_id);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established,
                connection_id,
                ..
            } => {
                self.links.closed(connection_id);
                if num_established > 0 {
                    // The others are looked after for themselves.
                    self.silent.remove(&peer_id);
                    return;
                }
                self.member.disconnected(peer_id, now());
                self.bootstrap_closed(&peer_id);
                if self.silent.remove(&peer_id) {
                    self.call_failed(Some(peer_id), "it does not answer");
                }
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id,
                error,
                connection_id,
            } => {
                self.looking.remove(&connection_id);
                // Too much is going on here: that says nothing about the peer.
                if !matches!(error, DialError::Denied { .. }) {
                    self.call_failed(peer_id, &error.to_string());
                }
            }
            SwarmEvent::IncomingConnectionError {
                error, send_back_addr, ..
            } => {
                let fingerprint = self.config.key.fingerprint();
                tracing::debug!(%error, from = %send_back_addr, %fingerprint, "a connection failed; has it another swarm key?");
            }
            SwarmEvent::NewListenAddr { address, listener_id } => self.listens(listener_id, &address),
            SwarmEvent::ListenerClosed {
                listener_id, reason, ..
            } => self.listens_no_more(listener_id, reason.err()),
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            _ => {}
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                connection_id,
            }) => {
                self.identified(peer_id, connection_id, &info);
                for address in info.listen_addrs {
                    // Only what this swarm can call: others have more transports.
                    if let Ok(address) = SwarmAddress::new(address)
                        && address.relay() != Some(self.name)
                    {
                        self.swarm
                            .behaviour_mut()
                            .kad
                            .add_address(&peer_id, address.multiaddr().clone());
                    }
                }
                self.publishing.somebody_came();
                // Where it is.
                self.unwritten = true;
                self.bootstrap_answers(&peer_id);
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                result,
                connection,
            }) => match result {
                Ok(_) => self.answers(peer),
                // Members that are no Hanse agents need not speak it.
                Err(ping::Failure::Unsupported) => {}
                Err(error) => {
                    tracing::debug!(%peer, %error, "a peer does not answer");
                    self.silent.insert(peer);
                    self.swarm.close_connection(connection);
                }
            },
            BehaviourEvent::Kad(event) => self.kad_event(event),
            BehaviourEvent::Records(event) => self.records_event(event),
            BehaviourEvent::Blocks(event) => self.blocks_event(event),
            BehaviourEvent::Messages(event) => self.messages_event(event),
            BehaviourEvent::Relay(event) => self.served.event(&event),
            BehaviourEvent::Upgrade(event) => self.upgraded(event),
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
                self.hold_provider(record);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => match result {
                kad::QueryResult::GetRecord(result) => self.record_found(id, result, step.last),
                kad::QueryResult::GetProviders(result) => self.holders_found(id, result, step.last),
                kad::QueryResult::GetClosestPeers(result) => self.address_found(id, result, step.last),
                kad::QueryResult::PutRecord(result) => self.put_over(id, result.is_ok()),
                _ => {}
            },
            _ => {}
        }
    }

    fn peers(&mut self) -> Vec<PeerView> {
        let mut addresses = self.places();
        let view = |(name, peer): (&PeerId, &crate::peers::Peer)| PeerView {
            name: *name,
            identity: peer.identity().clone(),
            presence: peer.presence(),
            since: peer.since(),
            route: self.links.route(name),
            addresses: addresses.remove(name).unwrap_or_default(),
        };
        self.member.table.iter().map(view).collect()
    }

    async fn write_peers(&mut self) {
        if !std::mem::take(&mut self.unwritten) {
            return;
        }
        self.written_at = Some(now());
        let records = self.member.table.announcements().map(Announcement::record);
        let peers: Vec<_> = records.map(|record| (record.name(), record.bytes().to_vec())).collect();
        let places = self.places().into_iter();
        let text = |places: Vec<SwarmAddress>| places.iter().map(|it| it.multiaddr().to_string()).collect::<Vec<_>>();
        let places: Vec<_> = places.map(|(name, places)| (name, text(places).join("\n"))).collect();
        let store = self.store.clone();
        if let Err(error) = off_thread(move || store.keep_peers(&peers, &places)).await {
            tracing::warn!(%error, "who the peers are could not be written down; it will be tried with the next change");
        }
    }

    fn read(&mut self, read: Read) {
        self.traffic.sent.block(&read.answer);
        // The asker may have gone.
        let _ = self
            .swarm
            .behaviour_mut()
            .blocks
            .send_response(read.channel, read.answer);
    }
}
