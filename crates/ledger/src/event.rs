//! What the contracts tell, typed.

use alloy::primitives::{B256, TxHash};
use alloy::sol_types::SolEventInterface;
use hanse_contracts::{Consortium, Federation};
use serde::{Deserialize, Serialize};

/// A position in the sequence of all events, between two of them: what lies before it is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// Height of the block.
    pub block: u64,
    /// Index of the first log of that block which is not done with; `u64::MAX` when all of it is.
    pub log_index: u64,
    /// Hash of the block, where it is known: whoever resumes from here is told if the block was replaced meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<B256>,
}

impl Cursor {
    /// Before the first event of the chain.
    pub const START: Self = Self::before_block(0);

    /// Before everything in a block.
    #[must_use]
    pub const fn before_block(block: u64) -> Self {
        Self {
            block,
            log_index: 0,
            hash: None,
        }
    }

    /// Behind everything in a block.
    #[must_use]
    pub const fn after_block(block: u64) -> Self {
        Self {
            block,
            log_index: u64::MAX,
            hash: None,
        }
    }
}

/// An event of one of the contracts.
#[derive(Debug, Clone)]
pub struct LedgerEvent {
    /// Where to resume behind it.
    pub cursor: Cursor,
    /// The transaction that caused it.
    pub tx: TxHash,
    /// Time of its block, Unix seconds.
    pub block_time: u64,
    /// What happened.
    pub kind: Event,
}

macro_rules! events {
    ($($contract:ident :: $events:ident { $($name:ident: $meaning:literal,)* })*) => {
        /// Every event of both contracts, with the fields that `contracts/src/interfaces` explains.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $($(
                #[doc = $meaning]
                $name($contract::$name),
            )*)*
        }

        $(impl From<$contract::$events> for Event {
            fn from(event: $contract::$events) -> Self {
                match event {
                    $($contract::$events::$name(event) => Self::$name(event),)*
                }
            }
        })*
    };
}

events! {
    Federation::FederationEvents {
        Announced: "A service was announced.",
        BidPlaced: "A bid was placed or replaced.",
        Awarded: "The creator chose a bid.",
        Deployed: "The provider runs the service.",
        Confirmed: "The service answers; the escrow is released.",
        Terminated: "A party ended a confirmed agreement.",
        Cancelled: "Creator or provider withdrew.",
        Expired: "A deadline was missed or a party is gone.",
        Withdrawn: "An account took what it was owed.",
    }
    Consortium::ConsortiumEvents {
        MemberAdmitted: "A domain became a member.",
        MemberRemoved: "A member was voted out.",
        MemberLeft: "A member left.",
        MemberUpdated: "A member published other addresses or keys.",
        ValidatorKeyRotated: "A member replaced its validator key.",
        ProposalMade: "A member proposed something.",
        ProposalApproved: "A member approved a proposal.",
        ProposalPassed: "A proposal was carried out.",
        ProposalWithdrawn: "A proposal was withdrawn.",
        ConsensusParametersChanged: "The timeouts of consensus changed.",
    }
}

impl Event {
    /// Reads a log of one of the contracts. None for an event of a newer version of them.
    pub(crate) fn decode(log: &alloy::primitives::LogData) -> Option<Self> {
        if let Ok(event) = Federation::FederationEvents::decode_raw_log(log.topics(), &log.data) {
            return Some(event.into());
        }
        Consortium::ConsortiumEvents::decode_raw_log(log.topics(), &log.data)
            .ok()
            .map(Into::into)
    }
}
