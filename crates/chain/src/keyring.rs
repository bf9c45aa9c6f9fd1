//! The keys with which one domain may validate, one after another.
//!
//! Which of them is in use is written in the Consortium contract alone: a node looks for its own among the validators of the
//! next height, and goes over to another when a rotation has put that there. So no file has to say which key is current, and
//! none can say it wrongly.

use std::sync::{Arc, OnceLock};

use crate::application::HeightRules;
use crate::key::ValidatorKey;

/// Keys that can be found again: one rotation a week for twenty years.
const GENERATIONS: u32 = 1024;

type Derive = dyn Fn(u32) -> ValidatorKey + Send + Sync;

/// A domain's validator keys, numbered from 0. Cloning is cheap.
#[derive(Clone)]
pub struct KeyRing {
    derive: Arc<Derive>,
    generations: u32,
    public: Arc<OnceLock<Vec<[u8; 32]>>>,
}

impl KeyRing {
    /// Keys that are derived from their number when they are needed.
    pub fn derived(derive: impl Fn(u32) -> ValidatorKey + Send + Sync + 'static) -> Self {
        Self {
            derive: Arc::new(derive),
            generations: GENERATIONS,
            public: Arc::default(),
        }
    }

    /// The key with this number.
    pub fn generation(&self, number: u32) -> ValidatorKey {
        (self.derive)(number)
    }

    /// The number of the key with this public half, if it is one of the ring's.
    pub fn number_of(&self, public: &[u8; 32]) -> Option<u32> {
        let known = self.public.get_or_init(|| {
            (0..self.generations)
                .map(|number| self.generation(number).public_key())
                .collect()
        });
        let position = known.iter().position(|key| key == public)?;
        u32::try_from(position).ok()
    }

    /// The number of the key with which this domain is a validator under these rules.
    pub fn among(&self, rules: &HeightRules) -> Option<u32> {
        rules
            .validators
            .iter()
            .find_map(|validator| self.number_of(&validator.key))
    }
}

impl From<ValidatorKey> for KeyRing {
    /// A ring of one key, which is never rotated.
    fn from(key: ValidatorKey) -> Self {
        Self {
            generations: 1,
            ..Self::derived(move |_| key.clone())
        }
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({:?}, …)", self.generation(0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::Address;

    use super::*;
    use crate::application::Validator;
    use crate::genesis::ConsensusParameters;

    fn ring(tag: u8) -> KeyRing {
        KeyRing::derived(move |number| {
            let mut seed = [tag; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            ValidatorKey::from_seed(seed)
        })
    }

    fn rules(keys: Vec<[u8; 32]>) -> HeightRules {
        let validators = keys.into_iter().map(|key| Validator {
            account: Address::ZERO,
            key,
            consensus_address: String::new(),
        });
        HeightRules {
            proposers: Vec::new(),
            validators: validators.collect(),
            parameters: ConsensusParameters {
                propose_ms: 1,
                propose_delta_ms: 1,
                vote_ms: 1,
                vote_delta_ms: 1,
                heartbeat_ms: 1,
            },
        }
    }

    #[test]
    fn the_key_in_use_is_the_one_that_the_consortium_names() {
        let (mine, other) = (ring(1), ring(2));
        let of = |ring: &KeyRing, number| ring.generation(number).public_key();
        assert_eq!(mine.among(&rules(vec![of(&other, 0), of(&mine, 7)])), Some(7));
        assert_eq!(mine.among(&rules(vec![of(&other, 0), of(&other, 7)])), None);
        assert_eq!(mine.number_of(&of(&mine, GENERATIONS - 1)), Some(GENERATIONS - 1));
    }

    #[test]
    fn a_single_key_is_a_ring_that_does_not_turn() {
        let key = ValidatorKey::generate();
        let ring = KeyRing::from(key.clone());
        assert_eq!(ring.number_of(&key.public_key()), Some(0));
        assert_eq!(ring.number_of(&ValidatorKey::generate().public_key()), None);
    }

    #[test]
    fn debug_output_does_not_hold_a_private_key() {
        let key = ValidatorKey::from_seed([7; 32]);
        assert!(!format!("{:?}", KeyRing::from(key)).contains(&"07".repeat(8)));
    }
}
