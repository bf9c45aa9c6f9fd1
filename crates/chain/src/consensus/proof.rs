//! Checking a commit certificate away from the engine, for whoever follows the ledger by headers alone.

use alloy::primitives::{Address, B256};
use malachitebft_core_types::{CommitCertificate, ThresholdParams};
use malachitebft_signing::VerifierExt;

use super::context::{Height, LedgerContext};
use super::signing::Verifier;
use super::validators::ValidatorSet;
use super::value::BlockId;
use crate::application::{HeightRules, Validator};
use crate::genesis::ConsensusParameters;

/// Whether `certificate` proves that more than two thirds of `validators` (account and key of each) decided `block` at `height`
/// on the ledger whose block 0 has the hash `ledger`. Otherwise the reason.
pub fn verify_certificate(
    ledger: B256,
    validators: impl IntoIterator<Item = (Address, B256)>,
    height: u64,
    block: B256,
    certificate: &[u8],
) -> Result<(), String> {
    let certificate: CommitCertificate<LedgerContext> =
        borsh::from_slice(certificate).map_err(|error| format!("the certificate does not decode: {error}"))?;
    if (certificate.height, certificate.value_id) != (Height(height), BlockId(block)) {
        return Err(format!(
            "the certificate is of block {} at height {}, not of {block} at {height}",
            certificate.value_id, certificate.height
        ));
    }
    let set = set_of(validators)?;
    let verifier = Verifier::new(ledger);
    let verified = verifier.verify_commit_certificate(&LedgerContext, &certificate, &set, ThresholdParams::default());
    // Nothing in it waits; it is asynchronous for those who keep keys elsewhere.
    futures::executor::block_on(verified).map_err(|error| error.to_string())
}

fn set_of(validators: impl IntoIterator<Item = (Address, B256)>) -> Result<ValidatorSet, String> {
    let validators: Vec<Validator> = validators
        .into_iter()
        .map(|(account, key)| Validator {
            account,
            key: key.0,
            consensus_address: String::new(),
        })
        .collect();
    // Neither turns nor timeouts matter for a certificate.
    let rules = HeightRules {
        proposers: validators.iter().map(|validator| validator.account).collect(),
        validators,
        parameters: ConsensusParameters {
            propose_ms: 1,
            propose_delta_ms: 1,
            vote_ms: 1,
            vote_delta_ms: 1,
            heartbeat_ms: 1,
        },
    };
    ValidatorSet::from_rules(&rules).map_err(|halt| halt.0)
}
