//! The types Malachite's state machine works with, bound together as one [`Context`].

use std::fmt;

use alloy::primitives::keccak256;
use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_core_types::{Context, LinearTimeouts, NilOrVal, Round, ValueId};

use super::signing::LedgerSigning;
use super::validators::{ConsensusValidator, ValidatorSet};
use super::value::{Part, Value};
use super::vote::{Proposal, Vote};

/// Height of a block; genesis is 0, the first decided block is 1.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Height(pub u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl malachitebft_core_types::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// Names a validator in votes and proposals: the last 20 bytes of the Keccak-256 hash of its Ed25519 key.
///
/// It is derived from the key and not the ledger account, because a node knows its key before it is a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct ValidatorAddress(pub [u8; 20]);

impl ValidatorAddress {
    /// The address of the validator with this Ed25519 public key.
    pub fn of_key(key: &[u8; 32]) -> Self {
        let hash = keccak256(key);
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&hash[12..]);
        Self(bytes)
    }
}

impl fmt::Display for ValidatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ValidatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl malachitebft_core_types::Address for ValidatorAddress {}

/// Malachite's context for the ledger: block ids are voted on, validators are equal, votes carry no extension.
#[derive(Clone, Copy, Debug, Default)]
pub struct LedgerContext;

impl Context for LedgerContext {
    type Address = ValidatorAddress;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = ConsensusValidator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = LinearTimeouts;
    type Value = Value;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = LedgerSigning;

    fn select_proposer<'a>(&self, validator_set: &'a ValidatorSet, _: Height, round: Round) -> &'a ConsensusValidator {
        validator_set.proposer(round)
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: Value,
        pol_round: Round,
        address: ValidatorAddress,
    ) -> Proposal {
        Proposal {
            height,
            round,
            value,
            pol_round,
            proposer: address,
        }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: Round,
        value_id: NilOrVal<ValueId<Self>>,
        address: ValidatorAddress,
    ) -> Vote {
        Vote::prevote(height, round, value_id, address)
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value_id: NilOrVal<ValueId<Self>>,
        address: ValidatorAddress,
    ) -> Vote {
        Vote::precommit(height, round, value_id, address)
    }
}
