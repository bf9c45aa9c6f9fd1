//! The commit certificate as the block store keeps it and other nodes verify it.

use alloy::primitives::Bytes;
use malachitebft_core_types::{CommitCertificate, ExtendedCommitCertificate, VoteExtensions};

use super::context::LedgerContext;

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
