//! Transactions of this node on their way to the others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use alloy::primitives::Bytes;
use tokio::sync::mpsc;

use super::app::{App, Exit};
use super::value::{Part, Transactions};

/// Transactions that wait to be sent, at most; more are left in the mempool's channel.
const OUTGOING: usize = 4096;

/// After a message of transactions, those that follow are gathered for this long: each message is signed, and checked by
/// every other node. A lone transaction goes out at once.
const GATHER: Duration = Duration::from_millis(5);

/// What waits to be sent, and until when. Pure.
pub(super) struct Gossip {
    unsent: VecDeque<Bytes>,
    not_before: Instant,
}

impl Gossip {
    /// Nothing waits.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            unsent: VecDeque::new(),
            not_before: now,
        }
    }

    /// Whether one more may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.unsent.len() < OUTGOING
    }

    /// When there is something to send.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.unsent.is_empty()).then_some(self.not_before)
    }

    pub(super) fn queue(&mut self, transaction: Bytes) {
        self.unsent.push_back(transaction);
    }

    /// The messages that are to be sent now: all that waits, or nothing while it is gathered.
    fn take(&mut self, now: Instant) -> Vec<Transactions> {
        if self.due().is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.not_before = now + GATHER;
        std::iter::from_fn(|| Transactions::take_from(&mut self.unsent)).collect()
    }
}

impl App<'_> {
    /// Sends what is due, with what came in meanwhile.
    pub(super) async fn send_transactions(&mut self) -> Result<(), Exit> {
        if let Some(outgoing) = &mut self.shared.outgoing {
            while self.gossip.has_room()
                && let Ok(transaction) = outgoing.try_recv()
            {
                self.gossip.queue(transaction);
            }
        }
        for transactions in self.gossip.take(Instant::now()) {
            self.publish(Part::Transactions(transactions)).await?;
        }
        Ok(())
    }
}

/// Waits for a transaction from the mempool; for ever when that is gone.
pub(super) async fn receive(outgoing: &mut Option<mpsc::Receiver<Bytes>>) -> Bytes {
    if let Some(receiver) = outgoing {
        if let Some(transaction) = receiver.recv().await {
            return transaction;
        }
        *outgoing = None;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(messages: Vec<Transactions>) -> usize {
        messages.into_iter().map(|message| message.into_inner().len()).sum()
    }

    #[test]
    fn a_lone_transaction_goes_out_at_once_and_those_after_it_together() {
        let start = Instant::now();
        let mut gossip = Gossip::new(start);
        assert_eq!(gossip.due(), None);
        gossip.queue(Bytes::from_static(b"first"));
        assert_eq!(gossip.due(), Some(start));
        assert_eq!(sent(gossip.take(start)), 1);
        gossip.queue(Bytes::from_static(b"second"));
        gossip.queue(Bytes::from_static(b"third"));
        assert_eq!(sent(gossip.take(start + GATHER / 2)), 0);
        let due = gossip.due();
        assert_eq!(due, Some(start + GATHER));
        let messages = gossip.take(start + GATHER);
        assert_eq!((messages.len(), sent(messages)), (1, 2));
        assert_eq!(gossip.due(), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let start = Instant::now();
        let mut gossip = Gossip::new(start);
        let mut queued = 0;
        while gossip.has_room() {
            gossip.queue(Bytes::from_static(b"one"));
            queued += 1;
        }
        assert_eq!(queued, OUTGOING);
        assert_eq!(sent(gossip.take(start)), OUTGOING);
        assert!(gossip.has_room());
    }
}
