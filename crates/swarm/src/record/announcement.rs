//! A record that was published by Hanse: whose, and what it says.

use std::time::Duration;

use libp2p::PeerId;

use super::error::RecordError;
use super::ipns::IpnsRecord;
use crate::model::{Statement, StatementError, UnixMillis};

/// How far ahead the end of an announcement may be. Withdrawals are remembered for as long as an older announcement would be
/// valid, so that must have a bound.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(8 * 24 * 3600);

/// What a domain says of itself, signed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    record: IpnsRecord,
    statement: Statement,
}

/// Why bytes are no announcement.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementError {
    /// Not a valid IPNS record of that name.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A valid record, but not of a Hanse domain.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Its author's clock is far ahead, or its author is up to something.
    #[error("the record ends at {0}, more than 8 days ahead; check the clocks here and at its author's")]
    Lifetime(UnixMillis),
}

impl Announcement {
    /// Checks what somebody brought as the announcement of `name`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(name: &PeerId, bytes: &[u8], now: UnixMillis) -> Result<Self, AnnouncementError> {
        Self::of(IpnsRecord::check(name, bytes, now)?, now)
    }

    /// What a valid record announces.
    ///
    /// # Errors
    /// [`AnnouncementError::Statement`] and [`AnnouncementError::Lifetime`].
    pub fn of(record: IpnsRecord, now: UnixMillis) -> Result<Self, AnnouncementError> {
        if record.valid_until() > now.plus(LONGEST_LIFETIME) {
            return Err(AnnouncementError::Lifetime(record.valid_until()));
        }
        let statement = Statement::from_path(record.value())?;
        Ok(Self { record, statement })
    }

    /// The record.
    pub fn record(&self) -> &IpnsRecord {
        &self.record
    }

    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}
