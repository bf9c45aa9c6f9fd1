//! Execution: what a block does to the state, by the rules of Ethereum.
//!
//! Pure but for reading a [`Snapshot`](crate::store::Snapshot): the same block on the same parent gives the same header on
//! every node, which is what consensus votes on.

pub mod block;
pub mod call;
pub mod decode;
pub mod genesis;
pub mod inspect;
pub mod roots;
pub mod senders;
pub mod spec;
