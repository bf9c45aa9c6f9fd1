//! The seed from which every key of a domain is derived: HKDF-SHA256 (RFC 5869), one label for each purpose.
//!
//! A derived key says nothing about the seed or about another key. Labels are for ever: a domain that restores its seed gets
//! its keys back.

use hkdf::Hkdf;
use rand::TryRngCore;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Separates these derivations from all others that start from the same 32 bytes.
const SALT: &[u8] = b"hanse domain seed v1";

/// What a derived key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The secp256k1 key of the ledger account.
    Ledger,
    /// The Ed25519 key that signs consensus messages; a rotation takes the next generation.
    Validator { generation: u32 },
    /// The Ed25519 key that is the domain's identity in the swarm.
    Swarm,
    /// The X25519 key that opens what is sealed to the domain.
    Sealing,
}

impl Purpose {
    fn label(self) -> String {
        match self {
            Self::Ledger => "ledger secp256k1".into(),
            Self::Validator { generation } => format!("validator ed25519 {generation}"),
            Self::Swarm => "swarm ed25519".into(),
            Self::Sealing => "sealing x25519".into(),
        }
    }
}

/// 32 secret bytes; wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A new seed from the operating system's random numbers.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::rngs::OsRng
            .try_fill_bytes(bytes.as_mut())
            .expect("the operating system provides random numbers");
        Self(bytes)
    }

    /// The seed with these bytes.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be written to a file that only the agent can read.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret bytes of one key.
    pub fn derive(&self, purpose: Purpose) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(SALT), self.0.as_ref())
            .expand(purpose.label().as_bytes(), key.as_mut())
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        key
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seed(byte: u8) -> Seed {
        Seed::from_bytes(Zeroizing::new([byte; 32]))
    }

    // Computed with Python's hmac from RFC 5869's definition.
    #[test]
    fn the_keys_of_a_seed_are_the_same_for_ever() {
        for (purpose, key) in [
            (
                Purpose::Ledger,
                "ba222f7b9a9023da18f3f33f9ef430dac88a8657b7eb5f01d9a9b8d2ed17315c",
            ),
            (
                Purpose::Validator { generation: 0 },
                "ed2ef16beecb63fa4476b1b98326fe5ab983a7da5a5683de9194748db562cb35",
            ),
            (
                Purpose::Validator { generation: 1 },
                "8bd5c29485dd2a86e3d9b3fffb07339a95a7df79f8750e71868048138ffc252f",
            ),
            (
                Purpose::Swarm,
                "0ae789b2244e3b93c8ea549b9a9870f260094ead936626f8df44573940e9ade5",
            ),
            (
                Purpose::Sealing,
                "249c8bf50baf4de3fc74edf7fa9653b39a789038e4c2c838346f8183efcf687d",
            ),
        ] {
            assert_eq!(hex::encode(*seed(7).derive(purpose)), key, "{purpose:?}");
        }
    }

    #[test]
    fn each_purpose_and_each_seed_has_keys_of_its_own() {
        let purposes = [
            Purpose::Ledger,
            Purpose::Validator { generation: 0 },
            Purpose::Validator { generation: 1 },
            Purpose::Swarm,
            Purpose::Sealing,
        ];
        let keys: std::collections::HashSet<_> = [seed(1), seed(2)]
            .iter()
            .flat_map(|seed| purposes.map(|purpose| *seed.derive(purpose)))
            .collect();
        assert_eq!(keys.len(), 10);
    }

    #[test]
    fn debug_output_does_not_hold_the_seed() {
        assert_eq!(format!("{:?}", seed(7)), "Seed(…)");
    }
}
