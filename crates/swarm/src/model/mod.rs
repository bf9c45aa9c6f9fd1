//! Types that can't be wrong: what a domain says of itself, and points in time.

mod address;
mod identity;
mod membership;
mod party;
mod statement;
mod time;

#[cfg(test)]
pub(crate) mod tests;

pub use address::{AddressError, SwarmAddress};
pub(crate) use identity::MOST_ADDRESSES;
pub use identity::{Category, Description, DomainName, Identity, Location, SealingKey, ServiceUrl, TextError};
pub use membership::{GenesisDigest, Membership};
pub use party::{AvailabilityError, Party};
pub use statement::{Statement, StatementError};
pub use time::UnixMillis;
