//! The federation protocol as a pure state machine: no I/O, no clock, no async.
//!
//! A domain (the *creator*, or consumer) announces a service. Others bid. The creator chooses one bid; its bidder (the
//! *provider*) deploys the service and says so; the creator confirms, and either ends it later:
//!
//! ```text
//! Open --choose--> Awarded --deployed--> Deployed --confirm|settle--> Confirmed --terminate--> Terminated
//!   |                 |                     |                            |
//!   +-- cancel -------+-- cancel, decline --+--> Cancelled               |
//!   +-- expire -------+-- expire -----------+-- expire ------------------+--> Expired
//! ```
//!
//! The ledger's contract `Federation` is what counts. This crate is the same protocol in Rust, so that an agent can know
//! what the contract will answer before it asks, and so that the contract has something to be tested against: a
//! differential test runs random sequences through both.
//!
//! # What it promises
//!
//! - An agreement has at most one provider, and an id is never used twice.
//! - Every wait ends: whatever state an agreement is in, after its deadlines someone other than the one waited for can
//!   move it on.
//! - Credits are neither made nor lost: what was paid in is in escrow, owed, or withdrawn.
//!
//! # What the caller must do
//!
//! Give the time of the block as `now`, in Unix seconds, never decreasing.

mod amount;
mod identifier;
mod input;
pub mod limits;
mod model;
pub mod policy;
mod protocol;

pub use amount::{Amount, ParseAmountError, Price};
pub use identifier::{Account, AgreementId, Hash, ParseIdentifierError};
pub use input::{Action, Effect, Input, Rejection};
pub use model::{Agreement, Announcement, Bid, State, Terms};
pub use protocol::{Federation, apply};
