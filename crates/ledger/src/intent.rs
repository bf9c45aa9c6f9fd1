//! A command as something that shall happen once.

use alloy::primitives::{Address, B256, Bytes, TxHash, U256, keccak256};
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;

/// The caller's name for one command, which makes repeating it safe: all commands with one key are one command.
///
/// Choose it so that the same decision has the same key after a restart, for example `"<agreement id>/announce"` or
/// `"<agreement id>/bid/<number>"`. A key used again for different contents is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IntentKey(String);

impl IntentKey {
    /// Longest key, in bytes.
    pub const LIMIT: usize = 256;

    /// A key of 1 to [`LIMIT`](Self::LIMIT) bytes.
    ///
    /// # Errors
    /// [`LedgerError::Config`] if it is empty or longer.
    pub fn new(key: impl Into<String>) -> Result<Self, LedgerError> {
        let key = key.into();
        if key.is_empty() || key.len() > Self::LIMIT {
            return Err(LedgerError::Config(format!(
                "an intent key has 1 to {} bytes, this one {}",
                Self::LIMIT,
                key.len()
            )));
        }
        Ok(Self(key))
    }

    /// A key that nothing else has: for commands that are never repeated.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("random/{:032x}", rand::random::<u128>()))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IntentKey {
    type Error = LedgerError;
    fn try_from(key: String) -> Result<Self, Self::Error> {
        Self::new(key)
    }
}

impl From<IntentKey> for String {
    fn from(key: IntentKey) -> Self {
        key.0
    }
}

impl std::fmt::Display for IntentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Proof that a command took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Hash of the transaction.
    pub tx: TxHash,
    /// Height of the block that holds it.
    pub block: u64,
    /// Time of that block, Unix seconds.
    pub block_time: u64,
}

/// What to send: a call of one of the contracts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) to: Address,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
}

impl Call {
    /// Tells calls apart without keeping them.
    pub(crate) fn digest(&self) -> B256 {
        let mut bytes = Vec::with_capacity(52 + self.data.len());
        bytes.extend_from_slice(self.to.as_slice());
        bytes.extend_from_slice(&self.value.to_be_bytes::<32>());
        bytes.extend_from_slice(&self.data);
        keccak256(bytes)
    }
}
