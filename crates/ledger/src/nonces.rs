//! Which intent has which nonce: the rules, without I/O or a clock.
//!
//! An *intent* is a command that shall take effect once. It holds a *seat*, a nonce, and everything ever signed for
//! that nonce belongs to this intent alone. Since a chain takes one transaction per nonce, an intent can take effect at
//! most once per seat. It gets another seat only after its nonce was used up by something else in a block that counts
//! as final, which proves that nothing signed for the old seat can land any more. That is the whole argument for *at
//! most once*; *at least once* comes from sending again what has not landed.
//!
//! What the chain shows arrives as [`Observation`]s. Each must come from one endpoint, counts read first and receipts
//! after, so that "the nonce is used up and none of ours did it" is a statement about one state of the chain. Because
//! endpoints behind a load balancer break that, it must also hold twice, [`GRACE`] apart.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use alloy::primitives::TxHash;

/// Number of an intent, growing with each new one.
pub(crate) type IntentId = u64;

/// Time since an arbitrary start.
pub(crate) type Moment = Duration;

/// How long a nonce must be seen used up by a stranger before it is believed.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// How long the chain must be seen to have gone back behind what was final before that is believed. Only a replacement
/// deeper than the confirmations does that; a node that lags does for a while, and believing it wrongly costs a detour
/// but no safety.
pub(crate) const REWOUND: Duration = Duration::from_secs(10);

/// First wait before a transaction that has not landed is sent again, and the longest.
pub(crate) const RESEND: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// How many are sent again at once.
pub(crate) const RESEND_BATCH: usize = 64;

/// What a signed transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Purpose {
    /// The intent's call.
    Call,
    /// Nothing: it only uses up the nonce of a withdrawn intent, so that later nonces are not held up.
    Void,
}

/// Where a transaction was included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Landing {
    pub(crate) block: u64,
    pub(crate) success: bool,
}

/// What one endpoint showed of the chain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observation {
    /// Height of its newest block.
    pub(crate) head: u64,
    /// Transactions of the account up to the newest block; the next nonce the chain takes.
    pub(crate) latest_count: u64,
    /// The same up to the newest final block.
    pub(crate) final_count: u64,
    /// Included transactions among those asked for.
    pub(crate) landed: HashMap<TxHash, Landing>,
    /// Intents all of whose transactions were asked for, after the counts were read.
    pub(crate) asked: HashSet<IntentId>,
}

/// How an intent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its call is in a final block.
    Landed { hash: TxHash, landing: Landing },
    /// It was withdrawn and can no longer land.
    Voided,
}

/// What an observation changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The intent is over; its seat is free.
    Ended(IntentId, End),
    /// A stranger used its nonce; it waits for another.
    Unseated(IntentId),
}

#[derive(Debug, Clone)]
struct Seat {
    id: IntentId,
    signed: Vec<(TxHash, Purpose)>,
    landed: Option<(TxHash, Purpose, Landing)>,
    /// Withdrawn: its nonce is to be used up without effect.
    void: bool,
    /// Since when its nonce is seen used up by a stranger.
    usurped_since: Option<Moment>,
    send_at: Moment,
    resend_wait: Duration,
}

impl Seat {
    fn holds_void(&self) -> bool {
        self.signed.iter().any(|(_, purpose)| *purpose == Purpose::Void)
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct NonceLedger {
    confirmations: u64,
    seats: BTreeMap<u64, Seat>,
    waiting: VecDeque<IntentId>,
    /// Next nonce the chain takes, as last seen; None before the first observation.
    latest_count: Option<u64>,
    /// No nonce below this one can ever be used again.
    final_count: u64,
    /// Since when the chain is seen behind that.
    rewound_since: Option<Moment>,
}

impl NonceLedger {
    pub(crate) fn new(confirmations: u64) -> Self {
        Self {
            confirmations,
            ..Self::default()
        }
    }

    /// Puts an intent back that was seated before a restart, with everything signed for that seat.
    pub(crate) fn restore(&mut self, id: IntentId, nonce: u64, signed: Vec<(TxHash, Purpose)>, void: bool) {
        self.seats.insert(
            nonce,
            Seat {
                id,
                signed,
                landed: None,
                void,
                usurped_since: None,
                send_at: Duration::ZERO,
                resend_wait: RESEND.0,
            },
        );
    }

    /// A new intent; it waits for a seat.
    pub(crate) fn submit(&mut self, id: IntentId) {
        self.waiting.push_back(id);
    }

    /// Takes back an intent that has no seat. False if it has one.
    pub(crate) fn forget(&mut self, id: IntentId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| *waiting != id);
        self.waiting.len() < before
    }

    /// The next intent to sign for, and its nonce. Sign, make durable, then call [`signed`](Self::signed).
    pub(crate) fn next_assignment(&self) -> Option<(IntentId, u64)> {
        Some((*self.waiting.front()?, self.free_nonce()?))
    }

    fn free_nonce(&self) -> Option<u64> {
        let mut nonce = self.latest_count?.max(self.final_count);
        for taken in self.seats.range(nonce..).map(|(taken, _)| *taken) {
            if taken != nonce {
                break;
            }
            nonce += 1;
        }
        Some(nonce)
    }

    /// A nonce that nobody holds below one that is held: nothing above it can land until it is used. Happens when a
    /// stranger's transaction was undone.
    pub(crate) fn gap(&self) -> Option<u64> {
        let free = self.free_nonce()?;
        self.seats.range(free..).next().map(|_| free)
    }

    /// Something was signed for this intent and made durable: it is seated at `nonce`, or has a further transaction
    /// there.
    pub(crate) fn signed(&mut self, id: IntentId, nonce: u64, hash: TxHash, purpose: Purpose) {
        self.waiting.retain(|waiting| *waiting != id);
        let seat = self.seats.entry(nonce).or_insert_with(|| Seat {
            id,
            signed: Vec::new(),
            landed: None,
            void: purpose == Purpose::Void,
            usurped_since: None,
            send_at: Duration::ZERO,
            resend_wait: RESEND.0,
        });
        debug_assert_eq!(seat.id, id, "a nonce has one intent");
        seat.signed.push((hash, purpose));
        seat.send_at = Duration::ZERO;
        seat.resend_wait = RESEND.0;
    }

    /// Withdraws a seated intent. True if it is seated and now withdrawn; what it signed may still land.
    pub(crate) fn void(&mut self, id: IntentId) -> bool {
        match self.seat_mut(id) {
            Some(seat) => {
                seat.void = true;
                true
            }
            None => false,
        }
    }

    /// Takes a withdrawal back. False once something was signed for it.
    pub(crate) fn revive(&mut self, id: IntentId) -> bool {
        match self.seat_mut(id) {
            Some(seat) if !seat.holds_void() => {
                seat.void = false;
                seat.send_at = Duration::ZERO;
                seat.resend_wait = RESEND.0;
                true
            }
            _ => false,
        }
    }

    /// Withdrawn intents in whose way others wait: (intent, nonce) to sign an empty transaction for.
    pub(crate) fn voids_to_sign(&self) -> Vec<(IntentId, u64)> {
        let last = self.seats.keys().next_back().copied();
        self.seats
            .iter()
            .filter(|(nonce, seat)| {
                seat.void
                    && !seat.holds_void()
                    && seat.landed.is_none()
                    && (last > Some(**nonce) || !self.waiting.is_empty())
            })
            .map(|(nonce, seat)| (seat.id, *nonce))
            .collect()
    }

    fn seat_mut(&mut self, id: IntentId) -> Option<&mut Seat> {
        self.seats.values_mut().find(|seat| seat.id == id)
    }

    /// True while an intent has not ended.
    pub(crate) fn is_busy(&self) -> bool {
        !self.seats.is_empty() || !self.waiting.is_empty()
    }

    /// True while something that may land is out.
    pub(crate) fn has_seats(&self) -> bool {
        !self.seats.is_empty()
    }

    /// True until the chain was looked at once.
    pub(crate) fn is_blind(&self) -> bool {
        self.latest_count.is_none()
    }

    /// Seats whose transactions to look for: (intent, nonce, hashes), lowest nonce first.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (IntentId, u64, Vec<TxHash>)> + '_ {
        self.seats
            .iter()
            .map(|(nonce, seat)| (seat.id, *nonce, seat.signed.iter().map(|(hash, _)| *hash).collect()))
    }

    /// The lowest seat that has not landed although the chain would take its nonce next.
    pub(crate) fn next_to_land(&self) -> Option<IntentId> {
        let seat = self.seats.get(&self.latest_count?)?;
        seat.landed.is_none().then_some(seat.id)
    }

    /// Takes in what was seen and says what follows.
    pub(crate) fn observe(&mut self, now: Moment, seen: &Observation) -> Vec<Change> {
        self.latest_count = Some(seen.latest_count);
        self.final_count = self.final_count.max(seen.final_count);
        if seen.latest_count >= self.final_count {
            self.rewound_since = None;
        } else if now.saturating_sub(*self.rewound_since.get_or_insert(now)) >= REWOUND {
            self.final_count = seen.latest_count;
            self.rewound_since = None;
        }
        let mut changes = Vec::new();
        let mut freed = Vec::new();
        for (nonce, seat) in &mut self.seats {
            let landed = seat
                .signed
                .iter()
                .find_map(|(hash, purpose)| Some((*hash, *purpose, *seen.landed.get(hash)?)));
            if let Some((hash, purpose, landing)) = landed {
                seat.landed = landed;
                seat.usurped_since = None;
                if landing.block.saturating_add(self.confirmations) <= seen.head {
                    let end = match purpose {
                        Purpose::Call => End::Landed { hash, landing },
                        Purpose::Void => End::Voided,
                    };
                    changes.push(Change::Ended(seat.id, end));
                    freed.push(*nonce);
                }
                continue;
            }
            if !seen.asked.contains(&seat.id) {
                continue;
            }
            if seat.landed.take().is_some() {
                // Its block was replaced.
                seat.send_at = now;
                seat.resend_wait = RESEND.0;
            }
            if *nonce >= seen.final_count {
                seat.usurped_since = None;
            } else if now.saturating_sub(*seat.usurped_since.get_or_insert(now)) >= GRACE {
                freed.push(*nonce);
                if seat.void {
                    changes.push(Change::Ended(seat.id, End::Voided));
                } else {
                    changes.push(Change::Unseated(seat.id));
                    self.waiting.push_back(seat.id);
                }
            }
        }
        for nonce in freed {
            self.seats.remove(&nonce);
            self.final_count = self.final_count.max(nonce + 1);
        }
        changes
    }

    /// What should be sent now, lowest nonce first: (intent, hash of its newest transaction).
    pub(crate) fn due(&mut self, now: Moment) -> Vec<(IntentId, TxHash)> {
        let mut due = Vec::new();
        for seat in self.seats.values_mut() {
            if due.len() == RESEND_BATCH {
                break;
            }
            let idle_void = seat.void && !seat.holds_void();
            if seat.landed.is_some() || idle_void || seat.send_at > now {
                continue;
            }
            if let Some((hash, _)) = seat.signed.last() {
                due.push((seat.id, *hash));
                seat.send_at = now + seat.resend_wait;
                seat.resend_wait = (seat.resend_wait * 2).min(RESEND.1);
            }
        }
        due
    }

    /// When [`due`](Self::due) will have something next.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.seats
            .values()
            .filter(|seat| seat.landed.is_none() && (!seat.void || seat.holds_void()))
            .map(|seat| seat.send_at)
            .min()
    }
}

#[cfg(test)]
#[path = "nonces_test.rs"]
mod tests;
