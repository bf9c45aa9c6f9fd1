//! Consensus: orders opaque blocks with Malachite, a Tendermint BFT engine.
//!
//! **Promise.** While more than two thirds of the validators are up and connected, what waits in any node's mempool is
//! decided within milliseconds; an idle chain makes one block every heartbeat. All nodes commit the same blocks in the
//! same order as long as less than a third of the validators lie. A node killed at any moment continues where it was and
//! never contradicts what it signed: the engine's write-ahead log is flushed before anything is sent.
//!
//! **What the caller must do.** Provide an [`Application`](crate::application::Application) whose `commit` is durable when
//! it returns; start one node for each validator key; watch [`ConsensusStatus::halted`]: a node that halts does so because
//! going on would be wrong, and its operator has to find out why.
//!
//! **How it works.** `service` starts the engine and an application loop (`app`, with `starting`, `proposals` and
//! `decisions`) that answers it. Votes and proposals carry block ids only; blocks travel once, in parts (`value`,
//! `assembly`). When the next height starts is decided in `pace`. Transactions are gossiped on the topic of the block
//! parts, so there is one network only. Everything that decides something is a pure module of its own: `pace`, `gate`, `assembly`, `watchdog`, `abstention`.

mod abstention;
mod app;
mod assembly;
mod blocks;
mod certificate;
mod codec;
#[cfg(test)]
mod codec_tests;
mod conflict;
mod connections;
mod context;
mod decisions;
mod engine;
mod evidence;
mod farewell;
#[cfg(test)]
mod fuzz_tests;
mod gate;
mod gossip;
mod heights;
mod identity;
mod intake;
mod pace;
mod peers;
mod proof;
mod proposals;
mod service;
mod signing;
mod starting;
mod status;
mod twin;
mod validators;
mod value;
mod vote;
mod wal;
#[cfg(test)]
mod wal_tests;
mod watchdog;

pub use abstention::{Abstention, folder};
pub use certificate::certify;
pub use evidence::{Evidence, EvidenceBook, Misbehaviour};
pub use peers::{peer_address, validator_peer};
pub use proof::verify_certificate;
pub use service::{Consensus, ConsensusConfig, ConsensusStartError, Wishes};
pub use status::ConsensusStatus;
