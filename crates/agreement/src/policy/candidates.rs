//! The consumer's side, before an announcement and when bids are in: whom it would take, by what domains say of themselves.
//! What they say is no proof: it spares announcements that nobody could answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::reservations::{Reservations, Shortage};
use super::terms::Shortfall;
use crate::{Account, Terms};

/// All that a domain says that it runs for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// It does not say.
    Unknown,
    /// It does not bid at present.
    Nothing,
    /// CPU, memory and replicas: all of them together. The rest: the best that each single agreement gets.
    UpTo(Terms),
}

/// A domain that may become a provider.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its account, if the ledger says that it is this domain's.
    pub account: Option<Account>,
    /// What it says that it offers; none if it is not known what it says.
    pub categories: Option<Vec<&'a str>>,
    /// What it says that it runs.
    pub capacity: Capacity,
    /// Whether it can be reached, as far as is known.
    pub reachable: bool,
}

/// Whom a consumer would take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// It has to offer all of these.
    pub categories: &'a [String],
    /// It has to be one of these, by name or account; any domain if there are none.
    pub domains: &'a [String],
}

/// Why a domain is not one to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Unfit {
    /// Others are listed, and it is not.
    NotListed,
    /// Nothing is known of what it offers.
    NotSeen,
    /// It does not say that it offers these.
    LacksCategories {
        /// Never empty.
        categories: Vec<String>,
    },
    /// It could not be reached.
    Unreachable,
    /// It says that it runs nothing for others at present.
    ProvidesNothing,
    /// It does not say what it runs for others; its bid would tell.
    CapacityUnknown,
    /// It says that it has less than what is needed, even if nothing else ran there.
    FallsShort {
        /// In what, never empty.
        shortfalls: Vec<Shortfall>,
    },
}

impl Unfit {
    /// Whether it surely can't provide. What is not known decides nothing.
    pub fn is_certain(&self) -> bool {
        *self != Self::CapacityUnknown
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed => f.write_str("is not one of the domains that were named"),
            Self::NotSeen => {
                f.write_str("is not known in the swarm under its ledger account, so what it offers is not known")
            }
            Self::LacksCategories { categories } => {
                write!(f, "does not say that it offers {}", categories.join(", "))
            }
            Self::Unreachable => f.write_str("does not answer in the swarm"),
            Self::ProvidesNothing => f.write_str("runs nothing for others at present"),
            Self::CapacityUnknown => f.write_str("does not say what it can run for others"),
            Self::FallsShort { shortfalls } => {
                let each: Vec<_> = shortfalls.iter().map(ToString::to_string).collect();
                write!(f, "has too little: {}", each.join("; "))
            }
        }
    }
}

impl Wish<'_> {
    /// Whether a bid of this domain may be taken; whether the bid meets the requirements is another question.
    pub fn admits(&self, candidate: &Candidate<'_>) -> bool {
        self.objections(candidate).is_empty()
    }

    /// Why a service that needs `required` is not to be offered to this domain; empty if nothing is against it. Requirements that ask
    /// for nothing leave out what it can run.
    pub fn unfit(&self, required: &Terms, candidate: &Candidate<'_>) -> Vec<Unfit> {
        let mut unfit = self.objections(candidate);
        if !candidate.reachable {
            unfit.push(Unfit::Unreachable);
        }
        if *required == Terms::default() {
            return unfit;
        }
        match candidate.capacity {
            Capacity::Unknown => unfit.push(Unfit::CapacityUnknown),
            Capacity::Nothing => unfit.push(Unfit::ProvidesNothing),
            Capacity::UpTo(capacity) => {
                if let Err(Shortage(shortfalls)) = Reservations::new(capacity).offer_for(required) {
                    unfit.push(Unfit::FallsShort { shortfalls });
                }
            }
        }
        unfit
    }

    fn objections(&self, candidate: &Candidate<'_>) -> Vec<Unfit> {
        let mut objections = Vec::new();
        let account = candidate.account.map(|account| account.to_string());
        let is_it = |listed: &String| {
            listed == candidate.name
                || account
                    .as_ref()
                    .is_some_and(|account| account.eq_ignore_ascii_case(listed))
        };
        if !self.domains.is_empty() && !self.domains.iter().any(is_it) {
            objections.push(Unfit::NotListed);
        }
        match &candidate.categories {
            _ if self.categories.is_empty() => {}
            None => objections.push(Unfit::NotSeen),
            Some(offered) => {
                let lacks = |category: &&String| !offered.contains(&category.as_str());
                let categories: Vec<_> = self.categories.iter().filter(lacks).cloned().collect();
                if !categories.is_empty() {
                    objections.push(Unfit::LacksCategories { categories });
                }
            }
        }
        objections
    }
}
