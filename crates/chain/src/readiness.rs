//! Whether a node can be relied on: in sync, with a quorum, moving, and of one mind with the others. Pure.

use std::fmt;

use crate::consensus::ConsensusStatus;
use crate::ledger::StateCheck;

/// Blocks that a node in sync may be behind what others told: they tell it once a second, and a block takes a moment.
const IN_FLIGHT: u64 = 2;

/// Why a node is not ready. As text: what is the matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// A decided block gave this node another state than the others.
    StateRootMismatch {
        /// The newest height at which it agreed.
        agreed: u64,
        /// What the ledger says.
        reason: String,
    },
    /// The node takes no further part in consensus.
    Halted(String),
    /// Too few validators are connected for a block to be decided.
    NoQuorum {
        /// How many are, this node included.
        connected: usize,
        /// How many must be.
        quorum: usize,
        /// Of how many.
        validators: usize,
    },
    /// The node is a member, but does not vote yet.
    Abstains(String),
    /// The height stands still although a quorum is connected.
    Standstill {
        /// The height.
        height: u64,
    },
    /// Too few of the others have told their height yet.
    PeersUnheard,
    /// The others have decided more.
    Syncing {
        /// The node's height.
        height: u64,
        /// That of the others.
        highest: u64,
    },
}

impl Unready {
    /// A name for programs, which stays.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StateRootMismatch { .. } => "state-root-mismatch",
            Self::Halted(_) => "halted",
            Self::NoQuorum { .. } => "no-quorum",
            Self::Abstains(_) => "abstains",
            Self::Standstill { .. } => "standstill",
            Self::PeersUnheard => "starting",
            Self::Syncing { .. } => "syncing",
        }
    }

    /// What the operator can do.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::StateRootMismatch { .. } => {
                "keep a copy of the data folder for those who look into it, stop the agent, and fetch the ledger anew from the \
                 other members with `hanse ledger resync`"
            }
            Self::Halted(_) => "do what the reason says, then restart the agent",
            Self::NoQuorum { .. } => {
                "start the agents of the members that are away, or see why they can't be reached: `hanse consortium members` \
                 lists their addresses"
            }
            Self::Abstains(_) => {
                "wait: it votes again by itself; if the others can decide nothing without it, see `hanse ledger vote --help`"
            }
            Self::Standstill { .. } => {
                "the engine restarts by itself; if this lasts, compare the logs and clocks of the members"
            }
            Self::PeersUnheard => "wait a few seconds",
            Self::Syncing { .. } => "wait until the node has caught up",
        }
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateRootMismatch { agreed, reason } => {
                write!(f, "state-root mismatch after height {agreed}: {reason}")
            }
            Self::Halted(reason) => write!(f, "the ledger node halted: {reason}"),
            Self::NoQuorum {
                connected,
                quorum,
                validators,
            } => write!(
                f,
                "no quorum: {connected} of {validators} validators are connected, {quorum} are needed"
            ),
            Self::Abstains(reason) => write!(f, "this validator does not vote: {reason}"),
            Self::Standstill { height } => {
                write!(
                    f,
                    "the ledger stands still at height {height} although a quorum is connected"
                )
            }
            Self::PeersUnheard => f.write_str("the other validators have not told their heights yet"),
            Self::Syncing { height, highest } => {
                write!(
                    f,
                    "syncing: this node is at height {height}, the others are at {highest}"
                )
            }
        }
    }
}

/// Why a node is not ready; nothing if it is.
pub fn unready(status: &ConsensusStatus, state: StateCheck) -> Vec<Unready> {
    if let Some(reason) = &status.halted {
        let reason = reason.clone();
        return vec![match state.agrees {
            true => Unready::Halted(reason),
            false => Unready::StateRootMismatch {
                agreed: state.height,
                reason,
            },
        }];
    }
    let mut reasons = Vec::new();
    if !status.has_quorum() {
        reasons.push(Unready::NoQuorum {
            connected: status.connected,
            quorum: status.quorum,
            validators: status.validators,
        });
    } else if status.standstill {
        reasons.push(Unready::Standstill { height: status.height });
    }
    if let Some(reason) = &status.abstains {
        reasons.push(Unready::Abstains(reason.clone()));
    }
    let own = usize::from(status.is_validator);
    match status.highest {
        Some(highest) if highest > status.height + IN_FLIGHT => reasons.push(Unready::Syncing {
            height: status.height,
            highest,
        }),
        // Without a quorum that is what is the matter, and not that nobody is heard.
        _ if status.has_quorum() && status.heard < status.quorum - own => reasons.push(Unready::PeersUnheard),
        _ => {}
    }
    reasons
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    fn well() -> ConsensusStatus {
        ConsensusStatus {
            height: 100,
            hash: B256::ZERO,
            last_block: None,
            validators: 4,
            connected: 4,
            quorum: 3,
            is_validator: true,
            abstains: None,
            guests: 0,
            heard: 3,
            highest: Some(100),
            standstill: false,
            engine_restarts: 0,
            halted: None,
            duplicate_key: false,
        }
    }

    const AGREES: StateCheck = StateCheck {
        height: 100,
        agrees: true,
    };

    fn names(status: &ConsensusStatus, state: StateCheck) -> Vec<&'static str> {
        unready(status, state).iter().map(Unready::name).collect()
    }

    #[test]
    fn each_reason_is_found_and_named() {
        assert!(unready(&well(), AGREES).is_empty());
        let with = |change: fn(&mut ConsensusStatus)| {
            let mut status = well();
            change(&mut status);
            names(&status, AGREES)
        };
        assert_eq!(with(|it| it.connected = 2), ["no-quorum"]);
        assert_eq!(with(|it| it.highest = Some(103)), ["syncing"]);
        assert_eq!(with(|it| it.standstill = true), ["standstill"]);
        assert_eq!(with(|it| it.abstains = Some("restored".into())), ["abstains"]);
        assert_eq!(with(|it| it.heard = 1), ["starting"]);
        assert_eq!(with(|it| it.halted = Some("full disk".into())), ["halted"]);
        assert_eq!(
            with(|it| {
                it.connected = 2;
                it.heard = 1;
                it.standstill = true;
            }),
            ["no-quorum"],
            "one cause, one reason"
        );
        let mut halted = well();
        halted.halted = Some("root".into());
        let differs = StateCheck {
            height: 99,
            agrees: false,
        };
        assert_eq!(names(&halted, differs), ["state-root-mismatch"]);
    }

    #[test]
    fn what_is_in_flight_and_one_member_away_is_no_matter() {
        let mut status = well();
        (status.highest, status.connected, status.heard) = (Some(102), 3, 2);
        assert!(unready(&status, AGREES).is_empty());
    }

    #[test]
    fn a_consortium_of_one_hears_nobody_and_is_ready() {
        let alone = ConsensusStatus {
            validators: 1,
            connected: 1,
            quorum: 1,
            heard: 0,
            highest: None,
            ..well()
        };
        assert!(unready(&alone, AGREES).is_empty());
    }
}
