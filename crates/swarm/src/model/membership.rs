//! The consortium that a domain says it is a member of. Who is a member says its ledger: this helps newcomers to find it.

use serde::{Deserialize, Serialize};

use super::address::SwarmAddress;
use super::identity::ServiceUrl;

/// The digest of a ledger's genesis document (Keccak-256), by which a consortium is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GenesisDigest(pub [u8; 32]);

impl TryFrom<String> for GenesisDigest {
    type Error = hex::FromHexError;

    fn try_from(digits: String) -> Result<Self, hex::FromHexError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<GenesisDigest> for String {
    fn from(digest: GenesisDigest) -> Self {
        hex::encode(digest.0)
    }
}

/// A claim to be a member of a consortium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Which consortium.
    pub genesis: GenesisDigest,
    /// Base URL of the REST API at which newcomers ask, if it is not the identity's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ServiceUrl>,
    /// Where its ledger node takes connections.
    pub consensus: SwarmAddress,
}
