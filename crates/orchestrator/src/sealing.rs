//! Messages that one domain alone can read: libsodium's sealed box (X25519, XSalsa20-Poly1305) by the `crypto_box`
//! crate, which was audited for it.

use crypto_box::aead::OsRng;
use crypto_box::{PublicKey, SecretKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A domain's sealing key.
#[derive(Clone)]
pub struct SealingKey(SecretKey);

/// Why a sealed message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// Not sealed to this key, or altered.
    #[error("the message was not sealed to this domain's sealing key, or was altered on the way")]
    NotForUs,
    /// Opened, but not what is expected in it.
    #[error("the sealed message holds something else than expected: {0}")]
    Content(#[from] serde_json::Error),
}

impl SealingKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(SecretKey::generate(&mut OsRng))
    }

    /// The key with these secret bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(SecretKey::from_bytes(bytes))
    }

    /// The secret bytes, to be kept in a file that only the agent can read.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// What the domain publishes in the Consortium contract.
    pub fn public(&self) -> [u8; 32] {
        self.0.public_key().to_bytes()
    }

    /// Opens a message that [`seal`] made for this key's public half.
    pub fn unseal<T: DeserializeOwned>(&self, sealed: &[u8]) -> Result<T, UnsealError> {
        let plain = self.0.unseal(sealed).map_err(|_| UnsealError::NotForUs)?;
        Ok(serde_json::from_slice(&plain)?)
    }
}

/// Seals `message` as JSON so that only the owner of `to` can read it. Each call gives other bytes.
pub fn seal<T: Serialize>(to: &[u8; 32], message: &T) -> Vec<u8> {
    let plain = serde_json::to_vec(message).expect("sealed messages have string keys only, so they always serialise");
    PublicKey::from_bytes(*to)
        .seal(&mut OsRng, &plain)
        .expect("sealing fails only for messages beyond 2^38 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addressee_reads_it_and_only_unaltered() {
        let (ours, theirs) = (SealingKey::generate(), SealingKey::generate());
        let mut sealed = seal(&ours.public(), &"192.0.2.7");
        assert_eq!(ours.unseal::<String>(&sealed).ok().as_deref(), Some("192.0.2.7"));
        assert!(matches!(theirs.unseal::<String>(&sealed), Err(UnsealError::NotForUs)));
        let last = sealed.len() - 1;
        sealed[last] ^= 1;
        assert!(matches!(ours.unseal::<String>(&sealed), Err(UnsealError::NotForUs)));
    }
}
