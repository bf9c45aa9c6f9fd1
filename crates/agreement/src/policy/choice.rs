//! The consumer's side: the cheapest bid that meets every requirement; of two at one price, the earlier.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::terms::{Shortfall, shortfalls};
use crate::{Account, Bid, Price, Terms};

/// What was decided about the bids of one agreement, with a reason for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// The bid to choose; none if no bid will do.
    pub winner: Option<Bid>,
    /// All others, in the order of their sequence.
    pub rejected: Vec<RejectedBid>,
}

/// A bid that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedBid {
    /// The bid.
    pub bid: Bid,
    /// Why not.
    pub reason: Reason,
}

/// Why a bid was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Reason {
    /// It offers less than what is needed.
    FallsShort {
        /// In what, never empty.
        shortfalls: Vec<Shortfall>,
    },
    /// It costs more than the consumer would pay.
    OverBudget {
        /// What the consumer would pay at most.
        limit: Price,
    },
    /// The bidder cannot be chosen: it is no longer a member.
    NotMember,
    /// The consumer asked for other providers.
    NotAskedFor,
    /// Another costs less.
    Dearer {
        /// Price of the chosen bid.
        than: Price,
    },
    /// Another at the same price came first.
    Later {
        /// Sequence of the chosen bid.
        than: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FallsShort { shortfalls } => {
                let each: Vec<_> = shortfalls.iter().map(ToString::to_string).collect();
                write!(f, "offers too little: {}", each.join("; "))
            }
            Self::OverBudget { limit } => write!(f, "costs more than the limit of {limit} wei an hour"),
            Self::NotMember => f.write_str("the bidder is no longer a member"),
            Self::NotAskedFor => f.write_str("the bidder is not one of the providers that were asked for"),
            Self::Dearer { than } => write!(f, "another costs only {than} wei an hour"),
            Self::Later { than } => write!(f, "bid {than} came first at the same price"),
        }
    }
}

impl Choice {
    /// Why `bid` was not chosen, for people; `None` for the winner and for a bid that was not among those judged.
    pub fn reason_against(&self, bid: &Bid) -> Option<String> {
        self.rejected
            .iter()
            .find(|rejected| rejected.bid == *bid)
            .map(|rejected| rejected.reason.to_string())
    }
}

/// Chooses among `bids` of members, whatever they cost.
pub fn choose(required: &Terms, bids: &[Bid]) -> Choice {
    choose_among(required, bids, None, |_| None)
}

/// Chooses among `bids`. `limit`: the highest price per hour that the consumer would pay. `barred`: why a bidder can't be chosen,
/// whatever it bids.
pub fn choose_among(
    required: &Terms,
    bids: &[Bid],
    limit: Option<Price>,
    barred: impl Fn(Account) -> Option<Reason>,
) -> Choice {
    let unfit = |bid: &Bid| {
        let short = shortfalls(required, &bid.offer);
        if !short.is_empty() {
            return Some(Reason::FallsShort { shortfalls: short });
        }
        if let Some(limit) = limit.filter(|limit| bid.price_per_hour > *limit) {
            return Some(Reason::OverBudget { limit });
        }
        barred(bid.bidder)
    };
    let judged: Vec<(&Bid, Option<Reason>)> = bids.iter().map(|bid| (bid, unfit(bid))).collect();
    let chosen = judged
        .iter()
        .filter(|(_, unfit)| unfit.is_none())
        .map(|(bid, _)| *bid)
        .min_by_key(|bid| (bid.price_per_hour, bid.sequence));
    let mut rejected: Vec<RejectedBid> = judged
        .into_iter()
        .filter(|(bid, _)| Some(*bid) != chosen)
        .filter_map(|(bid, unfit)| {
            let reason = unfit.or_else(|| {
                chosen.map(|best| {
                    if bid.price_per_hour > best.price_per_hour {
                        Reason::Dearer {
                            than: best.price_per_hour,
                        }
                    } else {
                        Reason::Later { than: best.sequence }
                    }
                })
            })?;
            Some(RejectedBid {
                bid: bid.clone(),
                reason,
            })
        })
        .collect();
    rejected.sort_by_key(|rejected| rejected.bid.sequence);
    Choice {
        winner: chosen.cloned(),
        rejected,
    }
}
