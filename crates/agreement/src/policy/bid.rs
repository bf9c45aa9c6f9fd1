//! The provider's side: whether to bid, what to offer, at what price.

use serde::{Deserialize, Serialize};

use super::reservations::{Reservations, Shortage};
use crate::{Account, Agreement, Price, State, Terms};

/// What an hour costs. The parts are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PriceList {
    /// For any service, whatever it takes.
    pub base: Price,
    /// For each replica.
    pub per_replica: Price,
    /// For each thousandth of a core of each replica.
    pub per_millicore: Price,
    /// For each mebibyte of memory of each replica.
    pub per_ram_mb: Price,
    /// For each megabit a second of the service.
    pub per_bandwidth_mbps: Price,
}

impl PriceList {
    /// So much for each replica, whatever it takes.
    pub fn per_replica(price: Price) -> Self {
        Self {
            per_replica: price,
            ..Self::default()
        }
    }

    /// What an hour of a service that needs `wanted` costs. A price too large for the ledger is the largest there is.
    pub fn price(&self, wanted: &Terms) -> Price {
        let replicas = u128::from(wanted.replicas);
        let parts = [
            (self.per_replica, replicas),
            (self.per_millicore, replicas * u128::from(wanted.cpu_millicores)),
            (self.per_ram_mb, replicas * u128::from(wanted.ram_mb)),
            (self.per_bandwidth_mbps, wanted.bandwidth_mbps.into()),
        ];
        Price(parts.into_iter().fold(self.base.0, |sum, (price, units)| {
            sum.saturating_add(price.0.saturating_mul(units))
        }))
    }
}

/// What a provider takes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Its own account.
    pub account: Account,
    /// Its prices.
    pub prices: PriceList,
    /// Seconds: longer confirmation windows are not accepted, because what was deployed is unpaid for so long.
    pub longest_confirm_window: u32,
}

/// A bid to place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// What each hour costs.
    pub price_per_hour: Price,
    /// What is promised.
    pub terms: Terms,
}

/// Why a provider does not bid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBid {
    /// It is its own announcement.
    #[error("it is this domain's own announcement")]
    Own,
    /// A provider was chosen, or it has ended.
    #[error("it is no longer open, but {0}")]
    NotOpen(State),
    /// The bid would be late.
    #[error("the bid deadline has passed")]
    TooLate,
    /// The creator may wait too long with its answer.
    #[error("the confirmation window of {window} s is longer than the {longest} s that this domain accepts")]
    WindowTooLong {
        /// Seconds that the announcement gives.
        window: u32,
        /// Seconds that this domain accepts.
        longest: u32,
    },
    /// The cluster is too full, or not good enough.
    #[error(transparent)]
    Shortage(#[from] Shortage),
}

/// Whether to bid on `agreement`, and what. Where it says yes the terms have been reserved; they stay so until
/// [`Reservations::observe`] sees the agreement lost or ended, or until [`release`](Reservations::release) if the bid
/// could not be placed. Asking again gives the same answer.
pub fn decide(
    provider: &Provider,
    reservations: &mut Reservations,
    agreement: &Agreement,
    now: u64,
) -> Result<Offer, NoBid> {
    let announcement = &agreement.announcement;
    if agreement.creator == provider.account {
        return Err(NoBid::Own);
    }
    if agreement.state != State::Open {
        return Err(NoBid::NotOpen(agreement.state));
    }
    if now > announcement.bid_deadline {
        return Err(NoBid::TooLate);
    }
    if announcement.confirm_window > provider.longest_confirm_window {
        return Err(NoBid::WindowTooLong {
            window: announcement.confirm_window,
            longest: provider.longest_confirm_window,
        });
    }
    let mut others = reservations.clone();
    others.release(agreement.id());
    let terms = others.offer_for(&announcement.requirements)?;
    reservations.reserve(agreement.id(), &terms);
    Ok(Offer {
        price_per_hour: provider.prices.price(&announcement.requirements),
        terms,
    })
}
