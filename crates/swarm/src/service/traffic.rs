//! What went over the network.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prost::Message;

use crate::network::{BlockAnswer, Entry};

/// One direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Questions and answers of the protocol by which members tell each other records.
    pub messages: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes, without what the layers below add.
    pub record_bytes: u64,
    /// Blocks of blobs.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
}

/// What this domain sent and received since it joined the swarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To others.
    pub sent: Flow,
    /// From others.
    pub received: Flow,
    /// Peers that sent a wrong block and are asked for nothing more.
    pub banned: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    messages: AtomicU64,
    records: AtomicU64,
    record_bytes: AtomicU64,
    blocks: AtomicU64,
    block_bytes: AtomicU64,
}

/// Counted by the task that owns the network, read by the handle.
#[derive(Debug, Default)]
pub(super) struct AllCounters {
    pub sent: Counters,
    pub received: Counters,
    pub banned: AtomicU64,
}

impl Counters {
    pub fn records(&self, message: &impl Message, entries: &[Entry]) {
        self.messages.fetch_add(1, Relaxed);
        self.records.fetch_add(entries.len() as u64, Relaxed);
        self.record_bytes.fetch_add(message.encoded_len() as u64, Relaxed);
    }

    pub fn block(&self, answer: &BlockAnswer) {
        if let BlockAnswer::Block(bytes) = answer {
            self.blocks.fetch_add(1, Relaxed);
            self.block_bytes.fetch_add(bytes.len() as u64, Relaxed);
        }
    }

    fn read(&self) -> Flow {
        Flow {
            messages: self.messages.load(Relaxed),
            records: self.records.load(Relaxed),
            record_bytes: self.record_bytes.load(Relaxed),
            blocks: self.blocks.load(Relaxed),
            block_bytes: self.block_bytes.load(Relaxed),
        }
    }
}

impl AllCounters {
    pub fn read(&self) -> Traffic {
        Traffic {
            sent: self.sent.read(),
            received: self.received.read(),
            banned: self.banned.load(Relaxed),
        }
    }
}
