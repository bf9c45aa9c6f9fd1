//! The one task that gives out nonces for the account: takes commands, makes them durable, sends them, and follows them
//! until they are final. How it goes about that is in [`crate::pursuit`]; which nonce belongs to whom is decided in
//! [`crate::nonces`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{B256, TxHash};
use alloy::signers::local::PrivateKeySigner;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::error::LedgerError;
use crate::fees::FeePolicy;
use crate::intent::{Call, IntentKey, Receipt};
use crate::nonces::{IntentId, Moment, NonceLedger};
use crate::outbox::{Changes, LastSeat, MOST_IN_FLIGHT, Outbox, Stage};
use crate::refusal::Refusal;
use crate::rpc::{Backoff, Rpc};
use crate::watcher::{Heads, Waiting};

/// When to look for receipts again if the newest block did not bring them: nodes announce blocks a moment before they
/// serve what is in them.
const LOOK_AGAIN: [Duration; 4] = [
    Duration::from_millis(15),
    Duration::from_millis(60),
    Duration::from_millis(250),
    Duration::from_secs(1),
];

/// Commands taken together, and thereby written with one fsync.
const TAKEN_AT_ONCE: usize = 256;

/// How a command ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Landed(Receipt),
    Reverted { tx: TxHash, block: u64 },
    Refused(Refusal),
    Rejected(String),
}

pub(crate) type Reply = oneshot::Sender<Result<Outcome, LedgerError>>;
pub(crate) type Answer = oneshot::Receiver<Result<Outcome, LedgerError>>;

/// What the store knows about a key.
pub(crate) enum Known {
    Nothing,
    Done(Receipt),
    Open(Answer),
}

/// Requests to the task.
pub(crate) enum Ask {
    /// Is there a command of that name, and does it mean the same?
    Look {
        key: IntentKey,
        digest: B256,
        reply: oneshot::Sender<Result<Known, LedgerError>>,
    },
    Submit {
        key: IntentKey,
        call: Call,
        gas: u64,
        reply: Reply,
    },
    /// The transaction of a command that was final is not on the chain any more: go on with it. None if it cannot be gone
    /// on with, because it was too long ago.
    Reopen {
        key: IntentKey,
        reply: oneshot::Sender<Option<Answer>>,
    },
    /// The chain replaced the blocks from this one on: go on with the commands that were final in them.
    Replaced { from: u64 },
    /// Give a command up, if it can still be stopped.
    Withdraw {
        key: IntentKey,
        reply: oneshot::Sender<bool>,
    },
    /// What is known about a command that has not finished.
    Detail {
        key: IntentKey,
        reply: oneshot::Sender<String>,
    },
    /// Keys of all commands in flight.
    Open { reply: oneshot::Sender<Vec<IntentKey>> },
}

pub(crate) struct Sender {
    pub(crate) rpc: Arc<Rpc>,
    pub(crate) heads: Heads,
    pub(crate) signer: PrivateKeySigner,
    pub(crate) chain_id: u64,
    pub(crate) confirmations: u64,
    pub(crate) outbox: Outbox,
    pub(crate) unsaved: Changes,
    pub(crate) nonces: NonceLedger,
    pub(crate) waiters: HashMap<IntentId, Vec<Reply>>,
    pub(crate) fees: FeePolicy,
    /// Intents that a node took at least once, so that they may land whatever another says.
    pub(crate) taken: HashSet<IntentId>,
    /// Last complaint of a node about an intent.
    pub(crate) words: HashMap<IntentId, String>,
    /// Intents to be checked against the contracts again before they are signed anew.
    pub(crate) recheck: HashSet<IntentId>,
    pub(crate) gap_since: Option<(u64, Moment)>,
    pub(crate) stuck_since: Option<(IntentId, Moment)>,
    start: Instant,
    look_at: Option<Instant>,
    look_step: usize,
    backoff: Backoff,
    urgent: Option<Waiting>,
}

impl Sender {
    pub(crate) fn new(
        rpc: Arc<Rpc>,
        heads: Heads,
        signer: PrivateKeySigner,
        chain_id: u64,
        confirmations: u64,
        outbox: Outbox,
    ) -> Self {
        let mut nonces = NonceLedger::new(confirmations);
        let mut taken = HashSet::new();
        for (id, intent) in outbox.open_intents() {
            if let Stage::Open { signed, void, .. } = &intent.stage
                && let Some(last) = signed.last()
            {
                let hashes = signed.iter().map(|signed| (signed.hash, signed.purpose)).collect();
                nonces.restore(id, last.nonce, hashes, *void);
                taken.insert(id);
            }
        }
        Self {
            rpc,
            heads,
            signer,
            chain_id,
            confirmations,
            outbox,
            unsaved: Changes::default(),
            nonces,
            waiters: HashMap::new(),
            fees: FeePolicy::default(),
            taken,
            words: HashMap::new(),
            recheck: HashSet::new(),
            gap_since: None,
            stuck_since: None,
            start: Instant::now(),
            look_at: Some(Instant::now()),
            look_step: 0,
            backoff: Backoff::default(),
            urgent: None,
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// Runs until it is told to stop or nobody can ask any more.
    pub(crate) async fn run(mut self, mut asks: mpsc::Receiver<Ask>, mut stopped: oneshot::Receiver<()>) {
        let mut blocks = self.heads.subscribe();
        loop {
            let wake = self.wake_at();
            tokio::select! {
                _ = &mut stopped => return,
                ask = asks.recv() => {
                    let Some(ask) = ask else { return };
                    self.take(ask);
                    for _ in 1..TAKEN_AT_ONCE {
                        let Ok(ask) = asks.try_recv() else { break };
                        self.take(ask);
                    }
                }
                changed = blocks.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    blocks.mark_unchanged();
                    self.look_now();
                }
                () = sleep_until(wake), if self.nonces.is_busy() => {}
            }
            self.work().await;
            self.urgent = match (self.nonces.is_busy(), self.urgent.take()) {
                (false, _) => None,
                (true, Some(urgent)) => Some(urgent),
                (true, None) => Some(self.heads.urgent()),
            };
        }
    }

    fn wake_at(&self) -> Instant {
        let resend = self.nonces.next_due().map(|due| self.start + due);
        let look = self.look_at;
        let latest = Instant::now() + Duration::from_secs(1);
        [resend, look].into_iter().flatten().fold(latest, Instant::min)
    }

    fn look_now(&mut self) {
        self.look_at = Some(Instant::now());
        self.look_step = 0;
    }

    /// One round: look, sign, send, look again.
    async fn work(&mut self) {
        if !self.nonces.is_busy() {
            return;
        }
        match self.round().await {
            Ok(()) => self.backoff.reset(),
            Err(error) => {
                tracing::debug!(%error, "ledger commands wait");
                if let LedgerError::Store { .. } = error {
                    tracing::error!(%error, "ledger commands wait");
                    for reply in self.waiters.drain().flat_map(|(_, replies)| replies) {
                        let _ = reply.send(Err(error.clone()));
                    }
                }
                self.look_at = Some(Instant::now() + self.backoff.next());
            }
        }
    }

    async fn round(&mut self) -> Result<(), LedgerError> {
        if self.nonces.is_blind() || self.look_at.is_some_and(|at| at <= Instant::now()) {
            self.look().await?;
        }
        self.sign_waiting().await?;
        if self.send_due().await? {
            self.heads.hurry();
            self.look_now();
            self.look().await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), LedgerError> {
        self.observe().await?;
        self.look_at = self.nonces.has_seats().then(|| {
            let wait = LOOK_AGAIN[self.look_step.min(LOOK_AGAIN.len() - 1)];
            self.look_step += 1;
            Instant::now() + wait
        });
        Ok(())
    }

    fn take(&mut self, ask: Ask) {
        // Whoever asked may be gone; that is theirs to decide.
        match ask {
            Ask::Look { key, digest, reply } => {
                let _ = reply.send(self.look_up(&key, digest));
            }
            Ask::Submit { key, call, gas, reply } => self.submit(key, call, gas, reply),
            Ask::Reopen { key, reply } => {
                let _ = reply.send(self.reopen(&key));
            }
            Ask::Replaced { from } => {
                self.heads.replaced(from);
                for (id, seat) in self.outbox.undo_from(from, &mut self.unsaved) {
                    self.seat_again(id, seat);
                }
            }
            Ask::Withdraw { key, reply } => {
                let _ = reply.send(self.withdraw(&key));
            }
            Ask::Detail { key, reply } => {
                let _ = reply.send(self.detail(&key));
            }
            Ask::Open { reply } => {
                let _ = reply.send(
                    self.outbox
                        .open_intents()
                        .map(|(_, intent)| intent.key.clone())
                        .collect(),
                );
            }
        }
    }

    fn look_up(&mut self, key: &IntentKey, digest: B256) -> Result<Known, LedgerError> {
        let Some((id, intent)) = self.outbox.find(key) else {
            return Ok(Known::Nothing);
        };
        if intent.digest != digest {
            return Err(LedgerError::KeyReused { key: key.to_string() });
        }
        let void = match &intent.stage {
            Stage::Done(receipt) => return Ok(Known::Done(*receipt)),
            Stage::Open { void, .. } => *void,
        };
        if void {
            if !self.nonces.revive(id) {
                return Err(LedgerError::Rejected {
                    reason: "an earlier attempt is still being withdrawn; repeat in a moment".into(),
                });
            }
            self.outbox.set_void(id, false, &mut self.unsaved);
        }
        let (reply, answer) = oneshot::channel();
        self.waiters.entry(id).or_default().push(reply);
        Ok(Known::Open(answer))
    }

    fn submit(&mut self, key: IntentKey, call: Call, gas: u64, reply: Reply) {
        // Another caller may have come first since this one looked.
        match self.look_up(&key, call.digest()) {
            Err(error) => {
                let _ = reply.send(Err(error));
            }
            Ok(Known::Done(receipt)) => {
                let _ = reply.send(Ok(Outcome::Landed(receipt)));
            }
            Ok(Known::Open(_)) => {
                if let Some((id, _)) = self.outbox.find(&key) {
                    self.waiters.entry(id).or_default().push(reply);
                }
            }
            Ok(Known::Nothing) if self.outbox.is_full() => {
                let _ = reply.send(Err(LedgerError::Full { limit: MOST_IN_FLIGHT }));
            }
            Ok(Known::Nothing) => {
                let id = self.outbox.add(key, call, gas, false);
                self.waiters.entry(id).or_default().push(reply);
                self.nonces.submit(id);
            }
        }
    }

    fn reopen(&mut self, key: &IntentKey) -> Option<Answer> {
        let (id, _) = self.outbox.find(key)?;
        if let Some(seat) = self.outbox.undo(id, &mut self.unsaved) {
            self.seat_again(id, seat);
        }
        // Another caller may have come first.
        let (_, intent) = self.outbox.find(key)?;
        if matches!(intent.stage, Stage::Done(_)) {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        self.waiters.entry(id).or_default().push(reply);
        Some(answer)
    }

    /// What it signed may land again, in another block, so it keeps its nonce.
    fn seat_again(&mut self, id: IntentId, seat: LastSeat) {
        tracing::warn!(account = %self.signer.address(), nonce = seat.nonce, "the chain undid a command; it is sent again");
        self.nonces.restore(id, seat.nonce, seat.signed, false);
        self.taken.insert(id);
        self.look_now();
    }

    fn withdraw(&mut self, key: &IntentKey) -> bool {
        let Some((id, intent)) = self.outbox.find(key) else {
            return false;
        };
        if matches!(intent.stage, Stage::Done(_)) {
            return false;
        }
        if self.nonces.forget(id) {
            self.end(id, Outcome::Rejected("withdrawn before it was sent".into()));
            return true;
        }
        self.outbox.set_void(id, true, &mut self.unsaved);
        self.nonces.void(id)
    }

    fn detail(&self, key: &IntentKey) -> String {
        match self.outbox.find(key) {
            None => "nothing is known of it".into(),
            Some((_, intent)) if matches!(intent.stage, Stage::Done(_)) => "it is final".into(),
            Some((id, _)) => match self.words.get(&id) {
                Some(words) => format!("the node says: {words}"),
                None if self.taken.contains(&id) => "sent, but not in a final block".into(),
                None => "not sent yet".into(),
            },
        }
    }

    /// The intent is over: tell who waits, and write it down at the next occasion.
    pub(crate) fn end(&mut self, id: IntentId, outcome: Outcome) {
        if let Outcome::Landed(receipt) = &outcome {
            // Before anyone who waits reads.
            self.heads.landed(receipt.block);
        }
        for reply in self.waiters.remove(&id).into_iter().flatten() {
            let _ = reply.send(Ok(outcome.clone()));
        }
        self.taken.remove(&id);
        self.words.remove(&id);
        self.recheck.remove(&id);
        match outcome {
            Outcome::Landed(receipt) => self.outbox.finish(id, receipt, &mut self.unsaved),
            _ => self.outbox.remove(id, &mut self.unsaved),
        }
    }
}
