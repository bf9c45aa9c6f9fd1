//! The network: transport, behaviour, and what is said on the wire.

mod behaviour;
mod blocks;
mod doors;
mod messages;
mod records;
mod transport;
mod upgrades;
mod wire;

pub(crate) use behaviour::{Behaviour, BehaviourEvent, HELD_RECORDS, QUESTION_LASTS, behaviour};
pub(crate) use blocks::{BlockAnswer, BlockQuestion};
pub(crate) use messages::{Refusal, SealedAnswer, SealedQuestion};
pub(crate) use records::{Entry, MOST_ENTRIES, RecordsAnswer, RecordsQuestion};
pub(crate) use transport::transport;
#[cfg(test)]
pub(crate) use wire::{Raw, Wire, WireCodec};
