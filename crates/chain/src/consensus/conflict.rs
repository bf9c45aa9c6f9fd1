//! Two messages that one validator signed and that contradict each other.
//!
//! The engine collects them at every node but the one whose key signed them: gossip drops what comes back to its own
//! publisher. That node is the one that can do something about it, though. If it did not sign both, another node runs with
//! its key. So whoever sees a conflict sends it back to its signer, who can check it alone and halts.
//!
//! Word of a conflict may come late, when the other node has been stopped and this one started again, as the message of the
//! halt demands. So only a height counts at which this node has signed since it began, see [`Signed`]: with a twin that still runs
//! the next height is one.

use std::collections::BTreeSet;

use alloy::primitives::Address;
use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_app_channel::app::types::MisbehaviorEvidence;
use malachitebft_core_consensus::SignedConsensusMsg;
use malachitebft_core_types::{Vote as _, VoteType};
use malachitebft_signing_ed25519::PublicKey;

use super::context::{Height, LedgerContext, ValidatorAddress};
use super::evidence::{Evidence, Misbehaviour};
use super::signing::Verifier;
use super::value::BlockId;

/// Why a node with a twin halts, and what its operator has to do.
pub const TWIN: &str = "this node's validator key signed two different things for the same height and round: another \
                        node runs with the same key. Stop one of them and give each its own key";

/// How many of the heights at which a node signed it remembers. Word of a conflict comes when its height is over.
const REMEMBERED: usize = 16;

/// The latest heights at which this node has signed since it began.
#[derive(Debug)]
pub struct Signed {
    first: Height,
    latest: BTreeSet<Height>,
}

impl Signed {
    /// Of a node that begins before this height. What it signs there may be what it had signed before it was stopped.
    pub fn since(first: Height) -> Self {
        let latest = BTreeSet::new();
        Self { first, latest }
    }

    /// The node signed something for this height.
    pub fn insert(&mut self, height: Height) {
        self.latest.insert(height);
        if self.latest.len() > REMEMBERED {
            self.latest.pop_first();
        }
    }

    /// Whether two different messages for this height show that another node signs now.
    pub fn counts(&self, height: Height) -> bool {
        height > self.first && self.latest.contains(&height)
    }
}

/// The two messages, not checked in any way.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Conflict(Box<[SignedConsensusMsg<LedgerContext>; 2]>);

/// What two messages have in common if one signer must not sign both.
#[derive(PartialEq, Eq)]
struct Slot {
    kind: Option<VoteType>,
    height: Height,
    round: i64,
    signer: ValidatorAddress,
}

fn slot(message: &SignedConsensusMsg<LedgerContext>) -> (Slot, Option<BlockId>) {
    match message {
        SignedConsensusMsg::Vote(vote) => {
            let slot = Slot {
                kind: Some(vote.vote_type()),
                height: vote.height(),
                round: vote.round().as_i64(),
                signer: *vote.validator_address(),
            };
            let value = vote.value().as_ref().map(|id| Some(*id)).value_or_default();
            (slot, value)
        }
        SignedConsensusMsg::Proposal(proposal) => {
            let slot = Slot {
                kind: None,
                height: proposal.height,
                round: proposal.round.as_i64(),
                signer: proposal.proposer,
            };
            (slot, Some(proposal.value.block_id()))
        }
    }
}

impl Conflict {
    /// One conflict for each validator in the engine's evidence.
    pub fn in_evidence(evidence: &MisbehaviorEvidence<LedgerContext>) -> Vec<(ValidatorAddress, Self)> {
        use SignedConsensusMsg::{Proposal, Vote};
        let votes = evidence.votes.iter().filter_map(|(signer, pairs)| {
            let (first, second) = pairs.first()?.clone();
            Some((*signer, Self(Box::new([Vote(first), Vote(second)]))))
        });
        let proposals = evidence.proposals.iter().filter_map(|(signer, pairs)| {
            let (first, second) = pairs.first()?.clone();
            Some((*signer, Self(Box::new([Proposal(first), Proposal(second)]))))
        });
        votes.chain(proposals).collect()
    }

    /// The height of the first message.
    pub fn height(&self) -> Height {
        slot(&self.0[0]).0.height
    }

    /// As it is recorded.
    pub fn case(&self, validator: Address, seen_at: u64) -> Evidence {
        let (slot, _) = slot(&self.0[0]);
        Evidence {
            validator,
            kind: match slot.kind {
                Some(_) => Misbehaviour::DoubleVote,
                None => Misbehaviour::DoubleProposal,
            },
            height: slot.height.0,
            round: u32::try_from(slot.round).unwrap_or(0),
            seen_at,
            detail: String::new(),
            proof: borsh::to_vec(self).ok().map(Into::into),
        }
    }

    /// Whether this proves that the validator with this key, which has not signed both, has a twin.
    pub fn proves_twin(&self, key: &PublicKey, verifier: &Verifier) -> bool {
        let [first, second] = &*self.0;
        let ((first_slot, first_value), (second_slot, second_value)) = (slot(first), slot(second));
        first_slot.signer == ValidatorAddress::of_key(key.as_bytes())
            && first_slot == second_slot
            && first_value != second_value
            && verifier.signed_by(first, key)
            && verifier.signed_by(second, key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::B256;
    use malachitebft_core_types::{NilOrVal, Round};
    use malachitebft_signing::Signer as _;

    use super::super::signing::Signer;
    use super::super::value::Value;
    use super::super::vote::{Proposal, Vote};
    use super::*;
    use crate::key::ValidatorKey;

    const LEDGER: B256 = B256::repeat_byte(1);

    async fn vote(key: &ValidatorKey, round: u32, id: Option<u8>) -> SignedConsensusMsg<LedgerContext> {
        let value = id.map_or(NilOrVal::Nil, |id| NilOrVal::Val(BlockId(B256::repeat_byte(id))));
        let voter = ValidatorAddress::of_key(&key.public_key());
        let vote = Vote::precommit(Height(5), Round::new(round), value, voter);
        SignedConsensusMsg::Vote(Signer::new(LEDGER, key.signing_key()).sign_vote(vote).await.unwrap())
    }

    async fn proposal(key: &ValidatorKey, id: u8) -> SignedConsensusMsg<LedgerContext> {
        let proposal = Proposal {
            height: Height(5),
            round: Round::new(0),
            value: Value::id_only(BlockId(B256::repeat_byte(id))),
            pol_round: Round::Nil,
            proposer: ValidatorAddress::of_key(&key.public_key()),
        };
        SignedConsensusMsg::Proposal(
            Signer::new(LEDGER, key.signing_key())
                .sign_proposal(proposal)
                .await
                .unwrap(),
        )
    }

    #[test]
    fn only_heights_that_this_node_signed_since_it_began_count() {
        let mut signed = Signed::since(Height(5));
        assert!(!signed.counts(Height(6)), "it has signed nothing there");
        signed.insert(Height(5));
        signed.insert(Height(7));
        assert!(
            !signed.counts(Height(5)),
            "what it signs first it may have signed before"
        );
        assert!(signed.counts(Height(7)) && !signed.counts(Height(6)));
        (8..100).for_each(|height| signed.insert(Height(height)));
        assert!(signed.counts(Height(99)) && !signed.counts(Height(7)));
        assert_eq!(signed.latest.len(), REMEMBERED);
    }

    #[tokio::test]
    async fn only_two_different_messages_for_one_slot_signed_with_the_key_are_proof() {
        let (mine, other) = (ValidatorKey::generate(), ValidatorKey::generate());
        let proves = |first, second| {
            let conflict = Conflict(Box::new([first, second]));
            let read: Conflict = borsh::from_slice(&borsh::to_vec(&conflict).unwrap()).unwrap();
            assert_eq!(read, conflict);
            read.proves_twin(&mine.signing_key().public_key(), &Verifier::new(LEDGER))
        };
        assert!(proves(vote(&mine, 0, Some(1)).await, vote(&mine, 0, Some(2)).await));
        assert!(proves(vote(&mine, 0, Some(1)).await, vote(&mine, 0, None).await));
        assert!(proves(proposal(&mine, 1).await, proposal(&mine, 2).await));

        assert!(
            !proves(vote(&mine, 0, Some(1)).await, vote(&mine, 0, Some(1)).await),
            "the same vote"
        );
        assert!(
            !proves(vote(&mine, 0, Some(1)).await, vote(&mine, 1, Some(2)).await),
            "two rounds"
        );
        assert!(
            !proves(vote(&mine, 0, Some(1)).await, proposal(&mine, 2).await),
            "two kinds"
        );
        assert!(
            !proves(vote(&other, 0, Some(1)).await, vote(&other, 0, Some(2)).await),
            "another's conflict"
        );
        let mut forged = vote(&mine, 0, Some(1)).await;
        if let (SignedConsensusMsg::Vote(forged), SignedConsensusMsg::Vote(real)) =
            (&mut forged, vote(&other, 0, Some(1)).await)
        {
            forged.signature = real.signature;
        }
        assert!(!proves(forged, vote(&mine, 0, Some(2)).await), "a forged signature");
    }
}
