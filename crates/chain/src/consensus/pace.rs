//! When the next height starts. Pure.
//!
//! The engine asks for its next height as soon as one is decided. The answer is held back until there is a reason to
//! make a block, so an idle chain stands still between heartbeats, at no cost, and a busy one never waits:
//!
//! - **A transaction waits here.** Transactions are gossiped the moment they are accepted, so all nodes wake within one
//!   message delay, the proposer among them; it has the transaction in its mempool when it is asked for a block.
//! - **A peer has started**: a piece of its proposal, a vote for a block, or a knock arrives. This covers the transaction
//!   that reached some nodes only.
//! - **The heartbeat** has passed since the last decision: an empty block shows that the quorum is alive.
//! - **This node is behind**: its last block came by sync, peers vote on later heights, or say that they have decided more.
//!
//! A node that wakes alone must not run into the propose timeout while the proposer sleeps. If it has heard of no
//! proposal [`KNOCK_AFTER`] its start, it sends a knock, on which the others start too. In the usual case the proposal
//! is there much earlier and no knock is sent. Nobody gathers transactions on purpose: those that come while a block is
//! being decided (about 20 ms) make the next one, which is gathering enough under load and delays no lone transaction.

use std::time::{Duration, Instant};

/// How long a node that has started a height waits for news of a proposal before it wakes the others.
pub const KNOCK_AFTER: Duration = Duration::from_millis(50);

/// Why a height starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Transactions wait in this node's mempool.
    Transactions,
    /// A peer works on the height already.
    Peer,
    /// The heartbeat has passed.
    Heartbeat,
    /// Other nodes have decided more than this one.
    Behind,
}

/// The wait between a decision and the start of the next height.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    decided: Instant,
    heartbeat: Duration,
    behind: bool,
    peer: bool,
}

impl Pace {
    /// Starts the wait. `behind` tells that the decision came by sync, or that others have decided more.
    pub fn new(decided: Instant, heartbeat: Duration, behind: bool) -> Self {
        Self {
            decided,
            heartbeat,
            behind,
            peer: false,
        }
    }

    /// A peer works on the next height.
    pub fn peer_started(&mut self) {
        self.peer = true;
    }

    /// Peers work on heights after the next.
    pub fn fell_behind(&mut self) {
        self.behind = true;
    }

    /// When the heartbeat is due.
    pub fn heartbeat_at(&self) -> Instant {
        self.decided + self.heartbeat
    }

    /// Whether to start now, with `waiting` transactions in the mempool.
    pub fn wake(&self, now: Instant, waiting: usize) -> Option<Wake> {
        if self.behind {
            Some(Wake::Behind)
        } else if self.peer {
            Some(Wake::Peer)
        } else if waiting > 0 {
            Some(Wake::Transactions)
        } else if now >= self.heartbeat_at() {
            Some(Wake::Heartbeat)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(5);

    #[test]
    fn an_idle_chain_waits_for_the_whole_heartbeat_and_not_longer() {
        let start = Instant::now();
        let pace = Pace::new(start, HEARTBEAT, false);
        assert_eq!(pace.wake(start + HEARTBEAT - Duration::from_millis(1), 0), None);
        assert_eq!(pace.wake(start + HEARTBEAT, 0), Some(Wake::Heartbeat));
    }

    #[test]
    fn a_transaction_a_peer_or_being_behind_starts_the_height_at_once() {
        let start = Instant::now();
        let pace = Pace::new(start, HEARTBEAT, false);
        assert_eq!(pace.wake(start, 1), Some(Wake::Transactions));
        let mut woken = pace;
        woken.peer_started();
        assert_eq!(woken.wake(start, 0), Some(Wake::Peer));
        woken.fell_behind();
        assert_eq!(woken.wake(start, 0), Some(Wake::Behind));
        assert_eq!(Pace::new(start, HEARTBEAT, true).wake(start, 0), Some(Wake::Behind));
    }
}
