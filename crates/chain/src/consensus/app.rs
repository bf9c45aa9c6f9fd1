//! The application loop: one task that answers the engine and decides when heights start.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use alloy::primitives::{Address, Bytes};
use malachitebft_app_channel::app::engine::host::{HeightParams, Next};
use malachitebft_app_channel::app::events::RxEvent;
use malachitebft_app_channel::{AppMsg, Channels, NetworkRequest, Reply};
use malachitebft_core_consensus::SignedConsensusMsg;
use malachitebft_core_types::{NilOrVal, Validator as _, Vote as _};
use malachitebft_engine::util::events::Event;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::abstention::Abstention;
use super::assembly::Assembly;
use super::blocks::BlockPool;
use super::context::{Height, LedgerContext, ValidatorAddress};
use super::farewell::Farewell;
use super::gate::Gate;
use super::heights::credible;
use super::identity::{Alone, Watch};
use super::pace::{KNOCK_AFTER, Pace, Wake};
use super::peers::Peers;
use super::service::Shared;
use super::status::ConsensusStatus;
use super::validators::{ValidatorSet, timeouts};
use super::value::Part;
use crate::application::{Application, Halt, HeightRules, Tip};

/// Transactions of this node that wait to be sent, at most; more are left in the mempool's channel.
const OUTGOING: usize = 4096;

/// After a message of transactions, those that follow are gathered for this long: each message is signed, and checked by
/// every other node. A lone transaction goes out at once.
const GATHER: Duration = Duration::from_millis(5);

/// Why the loop ended.
#[derive(Debug)]
pub enum Exit {
    /// The node is being stopped.
    Shutdown,
    /// The engine closed its channel or asks for what can't be.
    EngineDied,
    /// The height stands still.
    Stalled,
    /// The node must not go on.
    Halted(Halt),
    /// Another node runs with this node's key; the reason in words.
    Twin(String),
    /// The node did not vote, and now may.
    MayVote,
    /// The node has to go on with the key of this generation.
    OtherKey(u32),
}

impl From<Halt> for Exit {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

/// The reply to `Finalized`, held back until there is a reason for a block.
pub(super) struct Held {
    pub(super) reply: Reply<Next<LedgerContext>>,
    pub(super) pace: Pace,
}

/// The engine waits for its first height.
struct Waiting {
    gate: Gate,
    reply: Reply<(Height, HeightParams<LedgerContext>)>,
}

/// How many other nodes are connected.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Connected {
    validators: usize,
    guests: usize,
}

/// The state of the loop while one engine runs.
pub(super) struct App<'a> {
    pub(super) shared: &'a mut Shared,
    pub(super) me: ValidatorAddress,
    pub(super) channels: Channels<LedgerContext>,
    events: RxEvent<LedgerContext>,
    pub(super) blocks: BlockPool,
    pub(super) assembly: Assembly,
    pub(super) tip: Tip,
    pub(super) rules: HeightRules,
    pub(super) set: ValidatorSet,
    pub(super) peers: Peers,
    /// The newest height whose block came by sync.
    pub(super) synced: Option<Height>,
    /// A height that is not to decide yet, but that a peer works on.
    pub(super) peer_ahead: Option<Height>,
    pub(super) held: Option<Held>,
    gate: Option<Waiting>,
    /// When to wake the others, unless a proposal is seen first.
    pub(super) knock_at: Option<Instant>,
    /// When this node began with which height.
    pub(super) began: Option<(Height, Instant)>,
    unsent: VecDeque<Bytes>,
    /// Before this, transactions are gathered.
    gossip_at: Instant,
    /// Accounts of the validators before and after the set changed last: evidence is about a height before.
    accounts: (HashMap<ValidatorAddress, Address>, HashMap<ValidatorAddress, Address>),
    pub(super) farewell: Farewell,
    pub(super) twin: Watch,
    pub(super) alone: Alone,
}

impl<'a> App<'a> {
    /// Reads the state from which this engine starts.
    pub async fn new(
        shared: &'a mut Shared,
        channels: Channels<LedgerContext>,
        blocks: BlockPool,
        peers: Peers,
    ) -> Result<Self, Halt> {
        let (tip, rules) = blocking(&shared.application, |app| app.rules().map(|rules| (app.tip(), rules))).await??;
        let set = ValidatorSet::from_rules(&rules)?;
        blocks.forget(Height(tip.height));
        let mut app = Self {
            me: shared.settings.address(),
            events: channels.events.subscribe(),
            assembly: Assembly::default(),
            synced: None,
            peer_ahead: None,
            held: None,
            gate: None,
            knock_at: None,
            began: None,
            unsent: VecDeque::new(),
            gossip_at: Instant::now(),
            accounts: Default::default(),
            farewell: Farewell::default(),
            twin: Watch::new(Instant::now()),
            alone: Alone::default(),
            shared,
            channels,
            blocks,
            tip,
            rules,
            set,
            peers,
        };
        app.know_accounts();
        Ok(app)
    }

    /// The account of a validator of this height or the one before.
    pub(super) fn account_behind(&self, validator: &ValidatorAddress) -> Option<Address> {
        let (before, now) = &self.accounts;
        now.get(validator).or_else(|| before.get(validator)).copied()
    }

    /// Remembers who the validators of the next height are, beside those of this one.
    pub(super) fn know_accounts(&mut self) {
        let validators = self.set.as_slice().iter();
        let next: HashMap<_, _> = validators.map(|it| (*it.address(), it.account())).collect();
        let present = std::mem::replace(&mut self.accounts.1, next);
        self.accounts.0 = present;
    }

    /// Serves the engine until something ends it.
    pub async fn run(mut self, stop: &CancellationToken) -> Exit {
        let mut waiting = self.shared.application.waiting();
        let mut heard = self.shared.heights.count();
        let mut second = ticker(Duration::from_secs(1));
        let mut gate_tick = ticker(Duration::from_millis(25));
        self.report(None);
        loop {
            let now = Instant::now();
            if let Some(wake) = self
                .held
                .as_ref()
                .and_then(|held| held.pace.wake(now, *waiting.borrow_and_update()))
            {
                self.start_height(wake);
            }
            let timer = self.next_timer();
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Exit::Shutdown),
                message = self.channels.consensus.recv() => match message {
                    Some(message) => self.on_message(message).await,
                    None => Err(Exit::EngineDied),
                },
                event = self.events.recv() => {
                    self.on_event(event);
                    Ok(())
                }
                transaction = receive(&mut self.shared.outgoing), if self.unsent.len() < OUTGOING => {
                    self.unsent.push_back(transaction);
                    self.send_transactions().await
                }
                // A closed watch means that the application is gone; the loop then lives on heartbeats until stopped.
                Ok(()) = waiting.changed() => Ok(()),
                () = sleep_until(timer.into()) => self.on_timer().await,
                _ = gate_tick.tick(), if self.gate.is_some() => self.try_gate().await,
                answer = self.twin.answered() => self.on_answer(answer),
                Ok(()) = heard.changed() => {
                    let connected = self.connected().await;
                    self.report(Some(connected));
                    Ok(())
                }
                Ok(()) = self.shared.wishes.changed() => {
                    self.update_peers().await;
                    Ok(())
                }
                _ = second.tick() => self.on_second().await,
            };
            if let Err(exit) = result {
                return exit;
            }
        }
    }

    fn next_timer(&self) -> Instant {
        let heartbeat = self.held.as_ref().map(|held| held.pace.heartbeat_at());
        let gossip = (!self.unsent.is_empty()).then_some(self.gossip_at);
        let none = || Instant::now() + Duration::from_secs(3600);
        [heartbeat, self.knock_at, gossip]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(none)
    }

    async fn on_timer(&mut self) -> Result<(), Exit> {
        if self.knock_at.is_some_and(|at| at <= Instant::now()) {
            self.knock_at = None;
            self.publish(Part::Knock(self.next_height())).await?;
        }
        self.send_transactions().await
    }

    /// Answers the held question: consensus starts on the next height.
    pub(super) fn start_height(&mut self, wake: Wake) {
        let Some(held) = self.held.take() else { return };
        tracing::debug!(height = %self.next_height(), ?wake, "starting the next height");
        // A node that is behind starts alone and must not wake the others.
        self.knock_at = (wake != Wake::Behind && wake != Wake::Peer).then(|| Instant::now() + KNOCK_AFTER);
        let next = Next::Start(self.next_height(), self.height_params());
        if held.reply.send(next).is_err() {
            tracing::debug!("the engine no longer waits for its next height");
        }
    }

    pub(super) fn next_height(&self) -> Height {
        Height(self.tip.height + 1)
    }

    pub(super) fn height_params(&self) -> HeightParams<LedgerContext> {
        HeightParams::new(self.set.clone(), timeouts(&self.rules.parameters), None)
    }

    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(u64::from(self.rules.parameters.heartbeat_ms))
    }

    async fn on_message(&mut self, message: AppMsg<LedgerContext>) -> Result<(), Exit> {
        match message {
            AppMsg::ConsensusReady { reply } => {
                self.gate = Some(Waiting {
                    gate: Gate::new(Instant::now()),
                    reply,
                });
                Ok(())
            }
            AppMsg::StartedRound {
                height,
                round,
                reply_value,
                ..
            } => self.on_started_round(height, round, reply_value).await,
            AppMsg::GetValue {
                height, round, reply, ..
            } => self.on_get_value(height, round, reply).await,
            AppMsg::ReceivedProposalPart {
                from,
                published_by,
                part,
                reply,
            } => {
                let publisher = published_by.unwrap_or(from);
                let proposed = self.on_part(&publisher.to_bytes(), part).await?;
                // The engine's actor takes a dropped reply for a failure, so there is always one.
                let _ = reply.send(proposed);
                Ok(())
            }
            AppMsg::RestreamProposal { value_id, .. } => self.on_restream(value_id).await,
            AppMsg::Decided { certificate, reply, .. } => {
                self.on_decided(certificate).await?;
                let _ = reply.send(());
                Ok(())
            }
            AppMsg::Finalized {
                certificate,
                evidence,
                reply,
                ..
            } => self.on_finalized(certificate, evidence, reply).await,
            AppMsg::GetDecidedValues { range, reply } => {
                self.on_get_decided(range, reply);
                Ok(())
            }
            AppMsg::GetHistoryMinHeight { reply } => {
                let _ = reply.send(Height(self.shared.application.earliest()));
                Ok(())
            }
            AppMsg::ProcessSyncedValue {
                height,
                round,
                proposer,
                value_bytes,
                reply,
            } => {
                let outcome = self.on_synced(height, round, proposer, value_bytes.into()).await?;
                let _ = reply.send(outcome);
                Ok(())
            }
            AppMsg::ExtendVote { reply, .. } => {
                let _ = reply.send(None);
                Ok(())
            }
            AppMsg::VerifyVoteExtensions { extensions, reply, .. } => {
                let _ = reply.send(extensions.into_iter().map(|(voter, ())| (voter, Ok(()))).collect());
                Ok(())
            }
        }
    }

    /// Votes of peers show that they have started, or that they are ahead.
    fn on_event(&mut self, event: Result<Event<LedgerContext>, broadcast::error::RecvError>) {
        if let Ok(Event::Received(SignedConsensusMsg::Vote(vote))) = event
            && matches!(vote.value(), NilOrVal::Val(_))
            && self.set.contains(vote.validator_address())
        {
            self.peer_works_on(vote.height());
        }
    }

    /// A validator works on this height; if this node waits before it, it waits no longer.
    pub(super) fn peer_works_on(&mut self, height: Height) {
        let next = self.next_height();
        match &mut self.held {
            Some(held) if height > next => held.pace.fell_behind(),
            Some(held) if height == next => held.pace.peer_started(),
            // Remembered for the one height after that in progress: what a peer says can't make more than one block.
            None if height.0 == next.0 + 1 => self.peer_ahead = Some(height),
            _ => return,
        }
        if let Some(wake) = self.held.as_ref().and_then(|held| held.pace.wake(Instant::now(), 0)) {
            self.start_height(wake);
        }
    }

    async fn try_gate(&mut self) -> Result<(), Exit> {
        self.look_for_twin();
        let connected = self.connected().await;
        let quorum_of_others = self.set.quorum() - usize::from(self.set.contains(&self.me));
        let Some(mut waiting) = self.gate.take() else {
            return Ok(());
        };
        let now = Instant::now();
        let alone_with_key = !self.set.contains(&self.me) || self.twin.passes(now);
        if waiting
            .gate
            .pass(now, connected.validators, self.peers.validators(), quorum_of_others)
            && alone_with_key
        {
            self.report(Some(connected));
            let _ = waiting.reply.send((self.next_height(), self.height_params()));
        } else {
            self.gate = Some(waiting);
        }
        Ok(())
    }

    /// Which other nodes are connected.
    async fn connected(&self) -> Connected {
        let dump = NetworkRequest::dump_state(&self.channels.net_requests);
        match tokio::time::timeout(Duration::from_secs(1), dump).await {
            Ok(Ok(Some(network))) => {
                let validators = network
                    .peers
                    .keys()
                    .filter(|peer| self.peers.is_validator(peer))
                    .count();
                Connected {
                    validators,
                    guests: network.peers.len() - validators,
                }
            }
            _ => Connected::default(),
        }
    }

    async fn on_second(&mut self) -> Result<(), Exit> {
        let connected = self.connected().await;
        self.report(Some(connected));
        blocking(&self.shared.application, |app| app.flush()).await??;
        let over = self.farewell.over(Instant::now());
        self.drop_peers(over).await;
        self.look_for_twin();
        self.try_offered_key(connected.validators)?;
        let quorum_of_others = self.set.quorum();
        if let Some(abstention) = &mut self.shared.abstention {
            abstention.connected(Instant::now(), connected.validators, quorum_of_others);
        }
        self.end_abstention()?;
        let quorum = self.shared.status.borrow().has_quorum();
        let heartbeat = self.heartbeat();
        if self
            .shared
            .watchdog
            .stalled(Instant::now(), self.tip.height, heartbeat, quorum)
        {
            return Err(Exit::Stalled);
        }
        Ok(())
    }

    pub(super) fn report(&self, connected: Option<Connected>) {
        let is_validator = self.set.contains(&self.me);
        let heard = self.shared.heights.of(|peer| self.peers.is_validator(peer));
        self.shared.status.send_if_modified(|status| {
            let next = ConsensusStatus {
                height: self.tip.height,
                hash: self.tip.hash,
                last_block: if status.height == self.tip.height {
                    status.last_block
                } else {
                    Some(SystemTime::now())
                },
                validators: self.set.as_slice().len(),
                connected: connected.map_or(status.connected, |it| it.validators + usize::from(is_validator)),
                guests: connected.map_or(status.guests, |it| it.guests),
                heard: heard.len(),
                highest: credible(heard, self.set.as_slice().len()),
                standstill: self.shared.watchdog.standstill(),
                quorum: self.set.quorum(),
                is_validator,
                abstains: self.shared.abstention.as_ref().map(Abstention::reason),
                engine_restarts: status.engine_restarts,
                halted: None,
                duplicate_key: false,
            };
            let changed = *status != next;
            *status = next;
            changed
        });
    }

    /// A node that did not vote goes on as one that does, as soon as it may.
    pub(super) fn end_abstention(&self) -> Result<(), Exit> {
        match &self.shared.abstention {
            Some(abstention) if abstention.is_over(self.tip.height, self.peers.validators()) => Err(Exit::MayVote),
            _ => Ok(()),
        }
    }

    async fn send_transactions(&mut self) -> Result<(), Exit> {
        if let Some(outgoing) = &mut self.shared.outgoing {
            while self.unsent.len() < OUTGOING
                && let Ok(transaction) = outgoing.try_recv()
            {
                self.unsent.push_back(transaction);
            }
        }
        let now = Instant::now();
        if self.unsent.is_empty() || now < self.gossip_at {
            return Ok(());
        }
        self.gossip_at = now + GATHER;
        while let Some(transactions) = super::value::Transactions::take_from(&mut self.unsent) {
            self.publish(Part::Transactions(transactions)).await?;
        }
        Ok(())
    }
}

fn ticker(period: Duration) -> Interval {
    let mut ticker = interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

async fn receive(outgoing: &mut Option<mpsc::Receiver<Bytes>>) -> Bytes {
    if let Some(receiver) = outgoing {
        if let Some(transaction) = receiver.recv().await {
            return transaction;
        }
        *outgoing = None;
    }
    std::future::pending().await
}

/// Runs a call that blocks on disk or the EVM off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    application: &Arc<dyn Application>,
    call: impl FnOnce(&dyn Application) -> T + Send + 'static,
) -> Result<T, Halt> {
    let application = application.clone();
    tokio::task::spawn_blocking(move || call(application.as_ref()))
        .await
        .map_err(|error| Halt(format!("the ledger failed within a call from consensus: {error}")))
}
