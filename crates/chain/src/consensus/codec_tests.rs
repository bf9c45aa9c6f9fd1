//! What is written is read back; what was not written so is refused, whatever it is.
#![allow(clippy::unwrap_used)]

use alloy::primitives::{Address, B256, Bytes};
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_codec::{Codec, HasEncodedLen};
use malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachitebft_core_types::{
    CommitCertificate, CommitSignature, NilOrVal, Round, SigningScheme, ThresholdParams, ValidatorProof, Validity,
};
use malachitebft_signing::{Signer as _, Verifier as _, VerifierExt};
use malachitebft_sync::{PeerId, RawDecidedValue, Response, Status, ValueResponse};
use proptest::prelude::*;

use super::blocks::BlockPool;
use super::certificate;
use super::codec::{MAX_CONSENSUS_MESSAGE, MAX_PART_MESSAGE, WalCodec, WireCodec};
use super::context::{Height, LedgerContext, ValidatorAddress};
use super::signing::{LedgerSigning, Signer, Verifier};
use super::validators::ValidatorSet;
use super::value::{BlockId, BlockPart, MAX_PART_BYTES, Part, Transactions, Value};
use super::vote::{Proposal, Vote};
use crate::application::{HeightRules, Validator};
use crate::genesis::ConsensusParameters;
use crate::key::ValidatorKey;

const LEDGER: B256 = B256::repeat_byte(0xab);

type Stream = StreamMessage<Part>;
type Consensus = SignedConsensusMsg<LedgerContext>;
type Liveness = LivenessMsg<LedgerContext>;
type Proof = ValidatorProof<LedgerContext>;
type Proposed = ProposedValue<LedgerContext>;

fn read<T>(bytes: &[u8]) -> Option<T>
where
    WireCodec: Codec<T>,
{
    WireCodec.decode(bytes.to_vec().into()).ok()
}

fn written<T>(message: &T) -> bytes::Bytes
where
    WireCodec: Codec<T>,
{
    WireCodec.encode(message).unwrap()
}

fn precommit(signer: &ValidatorKey, id: BlockId) -> Vote {
    let voter = ValidatorAddress::of_key(&signer.public_key());
    Vote::precommit(Height(7), Round::new(1), NilOrVal::Val(id), voter)
}

fn rules(keys: &[ValidatorKey]) -> HeightRules {
    let validator = |key: &ValidatorKey| Validator {
        account: Address::from_slice(&key.public_key()[..20]),
        key: key.public_key(),
        consensus_address: String::new(),
    };
    let parameters = ConsensusParameters {
        propose_ms: 1,
        propose_delta_ms: 1,
        vote_ms: 1,
        vote_delta_ms: 1,
        heartbeat_ms: 1,
    };
    let validators: Vec<Validator> = keys.iter().map(validator).collect();
    HeightRules {
        proposers: validators.iter().map(|validator| validator.account).collect(),
        validators,
        parameters,
    }
}

async fn certificate_of(keys: &[ValidatorKey], id: BlockId) -> CommitCertificate<LedgerContext> {
    let mut commit_signatures = Vec::new();
    for key in keys {
        let signed = Signer::new(LEDGER, key.signing_key())
            .sign_vote(precommit(key, id))
            .await
            .unwrap();
        commit_signatures.push(CommitSignature::new(
            ValidatorAddress::of_key(&key.public_key()),
            signed.signature,
        ));
    }
    CommitCertificate {
        height: Height(7),
        round: Round::new(1),
        value_id: id,
        commit_signatures,
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_rarely_mean_anything(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = read::<Stream>(&bytes);
        let _ = read::<Part>(&bytes);
        let _ = read::<Consensus>(&bytes);
        let _ = read::<Liveness>(&bytes);
        let _ = read::<Status<LedgerContext>>(&bytes);
        let _ = read::<Response<LedgerContext>>(&bytes);
        let _ = read::<Proof>(&bytes);
        let _ = certificate::decode(&bytes);
        let pool = BlockPool::default();
        let _: Result<Proposed, _> = WalCodec::new(pool).decode(bytes.into());
    }

    #[test]
    fn a_block_part_is_read_back_and_no_change_of_its_length_is_tolerated(
        block in prop::collection::vec(any::<u8>(), 1..2000), height: u64, round: u32, id: [u8; 32], cut in 0usize..2000,
    ) {
        let parts = BlockPart::cut(Height(height), round, BlockId(id.into()), &block.into()).unwrap();
        let content = StreamContent::Data(Part::Block(parts[0].clone()));
        let message = StreamMessage::new(StreamId::new(Default::default()), 0, content);
        let bytes = written(&message);
        prop_assert_eq!(read::<Stream>(&bytes), Some(message));
        prop_assert!(read::<Stream>(&bytes[..cut % bytes.len()]).is_none());
        prop_assert!(read::<Stream>(&[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn transactions_are_sent_in_order_in_as_few_messages_as_fit(
        lengths in prop::collection::vec(0usize..2 * Transactions::MAX_BYTES / 3, 0..12),
    ) {
        let all: Vec<Bytes> = lengths.iter().map(|length| vec![*length as u8; *length].into()).collect();
        let mut queue = all.iter().cloned().collect();
        let mut received = Vec::new();
        while let Some(transactions) = Transactions::take_from(&mut queue) {
            let message = Part::Transactions(transactions);
            let Some(Part::Transactions(read)) = read::<Part>(&written(&message)) else { panic!("not read back") };
            received.extend(read.into_inner());
        }
        prop_assert_eq!(received, all);
    }
}

#[test]
fn messages_over_their_limit_are_refused_before_they_are_read() {
    assert!(read::<Consensus>(&vec![0; MAX_CONSENSUS_MESSAGE + 1]).is_none());
    assert!(read::<Stream>(&vec![0; MAX_PART_MESSAGE + 1]).is_none());
    // A length that promises more than there is, and more than may be.
    let claim = |length: u32| [&[1u8][..], &1u32.to_le_bytes(), &length.to_le_bytes(), &[0; 8]].concat();
    assert!(read::<Part>(&claim(8)).is_some());
    assert!(read::<Part>(&claim(9)).is_none());
    assert!(read::<Part>(&claim(u32::MAX)).is_none());
}

#[test]
fn block_parts_with_impossible_numbers_are_refused() {
    let block: Bytes = vec![1; 2 * MAX_PART_BYTES].into();
    let parts = BlockPart::cut(Height(1), 0, BlockId(LEDGER), &block).unwrap();
    let with = |change: fn(&mut BlockPart)| {
        let mut part = parts[0].clone();
        change(&mut part);
        read::<Part>(&written(&Part::Block(part)))
    };
    assert!(with(|_| ()).is_some());
    assert!(with(|part| part.count = 0).is_none());
    assert!(with(|part| part.count = 17).is_none());
    assert!(with(|part| part.index = 2).is_none());
    assert!(with(|part| part.index = 255).is_none());
    assert!(with(|part| part.bytes = Bytes::new()).is_none());
    assert!(
        with(|part| part.bytes = vec![1; 5].into()).is_none(),
        "a piece that is not the last is full"
    );
}

#[tokio::test]
async fn a_proposal_travels_without_its_block_and_is_the_same_proposal() {
    let key = ValidatorKey::generate();
    let proposer = ValidatorAddress::of_key(&key.public_key());
    let value = Value::new(LEDGER, vec![1; 10_000].into());
    let proposal = Proposal {
        height: Height(7),
        round: Round::new(0),
        value,
        pol_round: Round::Nil,
        proposer,
    };
    let signed = Signer::new(LEDGER, key.signing_key())
        .sign_proposal(proposal)
        .await
        .unwrap();
    let bytes = written(&Consensus::Proposal(signed.clone()));
    assert!(bytes.len() < 200, "{}", bytes.len());
    let Some(Consensus::Proposal(read)) = read::<Consensus>(&bytes) else {
        panic!("not read back")
    };
    assert_eq!(read, signed);
    let key = LedgerSigning::decode_public_key(&key.public_key()).unwrap();
    let verdict = Verifier::new(LEDGER)
        .verify_signed_proposal(&read.message, &read.signature, &key)
        .await;
    assert!(verdict.unwrap().is_valid());
}

#[tokio::test]
async fn a_vote_counts_on_its_own_ledger_only() {
    let key = ValidatorKey::generate();
    let signed = Signer::new(LEDGER, key.signing_key())
        .sign_vote(precommit(&key, BlockId(LEDGER)))
        .await
        .unwrap();
    let public = LedgerSigning::decode_public_key(&key.public_key()).unwrap();
    for (ledger, valid) in [(LEDGER, true), (B256::ZERO, false)] {
        let verdict = Verifier::new(ledger)
            .verify_signed_vote(&signed.message, &signed.signature, &public)
            .await;
        assert_eq!(verdict.unwrap().is_valid(), valid);
    }
}

#[tokio::test]
async fn a_stored_certificate_convinces_another_node_and_a_changed_one_does_not() {
    let keys: Vec<_> = (0..4).map(|_| ValidatorKey::generate()).collect();
    let set = ValidatorSet::from_rules(&rules(&keys)).unwrap();
    let verify = async |certificate: &CommitCertificate<LedgerContext>| {
        let read = certificate::decode(&certificate::encode(certificate)).unwrap();
        let response = Response::ValueResponse(ValueResponse::new(
            Height(7),
            vec![RawDecidedValue::new(vec![1, 2, 3].into(), read)],
        ));
        let bytes = written(&response);
        assert_eq!(bytes.len(), WireCodec.encoded_len(&response).unwrap());
        let Response::ValueResponse(received) = super::codec_tests::read(&bytes).unwrap();
        let received = received.values[0].certificate.trim_vote_extensions();
        let thresholds = ThresholdParams::default();
        Verifier::new(LEDGER)
            .verify_commit_certificate(&LedgerContext, &received, &set, thresholds)
            .await
            .is_ok()
    };
    assert!(verify(&certificate_of(&keys[..3], BlockId(LEDGER)).await).await);
    assert!(
        !verify(&certificate_of(&keys[..2], BlockId(LEDGER)).await).await,
        "two of four are no quorum"
    );
    let mut other_block = certificate_of(&keys, BlockId(LEDGER)).await;
    other_block.value_id = BlockId(B256::ZERO);
    assert!(!verify(&other_block).await);
    let mut one_twice = certificate_of(&keys[..2], BlockId(LEDGER)).await;
    one_twice.commit_signatures.push(one_twice.commit_signatures[0].clone());
    assert!(!verify(&one_twice).await);
}

#[test]
fn the_log_hands_back_the_blocks_it_holds() {
    let proposer = ValidatorAddress([1; 20]);
    let value = Value::new(LEDGER, vec![5; 5000].into());
    let (height, round) = (Height(3), Round::new(2));
    let proposed = Proposed {
        height,
        round,
        valid_round: Round::Nil,
        proposer,
        value,
        validity: Validity::Valid,
    };
    let bytes = WalCodec::new(BlockPool::default()).encode(&proposed).unwrap();
    let pool = BlockPool::default();
    let read: Proposed = WalCodec::new(pool.clone()).decode(bytes).unwrap();
    assert_eq!(read, proposed);
    assert_eq!(pool.get(BlockId(LEDGER)).unwrap().block, vec![5; 5000]);
    assert!(pool.proposed_by(proposer, height, 2).is_some());
    assert!(pool.proposed_by(proposer, height, 1).is_none());
    pool.forget(height);
    assert!(pool.get(BlockId(LEDGER)).is_none());
}

#[tokio::test]
async fn status_and_proof_of_a_validator_are_read_back() {
    let status = Status {
        peer_id: PeerId::from_bytes(&[0, 1, 7]).unwrap(),
        tip_height: Height(9),
        history_min_height: Height(1),
    };
    assert_eq!(read(&written(&status)), Some(status));
    let key = ValidatorKey::generate();
    let signer = Signer::new(LEDGER, key.signing_key());
    let proof = signer
        .sign_validator_proof(key.public_key().to_vec(), vec![1, 2, 3])
        .await
        .unwrap();
    let received: Proof = read(&written(&proof)).unwrap();
    assert!(
        Verifier::new(LEDGER)
            .verify_validator_proof(&received)
            .await
            .unwrap()
            .is_valid()
    );
    let lie = Proof {
        peer_id: vec![9],
        ..received
    };
    assert!(
        !Verifier::new(LEDGER)
            .verify_validator_proof(&lie)
            .await
            .unwrap()
            .is_valid()
    );
}
