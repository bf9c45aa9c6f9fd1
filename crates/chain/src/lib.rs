//! The embedded ledger node: Malachite BFT consensus and revm execution behind Ethereum JSON-RPC.

pub mod application;
pub mod consensus;
pub mod genesis;
pub mod key;
