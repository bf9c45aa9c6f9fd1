//! What the contracts tell, typed.

use alloy::primitives::{B256, Keccak256, LogData, TxHash};
use alloy::sol_types::{SolEvent, SolEventInterface};
use hanse_agreement::Effect;
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

impl LedgerEvent {
    /// Tells it from every other event: if the chain replaces its block and it comes again, it has the same digest there.
    ///
    /// What happens to an agreement happens once in its life, so this is the digest of what the event says. Other things can
    /// happen again, such as a member that leaves twice, and are told apart by their transaction.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let log = self.kind.encode();
        let mut hash = Keccak256::new();
        for topic in log.topics() {
            hash.update(topic);
        }
        hash.update(&log.data);
        if self.kind.agreement().is_none() {
            hash.update(self.tx);
        }
        hash.finalize()
    }
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

        impl Event {
            /// Names of all events.
            pub const NAMES: &[&str] = &[$($(stringify!($name),)*)*];

            /// Its name in the contract.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $($(Self::$name(_) => stringify!($name),)*)*
                }
            }

            /// As the contract writes it into its log.
            fn encode(&self) -> LogData {
                match self {
                    $($(Self::$name(event) => event.encode_log_data(),)*)*
                }
            }
        }

        $(impl From<$contract::$events> for Event {
            fn from(event: $contract::$events) -> Self {
                match event {
                    $($contract::$events::$name(event) => Self::$name(event),)*
                }
            }
        }

        impl TryFrom<Event> for $contract::$events {
            /// It is of the other contract.
            type Error = Event;

            fn try_from(event: Event) -> Result<Self, Event> {
                match event {
                    $(Event::$name(event) => Ok(Self::$name(event)),)*
                    other => Err(other),
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
    /// What it means for agreements. None for the events of the consortium, and if it names a state that this version does not
    /// know.
    #[must_use]
    pub fn effect(&self) -> Option<Effect> {
        let event = Federation::FederationEvents::try_from(self.clone()).ok()?;
        event.try_into().ok()
    }

    /// The agreement that it is about.
    #[must_use]
    pub fn agreement(&self) -> Option<B256> {
        match self {
            Self::Announced(event) => Some(event.id),
            Self::BidPlaced(event) => Some(event.id),
            Self::Awarded(event) => Some(event.id),
            Self::Deployed(event) => Some(event.id),
            Self::Confirmed(event) => Some(event.id),
            Self::Terminated(event) => Some(event.id),
            Self::Cancelled(event) => Some(event.id),
            Self::Expired(event) => Some(event.id),
            _ => None,
        }
    }

    /// Reads a log of one of the contracts. None for an event of a newer version of them.
    pub(crate) fn decode(log: &LogData) -> Option<Self> {
        if let Ok(event) = Federation::FederationEvents::decode_raw_log(log.topics(), &log.data) {
            return Some(event.into());
        }
        Consortium::ConsortiumEvents::decode_raw_log(log.topics(), &log.data)
            .ok()
            .map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, U256};

    use super::*;

    fn at(block: u64, tx: u8, kind: impl Into<Event>) -> LedgerEvent {
        LedgerEvent {
            cursor: Cursor::before_block(block),
            tx: TxHash::repeat_byte(tx),
            block_time: block,
            kind: kind.into(),
        }
    }

    fn confirmed(agreement: u8, released: u64) -> Event {
        Event::Confirmed(Federation::Confirmed {
            id: B256::repeat_byte(agreement),
            by: Address::repeat_byte(2),
            released: U256::from(released),
        })
    }

    #[test]
    fn an_event_keeps_its_digest_in_another_block_and_no_two_share_one() {
        let left = Event::MemberLeft(Consortium::MemberLeft {
            account: Address::repeat_byte(2),
            name: "north".into(),
        });
        let digest = at(5, 1, confirmed(7, 10)).digest();
        assert_eq!(at(9, 1, confirmed(7, 10)).digest(), digest);
        assert_eq!(
            at(9, 3, confirmed(7, 10)).digest(),
            digest,
            "sent again for a higher fee"
        );
        assert_eq!(at(5, 1, left.clone()).digest(), at(9, 1, left.clone()).digest());
        let others = [
            at(5, 1, confirmed(8, 10)),
            at(5, 1, confirmed(7, 11)),
            at(5, 1, left.clone()),
            at(9, 3, left),
        ];
        let mut digests: Vec<_> = others.iter().map(LedgerEvent::digest).collect();
        digests.push(digest);
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 5);
    }
}
