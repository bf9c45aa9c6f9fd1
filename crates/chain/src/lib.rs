//! The embedded ledger node: Malachite BFT consensus and revm execution behind Ethereum JSON-RPC.

pub mod application;
pub mod consensus;
pub mod execution;
pub mod genesis;
pub mod key;
pub mod ledger;
pub mod mempool;
pub mod node;
pub mod rpc;
pub mod store;
