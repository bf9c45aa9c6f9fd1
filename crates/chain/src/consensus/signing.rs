//! Ed25519 signatures over votes, proposals and the proof that a libp2p peer is a validator.

use std::cmp::Ordering;
use std::sync::Arc;

use alloy::primitives::B256;
use async_trait::async_trait;
use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_core_consensus::SignedConsensusMsg;
use malachitebft_core_types::{
    SignedExtension, SignedProposal, SignedVote, SigningScheme, ValidatorProof, VoteExtensionScope,
};
use malachitebft_signing::{Error, VerificationResult};
use malachitebft_signing_ed25519::{PrivateKey, PublicKey, Signature as Ed25519Signature};

use super::app::blocking;
use super::context::LedgerContext;
use super::vote::{Proposal, Vote};
use crate::application::Application;

/// 64 bytes that claim to be an Ed25519 signature; a type of its own because the wire format needs borsh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Signature([u8; 64]);

impl PartialOrd for Signature {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Signature {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// The signing scheme of the ledger: Ed25519 (RFC 8032, verified by the rules of ZIP 215, so all nodes agree on which
/// signatures are valid).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSigning;

impl SigningScheme for LedgerSigning {
    type DecodingError = &'static str;
    type Signature = Signature;
    type PublicKey = PublicKey;
    type PrivateKey = PrivateKey;

    fn decode_signature(bytes: &[u8]) -> Result<Signature, &'static str> {
        bytes
            .try_into()
            .map(Signature)
            .map_err(|_| "an Ed25519 signature has 64 bytes")
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<PublicKey, &'static str> {
        let bytes = bytes.try_into().map_err(|_| "an Ed25519 public key has 32 bytes")?;
        PublicKey::from_bytes(bytes).map_err(|_| "not an Ed25519 public key")
    }

    fn encode_public_key(key: &PublicKey) -> Vec<u8> {
        key.as_bytes().to_vec()
    }
}

/// Verifies what validators of one ledger sign.
#[derive(Clone, Copy, Debug)]
pub struct Verifier {
    ledger: B256,
}

impl Verifier {
    /// For the ledger with this genesis block hash.
    pub fn new(ledger: B256) -> Self {
        Self { ledger }
    }

    /// Whether the signature of a vote or proposal is that of this key.
    pub fn signed_by(&self, message: &SignedConsensusMsg<LedgerContext>, key: &PublicKey) -> bool {
        let verdict = match message {
            SignedConsensusMsg::Vote(vote) => Self::check(&vote.sign_bytes(self.ledger), &vote.signature, key),
            SignedConsensusMsg::Proposal(proposal) => {
                Self::check(&proposal.sign_bytes(self.ledger), &proposal.signature, key)
            }
        };
        verdict.is_valid()
    }

    fn check(message: &[u8], signature: &Signature, key: &PublicKey) -> VerificationResult {
        VerificationResult::from_bool(key.verify(message, &Ed25519Signature::from_bytes(signature.0)).is_ok())
    }
}

#[async_trait]
impl malachitebft_signing::Verifier<LedgerContext> for Verifier {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(Self::check(&vote.sign_bytes(self.ledger), signature, key))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(Self::check(&proposal.sign_bytes(self.ledger), signature, key))
    }

    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<LedgerContext>,
        (): &(),
        _: &Signature,
        _: &PublicKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(&self, proof: &ValidatorProof<LedgerContext>) -> Result<VerificationResult, Error> {
        let key = proof.decoded_public_key().map_err(Error::from_source)?;
        Ok(Self::check(&proof.preimage(), &proof.signature, &key))
    }
}

/// Signs with this node's validator key.
#[derive(Clone)]
pub struct Signer {
    ledger: B256,
    key: PrivateKey,
}

impl Signer {
    /// For the ledger with this genesis block hash.
    pub fn new(ledger: B256, key: PrivateKey) -> Self {
        Self { ledger, key }
    }

    /// Signs the bytes of a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.key.sign(message).to_bytes())
    }
}

/// A [`Signer`] that signs a vote or a proposal only on a ledger that a crash can't set back: what is signed for a height
/// is remembered in the write-ahead log of that height, which is of use only to a node that still has the block before it.
pub struct DurableSigner {
    signer: Signer,
    application: Arc<dyn Application>,
}

impl DurableSigner {
    /// Flushes `application` before `signer` signs.
    pub fn new(signer: Signer, application: Arc<dyn Application>) -> Self {
        Self { signer, application }
    }

    async fn flush(&self) -> Result<(), Error> {
        let flushed = blocking(&self.application, |application| application.flush()).await;
        flushed.and_then(|flushed| flushed).map_err(Error::from_source)
    }
}

#[async_trait]
impl malachitebft_signing::Signer<LedgerContext> for DurableSigner {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedVote<LedgerContext>, Error> {
        self.flush().await?;
        self.signer.sign_vote(vote).await
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedProposal<LedgerContext>, Error> {
        self.flush().await?;
        self.signer.sign_proposal(proposal).await
    }

    async fn sign_vote_extension(
        &self,
        scope: VoteExtensionScope<LedgerContext>,
        extension: (),
    ) -> Result<SignedExtension<LedgerContext>, Error> {
        self.signer.sign_vote_extension(scope, extension).await
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<LedgerContext>, Error> {
        self.signer.sign_validator_proof(public_key, peer_id).await
    }
}

#[async_trait]
impl malachitebft_signing::Signer<LedgerContext> for Signer {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedVote<LedgerContext>, Error> {
        let signature = self.sign(&vote.sign_bytes(self.ledger));
        Ok(SignedVote::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedProposal<LedgerContext>, Error> {
        let signature = self.sign(&proposal.sign_bytes(self.ledger));
        Ok(SignedProposal::new(proposal, signature))
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<LedgerContext>,
        (): (),
    ) -> Result<SignedExtension<LedgerContext>, Error> {
        Err(Error::from_source("this ledger's votes carry no extension"))
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<LedgerContext>, Error> {
        let preimage = ValidatorProof::<LedgerContext>::signing_bytes(&public_key, &peer_id);
        let signature = self.sign(&preimage);
        Ok(ValidatorProof::new(public_key, peer_id, signature))
    }
}
