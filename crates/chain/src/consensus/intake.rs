//! Gossiped transactions on their way to the mempool.
//!
//! While a block is executed they pile up, in many small messages; what arrived meanwhile is handed over at once, so that
//! signatures are recovered in parallel. What waits is bounded by its bytes.

use std::sync::Arc;

use alloy::primitives::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::app::blocking;
use crate::application::Application;

/// Bytes that wait at most: as many as the mempool holds.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a transaction counts beside its own bytes.
const OVERHEAD: usize = 64;
/// Messages that wait at most.
const MESSAGES: usize = 16_384;
/// Messages handed over at once.
const AT_ONCE: usize = 1_024;

struct Gossiped {
    transactions: Vec<Bytes>,
    _room: OwnedSemaphorePermit,
}

/// The end at which transactions come in.
pub struct Intake {
    messages: mpsc::Sender<Gossiped>,
    room: Arc<Semaphore>,
}

impl Intake {
    /// Starts to hand over to `application`. Ends with the last sender.
    pub fn start(application: Arc<dyn Application>) -> Self {
        let (messages, received) = mpsc::channel(MESSAGES);
        tokio::spawn(hand_over(received, application));
        Self {
            messages,
            room: Arc::new(Semaphore::new(MOST_BYTES)),
        }
    }

    /// Takes the transactions of one message; `false` if too much waits already.
    pub fn offer(&self, transactions: Vec<Bytes>) -> bool {
        let bytes: usize = transactions.iter().map(|one| one.len() + OVERHEAD).sum();
        let Ok(room) = u32::try_from(bytes).map(|bytes| self.room.clone().try_acquire_many_owned(bytes)) else {
            return false;
        };
        let Ok(_room) = room else { return false };
        self.messages.try_send(Gossiped { transactions, _room }).is_ok()
    }
}

async fn hand_over(mut received: mpsc::Receiver<Gossiped>, application: Arc<dyn Application>) {
    let mut messages = Vec::new();
    while received.recv_many(&mut messages, AT_ONCE).await > 0 {
        let batch = std::mem::take(&mut messages);
        let taken = blocking(&application, move |app| {
            let (transactions, rooms): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .map(|gossiped| (gossiped.transactions, gossiped._room))
                .unzip();
            app.receive_transactions(transactions.into_iter().flatten().collect());
            drop(rooms);
        });
        if let Err(halt) = taken.await {
            tracing::error!(%halt, "the mempool failed on gossiped transactions");
        }
    }
}
