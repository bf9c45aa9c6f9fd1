//! The validator set of a height, in the order of the Consortium contract, each validator with one vote.

use alloy::primitives::Address;
use malachitebft_core_types::{LinearTimeouts, Round, ValidatorSet as _};
use malachitebft_signing_ed25519::PublicKey;
use std::time::Duration;

use super::context::{LedgerContext, ValidatorAddress};
use crate::application::{Halt, HeightRules};
use crate::genesis::ConsensusParameters;

/// One validator as consensus sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusValidator {
    address: ValidatorAddress,
    key: PublicKey,
    account: Address,
}

impl ConsensusValidator {
    /// The ledger account of this validator.
    pub fn account(&self) -> Address {
        self.account
    }
}

impl malachitebft_core_types::Validator<LedgerContext> for ConsensusValidator {
    fn address(&self) -> &ValidatorAddress {
        &self.address
    }

    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn voting_power(&self) -> u64 {
        1
    }
}

/// The validators of one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorSet {
    validators: Vec<ConsensusValidator>,
    /// Index of the proposer of each round, as [`HeightRules::proposers`] has them.
    proposers: Vec<usize>,
}

impl ValidatorSet {
    /// Builds the set from what the contract says.
    ///
    /// # Errors
    /// Consensus can't go on with an empty set, a key that is no Ed25519 point, or one key held by two members.
    pub fn from_rules(rules: &HeightRules) -> Result<Self, Halt> {
        let mut set: Vec<ConsensusValidator> = Vec::with_capacity(rules.validators.len());
        for validator in &rules.validators {
            let key = PublicKey::from_bytes(validator.key).map_err(|_| {
                Halt(format!(
                    "the validator key of {} is not an Ed25519 public key",
                    validator.account
                ))
            })?;
            let address = ValidatorAddress::of_key(&validator.key);
            if set.iter().any(|other| other.address == address) {
                return Err(Halt(format!(
                    "two members hold the validator key of {}",
                    validator.account
                )));
            }
            set.push(ConsensusValidator {
                address,
                key,
                account: validator.account,
            });
        }
        if set.is_empty() {
            return Err(Halt("the consortium has no member that could validate".into()));
        }
        let index = |account: &Address| set.iter().position(|validator| validator.account == *account);
        let proposers: Vec<usize> = rules.proposers.iter().filter_map(index).collect();
        if proposers.len() != set.len() || !(0..set.len()).all(|index| proposers.contains(&index)) {
            return Err(Halt(
                "the order of proposers does not have every validator once; this is a fault of the program".into(),
            ));
        }
        Ok(Self {
            validators: set,
            proposers,
        })
    }

    /// The validators in the contract's order.
    pub fn as_slice(&self) -> &[ConsensusValidator] {
        &self.validators
    }

    /// How many of these validators must be reachable, this node included, for a block to be decided: more than two
    /// thirds.
    pub fn quorum(&self) -> usize {
        self.validators.len() * 2 / 3 + 1
    }

    /// The proposer of a round.
    pub fn proposer(&self, round: Round) -> &ConsensusValidator {
        let turn = round.as_u32().unwrap_or(0) as usize % self.proposers.len();
        &self.validators[self.proposers[turn]]
    }

    /// Whether this address is in the set.
    pub fn contains(&self, address: &ValidatorAddress) -> bool {
        self.get_by_address(address).is_some()
    }
}

impl malachitebft_core_types::ValidatorSet<LedgerContext> for ValidatorSet {
    fn count(&self) -> usize {
        self.validators.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.validators.len() as u64
    }

    fn get_by_address(&self, address: &ValidatorAddress) -> Option<&ConsensusValidator> {
        self.validators.iter().find(|validator| validator.address == *address)
    }

    fn get_by_index(&self, index: usize) -> Option<&ConsensusValidator> {
        self.validators.get(index)
    }
}

/// No round waits longer for a proposal or for votes, unless the contract's first timeouts are longer.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The engine's timeouts from the contract's.
///
/// They grow with each round, which is what makes a slow network decide at last, up to [`LONGEST_TIMEOUT`]. Rounds pass only
/// while a quorum votes, so a node that waits for others does not drift into long ones.
pub fn timeouts(parameters: &ConsensusParameters) -> LinearTimeouts {
    let ms = |ms: u32| Duration::from_millis(u64::from(ms));
    let (propose, vote) = (ms(parameters.propose_ms), ms(parameters.vote_ms));
    LinearTimeouts {
        propose,
        propose_delta: ms(parameters.propose_delta_ms),
        prevote: vote,
        prevote_delta: ms(parameters.vote_delta_ms),
        precommit: vote,
        precommit_delta: ms(parameters.vote_delta_ms),
        rebroadcast: (propose + 2 * vote).max(Duration::from_secs(1)),
        max_timeout: LONGEST_TIMEOUT.max(propose).max(vote),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::application::Validator;
    use crate::key::ValidatorKey;

    fn rules(validators: Vec<[u8; 32]>) -> HeightRules {
        let validators: Vec<Validator> = validators
            .into_iter()
            .map(|key| Validator {
                account: Address::from_slice(&key[..20]),
                key,
                consensus_address: String::new(),
            })
            .collect();
        HeightRules {
            proposers: validators.iter().map(|validator| validator.account).collect(),
            validators,
            parameters: ConsensusParameters {
                propose_ms: 400,
                propose_delta_ms: 300,
                vote_ms: 200,
                vote_delta_ms: 150,
                heartbeat_ms: 5000,
            },
        }
    }

    #[test]
    fn quorum_is_more_than_two_thirds() {
        for (members, quorum) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7)] {
            let keys = (0..members).map(|_| ValidatorKey::generate().public_key()).collect();
            assert_eq!(
                ValidatorSet::from_rules(&rules(keys)).unwrap().quorum(),
                quorum,
                "{members} members"
            );
        }
    }

    #[test]
    fn rounds_go_through_the_given_order_again_and_again_and_an_order_that_lacks_somebody_halts() {
        let keys = (0..4).map(|_| ValidatorKey::generate().public_key()).collect();
        let mut rules = rules(keys);
        rules.proposers.swap(0, 2);
        let set = ValidatorSet::from_rules(&rules).unwrap();
        for round in [0, 1, 2, 3, 4, 7, u32::MAX] {
            let wanted = rules.proposers[round as usize % 4];
            assert_eq!(set.proposer(Round::new(round)).account(), wanted);
        }
        assert_eq!(set.proposer(Round::Nil).account(), rules.proposers[0]);
        rules.proposers[3] = rules.proposers[0];
        assert!(ValidatorSet::from_rules(&rules).is_err());
        rules.proposers.pop();
        assert!(ValidatorSet::from_rules(&rules).is_err());
    }

    #[test]
    fn a_set_that_consensus_cannot_use_halts_it() {
        let key = ValidatorKey::generate().public_key();
        assert!(ValidatorSet::from_rules(&rules(vec![])).is_err());
        assert!(ValidatorSet::from_rules(&rules(vec![key, key])).is_err());
        let mut not_a_point = [1; 32];
        not_a_point[31] = 0;
        assert!(ValidatorSet::from_rules(&rules(vec![not_a_point])).is_err());
    }
}
