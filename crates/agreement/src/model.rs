//! What an agreement consists of. The fields are those of the contract's structs, in its order.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Account, AgreementId, Amount, Hash, Price};

/// What a service needs, and what a bid offers: the same fields so that they compare one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Hundredths of a percent, at most 10000; the offer must not be lower.
    pub availability_bps: u16,
    /// Milliseconds; the offer must not be higher. 0 in a requirement means any.
    pub latency_ms: u32,
    /// Milliseconds; the offer must not be higher. 0 in a requirement means any.
    pub jitter_ms: u32,
    /// Megabits a second; the offer must not be lower.
    pub bandwidth_mbps: u32,
    /// Thousandths of a core for each replica; the offer must not be lower.
    pub cpu_millicores: u32,
    /// Mebibytes for each replica; the offer must not be lower.
    pub ram_mb: u32,
    /// How many copies of the service; at least 1; the offer must not be lower.
    pub replicas: u32,
}

/// A service that is looking for a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// Chosen by the creator.
    pub id: AgreementId,
    /// At most 1024 bytes.
    pub description: String,
    /// What the service needs.
    pub requirements: Terms,
    /// SHA-256 of the manifest's bytes.
    pub manifest_hash: Hash,
    /// Unix seconds; the last second in which a bid is in time.
    pub bid_deadline: u64,
    /// Unix seconds, after `bid_deadline`; the last second to choose and to deploy.
    pub deploy_deadline: u64,
    /// Seconds from deployed in which the creator confirms or cancels; at least 1.
    pub confirm_window: u32,
}

/// An offer to run a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bid {
    /// Who offers.
    pub bidder: Account,
    /// What each hour costs.
    pub price_per_hour: Price,
    /// Order of the bids of one agreement, from 1; a replaced bid takes a new number.
    pub sequence: u64,
    /// Where the service would run, in the bidder's words; at most 128 bytes.
    pub location: String,
    /// What the bidder promises.
    pub offer: Terms,
}

/// How far an agreement has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Announced; takes bids.
    Open = 1,
    /// A provider is chosen and is to deploy.
    Awarded = 2,
    /// The provider says that the service runs; the creator is to confirm.
    Deployed = 3,
    /// The service runs and is in use; the provider has been paid.
    Confirmed = 4,
    /// Ended by a party after use.
    Terminated = 5,
    /// Ended before use by the creator, or declined by the provider.
    Cancelled = 6,
    /// Ended by a missed deadline or a party that is no longer a member.
    Expired = 7,
}

impl State {
    /// Whether the agreement can still change.
    pub fn is_live(self) -> bool {
        self <= Self::Confirmed
    }

    /// The contract's number of this state.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The state of a number of the contract; `None` for 0 (no such agreement) and for unknown numbers.
    pub fn from_code(code: u8) -> Option<Self> {
        [
            Self::Open,
            Self::Awarded,
            Self::Deployed,
            Self::Confirmed,
            Self::Terminated,
            Self::Cancelled,
            Self::Expired,
        ]
        .into_iter()
        .find(|state| state.code() == code)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Awarded => "awarded",
            Self::Deployed => "deployed",
            Self::Confirmed => "confirmed",
            Self::Terminated => "terminated",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        })
    }
}

/// One agreement, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    /// What was asked for.
    pub announcement: Announcement,
    /// How far it has come.
    pub state: State,
    /// Who asked: the consumer.
    pub creator: Account,
    /// Who was chosen; none before [`State::Awarded`].
    pub provider: Option<Account>,
    /// Price of the chosen bid; 0 before.
    pub price_per_hour: Price,
    /// Hours that the creator paid into escrow; 0 if it paid nothing.
    pub hours_paid: u32,
    /// What is held for this agreement now.
    pub escrow: Amount,
    /// Keccak-256 of the sealed endpoint; none before [`State::Deployed`].
    pub endpoint_hash: Option<Hash>,
    /// Unix seconds; the last second in which the creator may cancel what was deployed, after which anyone may settle.
    pub confirm_deadline: Option<u64>,
    /// Members that have a bid.
    pub bid_count: u32,
    /// Unix seconds.
    pub announced_at: u64,
    /// Unix seconds of the last change of state.
    pub changed_at: u64,
    /// Unix seconds; the service counts as used from then on.
    pub confirmed_at: Option<u64>,
}

impl Agreement {
    /// Its name on the ledger.
    pub fn id(&self) -> AgreementId {
        self.announcement.id
    }

    /// Whether the account is its creator or its provider.
    pub fn is_party(&self, account: Account) -> bool {
        self.creator == account || self.provider == Some(account)
    }

    /// Seconds for which the service was in use; up to `now` while it is.
    pub fn served_seconds(&self, now: u64) -> u64 {
        match self.confirmed_at {
            None => 0,
            Some(start) if self.state.is_live() => now.saturating_sub(start),
            Some(start) => self.changed_at.saturating_sub(start),
        }
    }
}
