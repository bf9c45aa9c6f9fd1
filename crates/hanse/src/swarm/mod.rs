//! The default swarm of this domain's agent.

mod discover;
mod start;

pub use discover::discover;
pub use start::{key, start};
