//! The default swarm of this domain's agent.

mod start;

pub use start::{key, start};
