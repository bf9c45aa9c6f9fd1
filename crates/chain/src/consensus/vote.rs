//! Votes and proposals, and the exact bytes that are signed.

use alloy::primitives::B256;
use borsh::io::{Read, Result, Write};
use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_core_types::{NilOrVal, Round, SignedExtension, VoteType};

use super::context::{Height, LedgerContext, ValidatorAddress};
use super::value::{BlockId, Value};

/// A prevote or precommit for a block id or for nil.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    kind: VoteType,
    height: Height,
    round: Round,
    value: NilOrVal<BlockId>,
    voter: ValidatorAddress,
}

impl Vote {
    /// A prevote.
    pub fn prevote(height: Height, round: Round, value: NilOrVal<BlockId>, voter: ValidatorAddress) -> Self {
        Self {
            kind: VoteType::Prevote,
            height,
            round,
            value,
            voter,
        }
    }

    /// A precommit.
    pub fn precommit(height: Height, round: Round, value: NilOrVal<BlockId>, voter: ValidatorAddress) -> Self {
        Self {
            kind: VoteType::Precommit,
            height,
            round,
            value,
            voter,
        }
    }

    /// What is signed: a tag, the hash of the genesis block, and the vote, so that a vote counts on one ledger only.
    pub fn sign_bytes(&self, ledger: B256) -> Vec<u8> {
        sign_bytes(b"hanse/vote/1", ledger, self)
    }
}

impl malachitebft_core_types::Vote<LedgerContext> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &ValidatorAddress {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<LedgerContext>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<LedgerContext>> {
        None
    }

    // Vote extensions are disabled at every height (the default policy), so the engine never extends a vote.
    fn extend(self, _: SignedExtension<LedgerContext>) -> Self {
        self
    }
}

/// The proposer's statement that this block is to be decided. On the wire and in the log it holds the id alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Height of the block.
    pub height: Height,
    /// Round of this proposal.
    pub round: Round,
    /// The block.
    pub value: Value,
    /// The round in which the block already had a quorum of prevotes, or nil.
    pub pol_round: Round,
    /// Who proposes.
    pub proposer: ValidatorAddress,
}

impl Proposal {
    /// What is signed; see [`Vote::sign_bytes`].
    pub fn sign_bytes(&self, ledger: B256) -> Vec<u8> {
        sign_bytes(b"hanse/proposal/1", ledger, self)
    }
}

impl malachitebft_core_types::Proposal<LedgerContext> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &ValidatorAddress {
        &self.proposer
    }
}

impl BorshSerialize for Proposal {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        (
            self.height,
            self.round,
            self.value.block_id(),
            self.pol_round,
            self.proposer,
        )
            .serialize(writer)
    }
}

impl BorshDeserialize for Proposal {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let (height, round, id, pol_round, proposer) = BorshDeserialize::deserialize_reader(reader)?;
        Ok(Self {
            height,
            round,
            value: Value::id_only(id),
            pol_round,
            proposer,
        })
    }
}

fn sign_bytes(tag: &[u8], ledger: B256, message: &impl BorshSerialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tag.len() + 32 + 96);
    bytes.extend_from_slice(tag);
    bytes.extend_from_slice(ledger.as_slice());
    borsh::to_writer(&mut bytes, message).expect("writing to a vector does not fail");
    bytes
}
