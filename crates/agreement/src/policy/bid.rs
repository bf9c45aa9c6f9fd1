//! The provider's side: whether to bid, what to offer, at what price.

use serde::{Deserialize, Serialize};

use super::capacity::{Capacity, NotEnough, Reservations};
use super::terms::{Shortfall, shortfalls};
use crate::{Account, Agreement, Price, State, Terms};

/// What an hour costs. The parts are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceList {
    /// For any service, whatever it takes.
    pub base: Price,
    /// For each replica.
    pub per_replica: Price,
    /// For each thousandth of a core.
    pub per_millicore: Price,
    /// For each mebibyte of memory.
    pub per_ram_mb: Price,
    /// For each megabit a second.
    pub per_bandwidth_mbps: Price,
}

impl PriceList {
    /// The same for every service.
    pub fn flat(price: Price) -> Self {
        Self {
            base: price,
            ..Self::default()
        }
    }

    /// What an hour of a service under these terms costs. A price too large for the ledger is the largest there is.
    pub fn price(&self, terms: &Terms) -> Price {
        let needed = Capacity::of(terms);
        let parts = [
            (self.per_replica, u64::from(terms.replicas)),
            (self.per_millicore, needed.cpu_millicores),
            (self.per_ram_mb, needed.ram_mb),
            (self.per_bandwidth_mbps, needed.bandwidth_mbps),
        ];
        Price(parts.into_iter().fold(self.base.0, |sum, (price, units)| {
            sum.saturating_add(price.0.saturating_mul(units.into()))
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
    /// What it promises at best in quality: availability, latency, jitter; the other fields are not read.
    pub quality: Terms,
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
    #[error("it is no longer open: {0}")]
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
    /// The quality asked for is better than what is promised here.
    #[error("this domain does not promise that quality: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Quality(Vec<Shortfall>),
    /// The cluster is too full.
    #[error(transparent)]
    NotEnough(#[from] NotEnough),
}

/// Whether to bid on `agreement`, and what. Where it says yes the capacity has been reserved; it stays so until
/// [`Reservations::observe`] sees the agreement lost or ended, or until
/// [`free_agreement`](Reservations::free_agreement) if the bid could not be placed. Asking again gives the same answer.
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
    let terms = Terms {
        availability_bps: provider.quality.availability_bps,
        latency_ms: provider.quality.latency_ms,
        jitter_ms: provider.quality.jitter_ms,
        ..announcement.requirements
    };
    let short = shortfalls(&announcement.requirements, &terms);
    if !short.is_empty() {
        return Err(NoBid::Quality(short));
    }
    reservations.reserve(agreement.id(), Capacity::of(&terms))?;
    Ok(Offer {
        price_per_hour: provider.prices.price(&terms),
        terms,
    })
}
