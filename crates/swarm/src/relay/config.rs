//! What is configured.

use std::time::Duration;

use crate::model::SwarmAddress;

/// How a domain takes part in relaying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfig {
    /// How much it carries for others; nothing if absent.
    pub serve: Option<RelayLimits>,
    /// When others carry for it.
    pub using: RelayUse,
    /// Who may carry for it, each with its peer id; any member that it can call if empty.
    pub at: Vec<SwarmAddress>,
}

/// When a domain has itself called over relays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RelayUse {
    /// When members see it at an address on which it does not listen, and no external address is known.
    #[default]
    Auto,
    /// Always: it can't be called, whatever it looks like (a firewall that lets no call in).
    Always,
    /// Never.
    Never,
}

/// What a relay carries at most. Whoever reserves or calls has the swarm's key; these bounds keep one member from taking all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayLimits {
    /// Domains that may be called over it.
    pub reservations: usize,
    /// Circuits at a time, in all.
    pub circuits: usize,
    /// And those that one member called.
    pub circuits_per_peer: usize,
    /// Bytes of one circuit, in both directions together. Then it is closed, and called anew if somebody needs it.
    pub circuit_bytes: u64,
    /// How long a circuit lasts. Then it is closed, as above.
    pub circuit_lasts: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations: 128,
            circuits: 128,
            circuits_per_peer: 32,
            circuit_bytes: 128 << 20,
            circuit_lasts: Duration::from_secs(3600),
        }
    }
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            serve: Some(RelayLimits::default()),
            using: RelayUse::Auto,
            at: Vec::new(),
        }
    }
}
