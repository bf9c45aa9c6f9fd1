//! Why a record is not taken up.

use crate::model::UnixMillis;

/// Why bytes are no valid IPNS record of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Larger than IPNS allows.
    #[error("the record has {0} bytes; IPNS records have at most {most}", most = super::LARGEST)]
    Large(usize),
    /// Not protobuf, not DAG-CBOR, or a field is missing.
    #[error("this is no IPNS record: {0}")]
    Format(String),
    /// The part that version 1 of the format repeats says something else than what is signed.
    #[error("the record's field {0} differs from the signed one")]
    Contradiction(&'static str),
    /// A name without an Ed25519 key in it.
    #[error("the name is no Ed25519 peer id; the records of other names are not kept here")]
    Name,
    /// The record brings a key that is not the name's.
    #[error("the record's key is not the name's")]
    Key,
    /// Altered, or made with another key.
    #[error("the record's signature is not its name's")]
    Signature,
    /// The record ended.
    #[error("the record ended at {0}")]
    Expired(UnixMillis),
    /// A number that go members can't read, so that they would keep an older record.
    #[error("the record's sequence number {0} is above 2^63 - 1")]
    Sequence(u64),
}
