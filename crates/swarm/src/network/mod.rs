//! The network: transport, behaviour, and what is said on the wire.

mod behaviour;
mod blocks;
mod records;
mod transport;
mod wire;

pub(crate) use behaviour::{Behaviour, BehaviourEvent, behaviour};
pub(crate) use blocks::{BlockAnswer, BlockQuestion};
pub(crate) use records::{Entry, MOST_ENTRIES, RecordsAnswer, RecordsQuestion};
pub(crate) use transport::transport;
