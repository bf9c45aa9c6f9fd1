//! What all nodes of a ledger start from.

use serde::{Deserialize, Serialize};

/// Timeouts of consensus, in milliseconds. Kept in the Consortium contract; each round adds its delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsensusParameters {
    /// How long to wait for a proposal.
    pub propose_ms: u32,
    /// Added to `propose_ms` for each further round.
    pub propose_delta_ms: u32,
    /// How long to wait for the remaining votes once there are enough for a decision.
    pub vote_ms: u32,
    /// Added to `vote_ms` for each further round.
    pub vote_delta_ms: u32,
    /// An idle chain makes an empty block this often.
    pub heartbeat_ms: u32,
}
