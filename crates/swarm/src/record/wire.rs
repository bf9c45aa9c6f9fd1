//! The bytes of an IPNS record: protobuf around DAG-CBOR.

use prost::Message;
use serde::{Deserialize, Serialize};

use super::RecordError;

/// The size limit of the IPNS specification, in bytes.
pub const LARGEST: usize = 10 * 1024;

/// `ValidityType` "EOL": the record is valid until its end of life. There is no other.
const EOL: u64 = 0;

/// The protobuf message `IpnsEntry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct IpnsEntry {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub value: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub signature_v1: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "3")]
    pub validity_type: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub validity: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "5")]
    pub sequence: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    pub ttl: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub public_key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub signature_v2: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub data: Option<Vec<u8>>,
}

/// The DAG-CBOR document in `data`. Fields stand in the order in which DAG-CBOR writes them: by length of the key, then by
/// bytes. Fields that the specification does not name are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Document {
    #[serde(rename = "TTL")]
    pub ttl_ns: u64,
    #[serde(rename = "Value", with = "serde_bytes")]
    pub value: Vec<u8>,
    #[serde(rename = "Sequence")]
    pub sequence: u64,
    #[serde(rename = "Validity", with = "serde_bytes")]
    pub validity: Vec<u8>,
    #[serde(rename = "ValidityType")]
    pub validity_type: u64,
}

impl Document {
    pub fn new(value: Vec<u8>, validity: Vec<u8>, sequence: u64, ttl_ns: u64) -> Self {
        Self {
            ttl_ns,
            value,
            sequence,
            validity,
            validity_type: EOL,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("numbers and bytes are always written")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let document: Self =
            serde_ipld_dagcbor::from_slice(bytes).map_err(|error| RecordError::Format(error.to_string()))?;
        if document.validity_type != EOL {
            return Err(RecordError::Format(format!(
                "validity type {} is not defined",
                document.validity_type
            )));
        }
        Ok(document)
    }

    /// What version 2 signs.
    pub fn signed_v2(encoded: &[u8]) -> Vec<u8> {
        [b"ipns-signature:".as_slice(), encoded].concat()
    }

    /// What version 1 signs: the validity type by its name.
    pub fn signed_v1(&self) -> Vec<u8> {
        [self.value.as_slice(), &self.validity, b"EOL"].concat()
    }
}

impl IpnsEntry {
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > LARGEST {
            return Err(RecordError::Large(bytes.len()));
        }
        Self::decode(bytes).map_err(|error| RecordError::Format(error.to_string()))
    }

    /// Step 7 of the specification's verification: where version 1 repeats a field, it says the same.
    pub fn agrees_with(&self, document: &Document) -> Result<(), RecordError> {
        let signed_v1 = self
            .signature_v1
            .as_ref()
            .is_some_and(|signature| !signature.is_empty());
        let has_value = self.value.as_ref().is_some_and(|value| !value.is_empty());
        if !signed_v1 && !has_value {
            return Ok(());
        }
        let type_v1 = u64::try_from(self.validity_type.unwrap_or_default());
        for (field, same) in [
            ("value", self.value.as_deref().unwrap_or_default() == document.value),
            (
                "validity",
                self.validity.as_deref().unwrap_or_default() == document.validity,
            ),
            ("validityType", type_v1 == Ok(document.validity_type)),
            ("sequence", self.sequence.unwrap_or_default() == document.sequence),
            ("ttl", self.ttl.unwrap_or_default() == document.ttl_ns),
        ] {
            if !same {
                return Err(RecordError::Contradiction(field));
            }
        }
        Ok(())
    }
}
