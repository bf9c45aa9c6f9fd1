//! A valid IPNS record.

use std::cmp::Ordering;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::identity::{KeyType, PublicKey};
use prost::Message;

use super::error::RecordError;
use super::wire::{Document, IpnsEntry, LARGEST};
use crate::domain_key::DomainKey;
use crate::model::UnixMillis;

const ROUTING_PREFIX: &[u8] = b"/ipns/";
/// Multihash code of a key that is its own hash.
const INLINE: u64 = 0;
/// The highest number that go members read.
pub(super) const LAST_SEQUENCE: u64 = i64::MAX as u64;

/// The key under which the distributed hash table keeps the record of a name.
pub fn routing_key(name: &PeerId) -> Vec<u8> {
    [ROUTING_PREFIX, &name.to_bytes()].concat()
}

/// The name whose record this key of the distributed hash table is for; `None` if it is no key of an IPNS record.
pub fn name_of_routing_key(key: &[u8]) -> Option<PeerId> {
    PeerId::from_bytes(key.strip_prefix(ROUTING_PREFIX)?).ok()
}

/// An IPNS record that was checked: there is no value of this type that was not signed by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpnsRecord {
    name: PeerId,
    sequence: u64,
    valid_until: UnixMillis,
    value: Vec<u8>,
    bytes: Vec<u8>,
}

impl IpnsRecord {
    /// Signs a record of `key`'s name.
    ///
    /// # Errors
    /// [`RecordError::Large`] for a value that does not fit twice into a record; [`RecordError::Sequence`];
    /// [`RecordError::Format`] for an end of life beyond the year 9999.
    pub fn sign(
        key: &DomainKey,
        value: &str,
        sequence: u64,
        valid_until: UnixMillis,
        ttl: Duration,
    ) -> Result<Self, RecordError> {
        if sequence > LAST_SEQUENCE {
            return Err(RecordError::Sequence(sequence));
        }
        let validity = valid_until
            .to_rfc3339()
            .ok_or_else(|| RecordError::Format(format!("{valid_until} is no time of day")))?;
        let ttl_ns = u64::try_from(ttl.as_nanos()).unwrap_or(LAST_SEQUENCE);
        let document = Document::new(value.into(), validity.into_bytes(), sequence, ttl_ns);
        let data = document.encode();
        let entry = IpnsEntry {
            signature_v1: Some(key.sign(&document.signed_v1())),
            signature_v2: Some(key.sign(&Document::signed_v2(&data))),
            data: Some(data),
            value: Some(document.value.clone()),
            validity_type: Some(0),
            validity: Some(document.validity),
            sequence: Some(sequence),
            ttl: Some(ttl_ns),
            public_key: None,
        };
        let bytes = entry.encode_to_vec();
        if bytes.len() > LARGEST {
            return Err(RecordError::Large(bytes.len()));
        }
        Ok(Self {
            name: key.peer_id(),
            sequence,
            valid_until,
            value: document.value,
            bytes,
        })
    }

    /// Checks what somebody brought as the record of `name`, in the order of the specification.
    ///
    /// # Errors
    /// Says what is wrong with it. An error is final for these bytes, but for [`RecordError::Expired`], which a member
    /// whose clock is behind sees differently.
    pub fn check(name: &PeerId, bytes: &[u8], now: UnixMillis) -> Result<Self, RecordError> {
        let entry = IpnsEntry::parse(bytes)?;
        let signature = entry.signature_v2.as_deref().unwrap_or_default();
        let data = entry.data.as_deref().unwrap_or_default();
        if signature.is_empty() || data.is_empty() {
            return Err(RecordError::Format("it has no signature of version 2".into()));
        }
        let key = key_in(name)?;
        if let Some(brought) = entry.public_key.as_deref().filter(|brought| !brought.is_empty())
            && PublicKey::try_decode_protobuf(brought).ok() != Some(key.clone())
        {
            return Err(RecordError::Key);
        }
        if !key.verify(&Document::signed_v2(data), signature) {
            return Err(RecordError::Signature);
        }
        let document = Document::decode(data)?;
        entry.agrees_with(&document)?;
        if document.sequence > LAST_SEQUENCE {
            return Err(RecordError::Sequence(document.sequence));
        }
        let valid_until = std::str::from_utf8(&document.validity)
            .ok()
            .and_then(UnixMillis::from_rfc3339)
            .ok_or_else(|| RecordError::Format("its end of life is no RFC 3339 time after 1970".into()))?;
        if now > valid_until {
            return Err(RecordError::Expired(valid_until));
        }
        Ok(Self {
            name: *name,
            sequence: document.sequence,
            valid_until,
            value: document.value,
            // Written anew: nobody can hang unsigned bytes of his own on the record of another.
            bytes: entry.encode_to_vec(),
        })
    }

    /// Whose record it is.
    pub fn name(&self) -> PeerId {
        self.name
    }

    /// Grows with each change.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The record's end of life.
    pub fn valid_until(&self) -> UnixMillis {
        self.valid_until
    }

    /// What it says: a path.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The record as it travels and is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `Greater` if this is the one to keep of two records of the same name: the higher sequence number, then the later end, then
    /// (so that all members choose the same one) the greater bytes.
    pub fn precedence(&self, other: &Self) -> Ordering {
        (self.sequence, self.valid_until, &self.bytes).cmp(&(other.sequence, other.valid_until, &other.bytes))
    }
}

/// The Ed25519 key that a peer id holds.
fn key_in(name: &PeerId) -> Result<PublicKey, RecordError> {
    let hash = name.as_ref();
    if hash.code() != INLINE {
        return Err(RecordError::Name);
    }
    match PublicKey::try_decode_protobuf(hash.digest()) {
        Ok(key) if key.key_type() == KeyType::Ed25519 => Ok(key),
        _ => Err(RecordError::Name),
    }
}
