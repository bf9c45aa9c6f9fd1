//! Content identifiers.

use std::fmt;
use std::str::FromStr;

use cid::Cid;
use cid::multihash::Multihash;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Multihash code of SHA2-256.
const SHA2_256: u64 = 0x12;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Bytes of a blob.
    Raw,
    /// A UnixFS file node, which lists blocks.
    DagPb,
}

impl Codec {
    const fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagPb => 0x70,
        }
    }
}

/// A CID of the kind that Hanse uses: version 1, `raw` or `dag-pb`, SHA2-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockId {
    codec: Codec,
    digest: [u8; 32],
}

/// Why something is no CID of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// No CID at all.
    #[error("this is no CID: {0}")]
    Format(String),
    /// A CID of a kind that is not used here.
    #[error(
        "the CID {0} is not of version 1, raw or dag-pb, with SHA2-256; add the content anew with `--cid-version 1 --raw-leaves`"
    )]
    Kind(Cid),
}

impl BlockId {
    /// The identifier of a block of the kind `codec` with these bytes.
    pub fn of(codec: Codec, bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes).into();
        Self { codec, digest }
    }

    /// The identifier of a blob of at most [`super::LARGEST_BLOCK`] bytes with this SHA-256.
    pub const fn from_sha256(digest: [u8; 32]) -> Self {
        let codec = Codec::Raw;
        Self { codec, digest }
    }

    /// What the block is.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// The SHA-256 of the block.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether the block with these bytes is the one that is meant.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Self::of(self.codec, bytes) == *self
    }

    /// The CID in binary.
    pub fn to_bytes(self) -> Vec<u8> {
        self.cid().to_bytes()
    }

    /// Reads a binary CID.
    ///
    /// # Errors
    /// For everything but a CID of the kinds used here, and for bytes after it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        let cid = Cid::try_from(bytes).map_err(|error| CidError::Format(error.to_string()))?;
        let id = Self::from_cid(cid)?;
        match id.to_bytes() == bytes {
            true => Ok(id),
            false => Err(CidError::Format("it has a second form".into())),
        }
    }

    fn from_cid(cid: Cid) -> Result<Self, CidError> {
        let codec = [Codec::Raw, Codec::DagPb]
            .into_iter()
            .find(|codec| codec.code() == cid.codec());
        let digest = <[u8; 32]>::try_from(cid.hash().digest()).ok();
        match (cid.version(), cid.hash().code(), codec, digest) {
            (cid::Version::V1, SHA2_256, Some(codec), Some(digest)) => Ok(Self { codec, digest }),
            _ => Err(CidError::Kind(cid)),
        }
    }

    pub(crate) fn multihash(self) -> Multihash<64> {
        Multihash::wrap(SHA2_256, &self.digest).expect("32 bytes fit into a multihash of 64")
    }

    fn cid(self) -> Cid {
        Cid::new_v1(self.codec.code(), self.multihash())
    }
}

impl FromStr for BlockId {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        // In base32 60 characters; the longest base of multibase takes eight times as many as there are bytes.
        if text.len() > 300 {
            return Err(CidError::Format(format!("it has {} characters", text.len())));
        }
        Self::from_cid(Cid::try_from(text).map_err(|error| CidError::Format(error.to_string()))?)
    }
}

impl TryFrom<String> for BlockId {
    type Error = CidError;

    fn try_from(text: String) -> Result<Self, CidError> {
        text.parse()
    }
}

impl From<BlockId> for String {
    fn from(id: BlockId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cid().fmt(f)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
