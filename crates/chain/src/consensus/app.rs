//! The application loop: one task that answers the engine and decides when heights start.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, Bytes};
use malachitebft_app_channel::app::events::RxEvent;
use malachitebft_app_channel::{AppMsg, Channels};
use malachitebft_core_types::Validator as _;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::assembly::Assembly;
use super::blocks::BlockPool;
use super::conflict::Signed;
use super::context::{Height, LedgerContext, ValidatorAddress};
use super::farewell::Farewell;
use super::gate::Gate;
use super::gossip::{Gossip, receive};
use super::identity::{Alone, Watch};
use super::peers::Peers;
use super::service::Shared;
use super::starting::{Held, Waiting};
use super::validators::ValidatorSet;
use super::value::{BlockId, Part};
use crate::application::{Application, Halt, HeightRules, Tip};

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
    /// A block that came by sync and that this node finds wrong. It was decided all the same, or its sender lied.
    pub(super) disputed: Option<(BlockId, Bytes)>,
    /// A height that is not to decide yet, but that a peer works on.
    pub(super) peer_ahead: Option<Height>,
    pub(super) held: Option<Held>,
    pub(super) gate: Option<Waiting>,
    /// When to wake the others, unless a proposal is seen first.
    pub(super) knock_at: Option<Instant>,
    /// When this node began with which height.
    pub(super) began: Option<(Height, Instant)>,
    pub(super) gossip: Gossip,
    /// Accounts of the validators before and after the set changed last: evidence is about a height before.
    accounts: (HashMap<ValidatorAddress, Address>, HashMap<ValidatorAddress, Address>),
    pub(super) farewell: Farewell,
    pub(super) twin: Watch,
    pub(super) signed: Signed,
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
            disputed: None,
            peer_ahead: None,
            held: None,
            gate: None,
            knock_at: None,
            began: None,
            gossip: Gossip::new(Instant::now()),
            accounts: Default::default(),
            farewell: Farewell::default(),
            twin: Watch::new(Instant::now()),
            signed: Signed::since(Height(tip.height + 1)),
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
                transaction = receive(&mut self.shared.outgoing), if self.gossip.has_room() => {
                    self.gossip.queue(transaction);
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
        let none = || Instant::now() + Duration::from_secs(3600);
        [heartbeat, self.knock_at, self.gossip.due()]
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

    /// A node that did not vote goes on as one that does, as soon as it may.
    pub(super) fn end_abstention(&self) -> Result<(), Exit> {
        match &self.shared.abstention {
            Some(abstention) if abstention.is_over(self.tip.height, self.peers.validators()) => Err(Exit::MayVote),
            _ => Ok(()),
        }
    }
}

fn ticker(period: Duration) -> Interval {
    let mut ticker = interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
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
