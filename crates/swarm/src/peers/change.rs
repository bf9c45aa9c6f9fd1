//! What comes out of the peer table.

use libp2p::PeerId;

/// Something that others want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A domain that was not in the table.
    Appeared(PeerId),
    /// It says something else of itself than before.
    Updated(PeerId),
    /// It can be reached, and could not before.
    Online(PeerId),
    /// It could not be reached, this many times one after another.
    Missed(PeerId, u32),
    /// It is no longer in the table.
    Removed(PeerId, Removal),
}

/// Why a domain is no longer in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It said so.
    Withdrawn,
    /// It could not be reached for too long.
    Missing,
    /// Its record ended and it did not sign another.
    Expired,
    /// The table is full, and nobody has ever reached it.
    Room,
}

/// Why an announcement changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is the domain's own.
    #[error("this is our own record")]
    Own,
    /// It is known, or something newer is.
    #[error("this record is not newer than the known one")]
    NotNewer,
    /// The domain has gone, and this record is not newer than its going.
    #[error("the domain has gone since this record was signed")]
    Gone,
    /// There is no room, and everybody in the table was reached once.
    #[error("the peer table is full")]
    Full,
}
