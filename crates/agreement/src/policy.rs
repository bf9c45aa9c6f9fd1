//! What a domain decides by itself: whether to bid and at what price, whom to choose, what runs where. Pure functions of
//! what the domain knows; the ledger does not check them.

pub mod bid;
pub mod capacity;
pub mod choice;
pub mod placement;
pub mod terms;
