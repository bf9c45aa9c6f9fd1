//! Every decoder of what other nodes send, and of the write-ahead log, under changed messages. What one of them takes is
//! what it would write itself: no message has two forms.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/fuzzing/mod.rs"]
mod fuzzing;

use std::collections::VecDeque;

use alloy::primitives::{B256, Bytes};
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_codec::Codec;
use malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachitebft_core_types::{NilOrVal, PolkaCertificate, PolkaSignature, Round, ValidatorProof, Validity};
use malachitebft_signing::Signer as _;
use malachitebft_sync::{PeerId, RawDecidedValue, Request, Response, Status, ValueRequest, ValueResponse};

use super::blocks::BlockPool;
use super::certificate;
use super::codec::{WalCodec, WireCodec};
use super::conflict::Conflict;
use super::context::{Height, LedgerContext, ValidatorAddress};
use super::signing::Signer;
use super::value::{BlockId, BlockPart, Part, Transactions, Value};
use super::vote::{Proposal, Vote};
use crate::key::ValidatorKey;
use fuzzing::{fuzz, keep};

const LEDGER: B256 = B256::repeat_byte(0xab);

/// What `C` reads, it writes the same way.
fn one_form<T, C: Codec<T>>(codec: &C, bytes: &[u8]) {
    if let Ok(message) = codec.decode(bytes.to_vec().into()) {
        let written = codec
            .encode(&message)
            .unwrap_or_else(|_| panic!("what was read can't be written"));
        assert_eq!(written, bytes, "a second form of the same message");
    }
}

#[test]
fn votes_and_proposals() {
    fuzz("consensus", |bytes| {
        one_form::<SignedConsensusMsg<LedgerContext>, _>(&WireCodec, bytes)
    });
}

#[test]
fn parts_of_blocks_gossiped_transactions_knocks_and_conflicts() {
    fuzz("part", |bytes| one_form::<StreamMessage<Part>, _>(&WireCodec, bytes));
}

#[test]
fn liveness() {
    fuzz("liveness", |bytes| {
        one_form::<LivenessMsg<LedgerContext>, _>(&WireCodec, bytes)
    });
}

#[test]
fn synchronisation() {
    fuzz("sync", |bytes| {
        one_form::<Status<LedgerContext>, _>(&WireCodec, bytes);
        one_form::<Request<LedgerContext>, _>(&WireCodec, bytes);
        one_form::<Response<LedgerContext>, _>(&WireCodec, bytes);
    });
}

#[test]
fn proofs_of_being_a_validator() {
    fuzz("proof", |bytes| {
        one_form::<ValidatorProof<LedgerContext>, _>(&WireCodec, bytes)
    });
}

#[test]
fn certificates() {
    fuzz("certificate", |bytes| {
        let _ = certificate::decode(bytes);
    });
}

#[test]
fn the_write_ahead_log() {
    fuzz("log", |bytes| {
        let codec = WalCodec::new(BlockPool::default());
        one_form::<ProposedValue<LedgerContext>, _>(&codec, bytes);
        one_form::<SignedConsensusMsg<LedgerContext>, _>(&codec, bytes);
        one_form::<PolkaCertificate<LedgerContext>, _>(&codec, bytes);
    });
}

fn written<T>(message: &T) -> Vec<u8>
where
    WireCodec: Codec<T>,
{
    WireCodec.encode(message).ok().unwrap().to_vec()
}

fn part(part: Part) -> Vec<u8> {
    written(&StreamMessage::new(
        StreamId::new(Default::default()),
        0,
        StreamContent::Data(part),
    ))
}

/// Run it when the form of messages changes: `cargo test --workspace --lib write_the_corpus -- --ignored`.
#[tokio::test]
#[ignore = "writes the corpus"]
async fn write_the_corpus() {
    let key = ValidatorKey::from_seed([7; 32]);
    let signer = Signer::new(LEDGER, key.signing_key());
    let voter = ValidatorAddress::of_key(&key.public_key());
    let id = |n| BlockId(B256::repeat_byte(n));
    let vote = async |height, round, value| {
        let vote = Vote::precommit(Height(height), Round::new(round), value, voter);
        SignedConsensusMsg::<LedgerContext>::Vote(signer.sign_vote(vote).await.unwrap())
    };
    let proposal = Proposal {
        height: Height(7),
        round: Round::new(1),
        value: Value::id_only(id(3)),
        pol_round: Round::new(0),
        proposer: voter,
    };
    let proposal = SignedConsensusMsg::<LedgerContext>::Proposal(signer.sign_proposal(proposal).await.unwrap());
    let (for_one, for_nil) = (vote(7, 0, NilOrVal::Val(id(1))).await, vote(7, 0, NilOrVal::Nil).await);
    keep(
        "consensus",
        &[
            ("vote", written(&for_one)),
            ("vote-nil", written(&for_nil)),
            ("proposal", written(&proposal)),
        ],
    );

    let block: Bytes = (0..200u8).collect::<Vec<_>>().into();
    let pieces = BlockPart::cut(Height(9), 0, id(2), &block).unwrap();
    let mut queue: VecDeque<Bytes> = (1..5u8).map(|n| vec![n; 40].into()).collect();
    let evidence = borsh::to_vec(&[for_one.clone(), for_nil]).unwrap();
    let conflict: Conflict = borsh::from_slice(&evidence).unwrap();
    keep(
        "part",
        &[
            ("block", part(Part::Block(pieces[0].clone()))),
            (
                "transactions",
                part(Part::Transactions(Transactions::take_from(&mut queue).unwrap())),
            ),
            ("knock", part(Part::Knock(Height(9)))),
            ("conflict", part(Part::Conflict(conflict))),
            (
                "end",
                written(&StreamMessage::<Part>::new(
                    StreamId::new(Default::default()),
                    1,
                    StreamContent::Fin,
                )),
            ),
        ],
    );

    let SignedConsensusMsg::Vote(signed) = for_one.clone() else {
        panic!("it is a vote")
    };
    let polka = PolkaCertificate::<LedgerContext> {
        height: Height(7),
        round: Round::new(0),
        value_id: id(1),
        polka_signatures: vec![PolkaSignature::new(voter, signed.signature); 3],
    };
    keep(
        "liveness",
        &[
            ("vote", written(&LivenessMsg::<LedgerContext>::Vote(signed))),
            ("polka", written(&LivenessMsg::PolkaCertificate(polka.clone()))),
        ],
    );

    let certified = certificate::certify(LEDGER, 7, B256::repeat_byte(1), std::slice::from_ref(&key));
    let decided = RawDecidedValue::new(block.0.clone(), certificate::decode(&certified).unwrap());
    let status = Status::<LedgerContext> {
        peer_id: PeerId::from_bytes(&[0, 1, 7]).unwrap(),
        tip_height: Height(9),
        history_min_height: Height(1),
    };
    let request = Request::ValueRequest(ValueRequest::<LedgerContext>::new(Height(3)..=Height(9)));
    let response = Response::ValueResponse(ValueResponse::new(Height(7), vec![decided]));
    keep(
        "sync",
        &[
            ("status", written(&status)),
            ("request", written(&request)),
            ("response", written(&response)),
        ],
    );
    let proof = signer
        .sign_validator_proof(key.public_key().to_vec(), vec![1, 2, 3])
        .await
        .unwrap();
    keep("proof", &[("proof", written(&proof))]);
    keep("certificate", &[("certificate", certified.to_vec())]);

    let proposed = ProposedValue::<LedgerContext> {
        height: Height(7),
        round: Round::new(1),
        valid_round: Round::Nil,
        proposer: voter,
        value: Value::new(B256::repeat_byte(1), block),
        validity: Validity::Valid,
    };
    let codec = WalCodec::new(BlockPool::default());
    keep(
        "log",
        &[
            ("value", codec.encode(&proposed).unwrap().to_vec()),
            ("vote", codec.encode(&for_one).unwrap().to_vec()),
            ("polka", codec.encode(&polka).unwrap().to_vec()),
        ],
    );
}
