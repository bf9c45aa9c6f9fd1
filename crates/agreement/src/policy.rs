//! What a domain decides by itself: whether to bid and at what price, whom to choose, what runs where. Pure functions of
//! what the domain knows; the ledger does not check them.

mod bid;
mod candidates;
mod choice;
mod placement;
mod reservations;
mod terms;

pub use bid::{NoBid, Offer, PriceList, Provider, decide};
pub use candidates::{Candidate, Capacity, Unfit, Wish};
pub use choice::{Choice, Reason, RejectedBid, choose, choose_among};
pub use placement::{CannotMove, Placement};
pub use reservations::{Reservations, Shortage};
pub use terms::{Field, Shortfall, shortfalls};
