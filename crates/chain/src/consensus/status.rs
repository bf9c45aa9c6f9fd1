//! What can be seen of consensus from outside, at no cost.

use std::time::SystemTime;

use alloy::primitives::B256;

/// How the node stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsensusStatus {
    /// Height of the newest committed block.
    pub height: u64,
    /// Its hash.
    pub hash: B256,
    /// When this node committed it; `None` until it commits one.
    pub last_block: Option<SystemTime>,
    /// Validators of the next height.
    pub validators: usize,
    /// How many of them this node can talk to, itself included if it is one.
    pub connected: usize,
    /// How many of them must be connected for a block to be decided.
    pub quorum: usize,
    /// Whether this node is one of them.
    pub is_validator: bool,
    /// Connected nodes that are no validators.
    pub guests: usize,
    /// How many other validators have told their height.
    pub heard: usize,
    /// The greatest height that more of them claim than may lie; `None` if too few were heard.
    pub highest: Option<u64>,
    /// Whether the watchdog restarted the engine since the height moved last.
    pub standstill: bool,
    /// Why it does not vote at present although it is a member, if so; it will again by itself.
    pub abstains: Option<String>,
    /// How often the engine was restarted because it had gone silent or had died.
    pub engine_restarts: u32,
    /// Why the node takes no further part in consensus, if so. Only its operator can change that.
    pub halted: Option<String>,
    /// Whether it halted because another node runs with its key.
    pub duplicate_key: bool,
}

impl ConsensusStatus {
    /// Whether blocks can be decided now, as far as this node sees.
    pub fn has_quorum(&self) -> bool {
        self.halted.is_none() && self.connected >= self.quorum
    }
}
