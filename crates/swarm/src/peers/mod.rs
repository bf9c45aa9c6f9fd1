//! Who is there: the table of the other domains, as a state machine.
//!
//! ```text
//!  announced                 reached                missed
//!  ─────────▶  Unproven  ─────────────▶  Online  ───────────▶  Offline, 1 missed look
//!                 │                        ▲                      │  missed: the counter grows
//!                 │ missed                 └──────── reached ─────┤
//!                 └───────────────────────────────────────────────┤
//!                                                                 ▼ at the limit
//!              withdrawn, at once, from every state ──────▶    removed
//! ```
//! Time and what was seen come in; what changed comes out. A domain that was removed because it could not be reached comes
//! back when it is reached or signs something new; one that withdrew only when it signs something new. So a holder that still
//! serves an old record can't bring anybody back.

mod change;
mod table;

#[cfg(test)]
mod tests;

pub use change::{Change, Refusal, Removal};
pub use table::{Limits, Peer, PeerTable, Presence};
