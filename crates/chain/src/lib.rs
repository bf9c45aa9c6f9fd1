//! The embedded ledger node: Malachite BFT consensus and revm execution behind Ethereum JSON-RPC.
//!
//! **Promise.** All nodes of a ledger commit the same blocks in the same order, and a committed block is final, as long as less
//! than a third of the validators lie. While more than two thirds are up and connected, a transaction that any node takes is
//! committed on all within milliseconds; an idle chain makes one empty block every heartbeat. What was committed is on disk. A
//! node may be killed at any moment: started again, it goes on where it was, and fetches what it missed.
//!
//! With fewer than four members no failure is tolerated: with two or three, all must be up.
//!
//! **What the caller must do.** Give each domain one [`node::Node`] with a [`keyring::KeyRing`] of its own and a data folder of
//! its own, all with the same [`genesis::Genesis`]. Keep JSON-RPC on loopback or behind something that authenticates. Watch
//! [`ConsensusStatus::halted`](consensus::ConsensusStatus): a node halts when going on would be wrong, and says what to do. A
//! mempool is not on disk: whoever sees no receipt sends again.
//!
//! **Inside.** [`consensus`] orders opaque blocks and knows nothing of what is in them; [`ledger`] executes them on [`store`];
//! [`application`] is the seam between the two. [`mempool`] holds what waits, [`rpc`] serves what is there. The validators of each
//! height are the members in the Consortium contract after the block before.

pub mod application;
pub mod consensus;
pub mod execution;
pub mod genesis;
pub mod key;
pub mod keyring;
pub mod ledger;
pub mod membership;
pub mod mempool;
pub mod metrics;
pub mod node;
pub mod readiness;
pub mod rpc;
pub mod snapshot;
pub mod store;
pub mod turns;
