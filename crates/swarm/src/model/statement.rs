//! What a record says, as the path that is an IPNS record's value.
//!
//! IPNS values are paths: js members refuse anything else. So the statement is JSON in base64url in the path
//! `/hanse/1/<base64url>`; stock members keep and serve it without knowing what it means.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::address::SwarmAddress;
use super::identity::Identity;

const PREFIX: &str = "/hanse/1/";

/// What a domain says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statement {
    /// It is there, and this is who it is.
    Present(Box<Identity>),
    /// It has gone for good; peers forget it at once.
    Withdrawn,
}

/// Why a path is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// A record of something else than Hanse, or of a later version of it.
    #[error("the record's value does not begin with {PREFIX}: it was not published by Hanse, or by a later version")]
    Namespace,
    /// Too long to fit into a record beside its signatures.
    #[error("the statement's path has {0} bytes; at most {most} fit into a record. Shorten the description or give fewer categories", most = Statement::LONGEST_PATH)]
    Long(usize),
    /// Damaged on the way to base64url.
    #[error("the record's value is no base64url: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Not what this version writes.
    #[error("the record's value is no identity: {0}")]
    Json(#[from] serde_json::Error),
}

impl Statement {
    /// The longest path. A record holds it twice (as the IPNS value of version 1 and of version 2) in at most 10 KiB, beside at most
    /// 500 bytes of everything else.
    pub const LONGEST_PATH: usize = 4_800;

    /// The IPNS value.
    ///
    /// # Errors
    /// [`StatementError::Long`]: each field of an identity is in its bounds, but all at their longest together are too much.
    pub fn to_path(&self) -> Result<String, StatementError> {
        let path = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(serde_json::to_vec(self)?));
        match path.len() {
            length if length > Self::LONGEST_PATH => Err(StatementError::Long(length)),
            _ => Ok(path),
        }
    }

    /// Reads an IPNS value.
    ///
    /// # Errors
    /// For everything that [`Self::to_path`] does not write.
    pub fn from_path(path: &[u8]) -> Result<Self, StatementError> {
        if path.len() > Self::LONGEST_PATH {
            return Err(StatementError::Long(path.len()));
        }
        let encoded = path.strip_prefix(PREFIX.as_bytes()).ok_or(StatementError::Namespace)?;
        Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded)?)?)
    }

    /// The same, with where the domain can be called in the swarm.
    #[must_use]
    pub fn with_addresses(self, addresses: Vec<SwarmAddress>) -> Self {
        match self {
            Self::Present(identity) => Self::Present(Box::new(identity.with_addresses(addresses))),
            Self::Withdrawn => Self::Withdrawn,
        }
    }

    /// The identity, unless the domain has withdrawn.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Present(identity) => Some(identity),
            Self::Withdrawn => None,
        }
    }
}
