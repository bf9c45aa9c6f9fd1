//! The commit certificate as the block store keeps it and other nodes verify it.

use alloy::primitives::{B256, Bytes};
use malachitebft_core_types::{
    CommitCertificate, CommitSignature, ExtendedCommitCertificate, NilOrVal, Round, VoteExtensions,
};

use super::context::{Height, LedgerContext, ValidatorAddress};
use super::signing::Signer;
use super::value::BlockId;
use super::vote::Vote;
use crate::key::ValidatorKey;

/// The certificate of a block that all of `keys` vote for in round 0, encoded. `ledger` is the hash of block 0.
///
/// For whoever holds the keys of a whole consortium and builds its ledger without running it, as benches do. Nodes accept
/// it like any other, because it is what their own votes would have made.
pub fn certify(ledger: B256, height: u64, block: B256, keys: &[ValidatorKey]) -> Bytes {
    let (height, round, id) = (Height(height), Round::new(0), BlockId(block));
    let sign = |key: &ValidatorKey| {
        let address = ValidatorAddress::of_key(&key.public_key());
        let vote = Vote::precommit(height, round, NilOrVal::Val(id), address);
        let signature = Signer::new(ledger, key.signing_key()).sign(&vote.sign_bytes(ledger));
        CommitSignature::new(address, signature)
    };
    encode(&CommitCertificate {
        height,
        round,
        value_id: id,
        commit_signatures: keys.iter().map(sign).collect(),
    })
}

/// Encodes the certificate of a decided block.
pub fn encode(certificate: &CommitCertificate<LedgerContext>) -> Bytes {
    borsh::to_vec(certificate)
        .expect("writing to a vector does not fail")
        .into()
}

/// Decodes a stored certificate, in the form in which the engine sends it to a node that was away.
///
/// # Errors
/// When the bytes are not a certificate. It is not verified here; its receiver does that.
pub fn decode(bytes: &[u8]) -> borsh::io::Result<ExtendedCommitCertificate<LedgerContext>> {
    let certificate = borsh::from_slice::<CommitCertificate<LedgerContext>>(bytes)?;
    Ok(ExtendedCommitCertificate::from_commit_certificate_and_extensions(
        certificate,
        VoteExtensions::default(),
    ))
}
