//! What a domain says of itself as a party of agreements: its ledger account, and what it can run for others. It is a claim. The
//! account counts for those whose ledger says that it is this peer's; what it can run shows its bid.

use hanse_agreement::{Account, Terms, limits};
use serde::{Deserialize, Serialize};

use super::identity::Location;

/// A claim to have a ledger account, and to run so much for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Party {
    account: Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<Terms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Location>,
}

/// Fields that later versions add are passed over.
#[derive(Deserialize)]
struct Unchecked {
    account: Account,
    #[serde(default)]
    capacity: Option<Terms>,
    #[serde(default)]
    location: Option<Location>,
}

/// No part of a time can be available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an availability of {0} hundredths of a percent is more than all of the time; at most {most} are possible", most = limits::AVAILABILITY_BPS)]
pub struct AvailabilityError(u16);

impl TryFrom<Unchecked> for Party {
    type Error = AvailabilityError;

    fn try_from(raw: Unchecked) -> Result<Self, AvailabilityError> {
        Self::new(raw.account, raw.capacity, raw.location)
    }
}

impl Party {
    /// A claim. `capacity` is all that the domain runs for others: CPU, memory and replicas altogether, the rest at best for each
    /// agreement; none if it runs nothing at present. `location`: where that is.
    ///
    /// # Errors
    /// For an availability above 100 %.
    pub fn new(
        account: Account,
        capacity: Option<Terms>,
        location: Option<Location>,
    ) -> Result<Self, AvailabilityError> {
        match capacity {
            Some(Terms { availability_bps, .. }) if availability_bps > limits::AVAILABILITY_BPS => {
                Err(AvailabilityError(availability_bps))
            }
            _ => Ok(Self {
                account,
                capacity,
                location,
            }),
        }
    }

    /// Its account on the ledger.
    pub fn account(&self) -> Account {
        self.account
    }

    /// All that it runs for others; none if it runs nothing at present.
    pub fn capacity(&self) -> Option<&Terms> {
        self.capacity.as_ref()
    }

    /// Where it runs that, in its words.
    pub fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }
}
