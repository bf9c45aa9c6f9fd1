//! The newest block as far as this crate needs it.

use alloy::primitives::{B256, U64, U256};
use serde::Deserialize;

/// A block header, reduced to what is used. Chains differ in the rest, so the rest is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Height.
    pub number: u64,
    /// Hash of the header.
    pub hash: B256,
    /// Hash of the block before it.
    pub parent: B256,
    /// Unix seconds.
    pub time: u64,
    /// Wei per gas that every transaction must pay; None on chains without EIP-1559.
    pub base_fee: Option<u128>,
}

/// As it comes over JSON-RPC.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U256,
    base_fee_per_gas: Option<U256>,
}

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        Ok(Self {
            number: wire.number.to(),
            hash: wire.hash,
            parent: wire.parent_hash,
            time: wire.timestamp.saturating_to(),
            base_fee: wire.base_fee_per_gas.map(|fee| fee.saturating_to()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_unknown_and_missing_fields_is_read() {
        let json = r#"{"number":"0x10","hash":"0x1111111111111111111111111111111111111111111111111111111111111111",
            "parentHash":"0x2222222222222222222222222222222222222222222222222222222222222222","timestamp":"0x65",
            "extraData":"0x00","somethingElse":[1,2]}"#;
        let head: Head = serde_json::from_str(json).expect("a header");
        assert_eq!((head.number, head.time, head.base_fee), (16, 101, None));
        assert_eq!(head.parent, B256::repeat_byte(0x22));
    }
}
