//! What can happen to a federation, what comes of it, and why it may be refused.

use serde::{Deserialize, Serialize};

use crate::{Account, AgreementId, Amount, Announcement, Hash, Price, State, Terms};

/// A call of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Who calls.
    pub caller: Account,
    /// What for.
    pub action: Action,
}

/// One function of the contract each, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the arguments are the fields of Bid, Agreement and Effect of the same names"
)]
pub enum Action {
    /// A member looks for a provider.
    Announce(Announcement),
    /// A member offers, or replaces its offer.
    PlaceBid {
        id: AgreementId,
        price_per_hour: Price,
        location: String,
        offer: Terms,
    },
    /// The creator takes the bid that it saw (`sequence`), and pays for so many hours in advance, or for none.
    Choose {
        id: AgreementId,
        bidder: Account,
        sequence: u64,
        hours_paid: u32,
        sealed_parameters: Vec<u8>,
        payment: Amount,
    },
    /// The provider says that the service runs, and where.
    Deployed { id: AgreementId, sealed_endpoint: Vec<u8> },
    /// The creator accepts what was deployed.
    Confirm { id: AgreementId },
    /// The creator gives up.
    Cancel { id: AgreementId, reason: String },
    /// The provider gives up.
    Decline { id: AgreementId, reason: String },
    /// Anyone ends what missed its deadline or lost a party.
    Expire { id: AgreementId },
    /// Anyone releases what the creator left unanswered.
    Settle { id: AgreementId },
    /// A party ends a service in use.
    Terminate { id: AgreementId },
    /// The caller takes what it is owed. Whether its account accepts coins is not the federation's to know, so it is told.
    Withdraw { accepted: bool },
}

/// One event of the contract each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of Bid and Agreement of the same names")]
pub enum Effect {
    /// A service is looking for a provider.
    Announced {
        id: AgreementId,
        creator: Account,
        description: String,
        manifest_hash: Hash,
        bid_deadline: u64,
        deploy_deadline: u64,
    },
    /// A member has offered; `replaced`: it had before.
    BidPlaced {
        id: AgreementId,
        bidder: Account,
        price_per_hour: Price,
        sequence: u64,
        replaced: bool,
    },
    /// A provider is chosen; `sealed_parameters` is for it alone.
    Awarded {
        id: AgreementId,
        provider: Account,
        price_per_hour: Price,
        escrow: Amount,
        #[serde(with = "hex_bytes")]
        sealed_parameters: Vec<u8>,
    },
    /// The service runs; `sealed_endpoint` is for the creator alone.
    Deployed {
        id: AgreementId,
        provider: Account,
        endpoint_hash: Hash,
        confirm_deadline: u64,
        #[serde(with = "hex_bytes")]
        sealed_endpoint: Vec<u8>,
    },
    /// The service is in use; `released` is now owed to the provider.
    Confirmed {
        id: AgreementId,
        by: Account,
        released: Amount,
    },
    /// A party ended it after so many seconds of use.
    Terminated {
        id: AgreementId,
        by: Account,
        served_seconds: u64,
    },
    /// A party gave up; `refunded` is now owed to the creator.
    Cancelled {
        id: AgreementId,
        by: Account,
        refunded: Amount,
        reason: String,
    },
    /// It was waited for in vain; `refunded` is now owed to the creator.
    Expired {
        id: AgreementId,
        by: Account,
        was: State,
        refunded: Amount,
    },
    /// An account has taken what it was owed.
    Withdrawn { account: Account, amount: Amount },
}

impl Effect {
    /// The agreement that changed; none for a withdrawal.
    pub fn id(&self) -> Option<AgreementId> {
        match self {
            Self::Announced { id, .. }
            | Self::BidPlaced { id, .. }
            | Self::Awarded { id, .. }
            | Self::Deployed { id, .. }
            | Self::Confirmed { id, .. }
            | Self::Terminated { id, .. }
            | Self::Cancelled { id, .. }
            | Self::Expired { id, .. } => Some(*id),
            Self::Withdrawn { .. } => None,
        }
    }
}

/// Why an input changes nothing: one custom error of the contract each, with the same data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Rejection {
    #[error("{account} is not a member of the consortium; its members have to admit it first")]
    NotMember { account: Account },
    #[error("agreement id {id} has been used before; take a new one")]
    IdTaken { id: AgreementId },
    #[error("there is no agreement {id} on this ledger")]
    UnknownAgreement { id: AgreementId },
    #[error("agreement {id} is {current}, in which this cannot be done")]
    WrongState { id: AgreementId, current: State },
    #[error("agreement {id} is the bidder's own; only others can bid")]
    OwnAgreement { id: AgreementId },
    #[error("{caller} did not announce agreement {id}; only its creator can do this")]
    NotCreator { id: AgreementId, caller: Account },
    #[error("{caller} was not chosen for agreement {id}; only its provider can do this")]
    NotProvider { id: AgreementId, caller: Account },
    #[error("{caller} is neither creator nor provider of agreement {id}")]
    NotParty { id: AgreementId, caller: Account },
    #[error("too late for agreement {id}: the deadline was Unix time {deadline}")]
    DeadlinePassed { id: AgreementId, deadline: u64 },
    #[error("agreement {id} has missed no deadline and lost no party; there is nothing to expire")]
    NotExpired { id: AgreementId },
    #[error("the creator of agreement {id} has until Unix time {deadline} to answer; settle after that")]
    ConfirmWindowOpen { id: AgreementId, deadline: u64 },
    #[error("agreement {id} has no such bid of {bidder}; it may have been replaced, so look at the bids again")]
    NoSuchBid { id: AgreementId, bidder: Account },
    #[error("agreement {id} has as many bids as an agreement can have")]
    TooManyBids { id: AgreementId },
    #[error("exactly {expected} wei have to be paid, but {sent} were sent")]
    WrongPayment { expected: Amount, sent: Amount },
    #[error(
        "the bid deadline has to be in the future, the deploy deadline after it, the confirmation window at least 1 second"
    )]
    InvalidDeadlines,
    #[error("there has to be at least 1 replica, and availability is at most 10000 hundredths of a percent")]
    InvalidTerms,
    #[error("{length} bytes are too long; at most {limit} are taken")]
    TooLong { length: u64, limit: u64 },
    #[error("a sealed endpoint is needed, but nothing was given")]
    Empty,
    #[error("nothing is owed to {account}")]
    NothingOwed { account: Account },
    #[error("{account} refused the coins that it is owed; they are kept for it")]
    TransferFailed { account: Account },
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{}", hex::encode(bytes)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map_err(de::Error::custom)
    }
}
