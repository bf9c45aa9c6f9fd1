//! When the engine starts which height.

use std::time::{Duration, Instant};

use malachitebft_app_channel::Reply;
use malachitebft_app_channel::app::engine::host::{HeightParams, Next};
use malachitebft_core_consensus::SignedConsensusMsg;
use malachitebft_core_types::{NilOrVal, Vote as _};
use malachitebft_engine::util::events::Event;
use tokio::sync::broadcast;

use super::app::{App, Exit};
use super::context::{Height, LedgerContext};
use super::gate::Gate;
use super::pace::{KNOCK_AFTER, Pace, Wake};
use super::validators::timeouts;

/// The reply to `Finalized`, held back until there is a reason for a block.
pub(super) struct Held {
    pub(super) reply: Reply<Next<LedgerContext>>,
    pub(super) pace: Pace,
}

/// The engine waits for its first height.
pub(super) struct Waiting {
    pub(super) gate: Gate,
    pub(super) reply: Reply<(Height, HeightParams<LedgerContext>)>,
}

impl App<'_> {
    pub(super) fn next_height(&self) -> Height {
        Height(self.tip.height + 1)
    }

    pub(super) fn height_params(&self) -> HeightParams<LedgerContext> {
        HeightParams::new(self.set.clone(), timeouts(&self.rules.parameters), None)
    }

    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(u64::from(self.rules.parameters.heartbeat_ms))
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

    /// Votes of peers show that they have started, or that they are ahead; what this node publishes it has signed.
    pub(super) fn on_event(&mut self, event: Result<Event<LedgerContext>, broadcast::error::RecvError>) {
        match event {
            Ok(Event::Received(SignedConsensusMsg::Vote(vote)))
                if matches!(vote.value(), NilOrVal::Val(_)) && self.set.contains(vote.validator_address()) =>
            {
                self.peer_works_on(vote.height());
            }
            Ok(Event::Published(SignedConsensusMsg::Vote(vote))) => self.signed.insert(vote.height()),
            Ok(Event::Published(SignedConsensusMsg::Proposal(proposal))) => self.signed.insert(proposal.height),
            _ => {}
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

    /// Lets the engine begin when enough others are there.
    pub(super) async fn try_gate(&mut self) -> Result<(), Exit> {
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
}
