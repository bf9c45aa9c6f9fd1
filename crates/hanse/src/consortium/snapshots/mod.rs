//! Snapshots between domains: what a member serves to members and to those whom one has invited, and how they fetch it.

mod fetch;
mod serve;

pub use fetch::{fetch, fill};
pub use serve::{Gate, routes};

/// The header in which a token is sent.
const TOKEN: &str = "x-hanse-invite";
