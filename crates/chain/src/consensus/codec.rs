//! How messages are written on the wire and in the write-ahead log: borsh, with a limit on every kind of message.
//!
//! Whatever comes in is hostile until decoded: a message over its limit, with a length that does not fit, or with bytes
//! left over is an error, and no memory is taken on the word of a length field.

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use malachitebft_app_channel::app::streaming::StreamMessage;
use malachitebft_codec::{Codec, HasEncodedLen};
use malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachitebft_core_types::{
    CommitCertificate, ExtendedCommitCertificate, PolkaCertificate, ValidatorProof, VoteExtensions,
};
use malachitebft_sync::{RawDecidedValue, Request, Response, Status, ValueResponse};

use super::blocks::BlockPool;
use super::context::{Height, LedgerContext};
use super::signing::Signature;
use super::value::{MAX_PART_BYTES, MAX_SENT_BLOCK, Part};

/// The most bytes of a block part or of gossiped transactions with their framing.
pub const MAX_PART_MESSAGE: usize = MAX_PART_BYTES + 1024;
/// The most bytes of a signed vote or proposal.
pub const MAX_CONSENSUS_MESSAGE: usize = 1024;
/// The most bytes of a certificate or repeated vote: 84 bytes for each signature, enough for several hundred validators.
pub const MAX_LIVENESS_MESSAGE: usize = 64 * 1024;
/// The most bytes of an answer to a sync request: one block of the largest size with its certificate, or many small ones.
pub const MAX_SYNC_RESPONSE: usize = 2 * MAX_SENT_BLOCK;
/// The most bytes of a sync request, a status, or a validator proof.
pub const MAX_SMALL_MESSAGE: usize = 1024;

/// Why a message was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The message is longer than its kind may be.
    #[error("a message of {length} bytes where at most {limit} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The bytes are not a message of the expected kind.
    #[error("malformed message: {0}")]
    Malformed(#[from] borsh::io::Error),
}

/// A kind of message and the most bytes it may take.
trait Limited {
    const LIMIT: usize;
}

macro_rules! limits {
    ($($kind:ty => $limit:expr,)*) => { $(impl Limited for $kind { const LIMIT: usize = $limit; })* };
}

limits! {
    Part => MAX_PART_MESSAGE,
    StreamMessage<Part> => MAX_PART_MESSAGE,
    SignedConsensusMsg<LedgerContext> => MAX_CONSENSUS_MESSAGE,
    LivenessMsg<LedgerContext> => MAX_LIVENESS_MESSAGE,
    Status<LedgerContext> => MAX_SMALL_MESSAGE,
    Request<LedgerContext> => MAX_SMALL_MESSAGE,
    EncodedResponse => MAX_SYNC_RESPONSE,
    ProposedValue<LedgerContext> => MAX_SENT_BLOCK + MAX_SMALL_MESSAGE,
    PolkaCertificate<LedgerContext> => MAX_LIVENESS_MESSAGE,
    EncodedProof => MAX_SMALL_MESSAGE,
}

fn decode<T: Limited + BorshDeserialize>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > T::LIMIT {
        return Err(CodecError::TooLong {
            length: bytes.len(),
            limit: T::LIMIT,
        });
    }
    Ok(borsh::from_slice(bytes)?)
}

fn encode<T: Limited + BorshSerialize>(message: &T) -> Result<Bytes, CodecError> {
    let bytes = borsh::to_vec(message)?;
    if bytes.len() > T::LIMIT {
        return Err(CodecError::TooLong {
            length: bytes.len(),
            limit: T::LIMIT,
        });
    }
    Ok(bytes.into())
}

/// The codec of the network.
#[derive(Clone, Copy, Debug, Default)]
pub struct WireCodec;

impl<T> Codec<T> for WireCodec
where
    T: Limited + BorshSerialize + BorshDeserialize,
{
    type Error = CodecError;

    fn decode(&self, bytes: Bytes) -> Result<T, CodecError> {
        decode(&bytes)
    }

    fn encode(&self, message: &T) -> Result<Bytes, CodecError> {
        encode(message)
    }
}

/// A [`Response`] as it is written: the engine's type has no borsh form, and votes here have no extensions.
#[derive(BorshSerialize, BorshDeserialize)]
struct EncodedResponse {
    start_height: Height,
    values: Vec<(CommitCertificate<LedgerContext>, Vec<u8>)>,
}

impl EncodedResponse {
    fn new(Response::ValueResponse(response): &Response<LedgerContext>) -> Self {
        let values = response.values.iter();
        Self {
            start_height: response.start_height,
            values: values
                .map(|v| (v.certificate.trim_vote_extensions(), v.value_bytes.to_vec()))
                .collect(),
        }
    }
}

impl Codec<Response<LedgerContext>> for WireCodec {
    type Error = CodecError;

    fn decode(&self, bytes: Bytes) -> Result<Response<LedgerContext>, CodecError> {
        let EncodedResponse { start_height, values } = decode(&bytes)?;
        let values = values.into_iter().map(|(certificate, block)| {
            let certificate = ExtendedCommitCertificate::from_commit_certificate_and_extensions(
                certificate,
                VoteExtensions::default(),
            );
            RawDecidedValue::new(block.into(), certificate)
        });
        Ok(Response::ValueResponse(ValueResponse::new(
            start_height,
            values.collect(),
        )))
    }

    fn encode(&self, response: &Response<LedgerContext>) -> Result<Bytes, CodecError> {
        encode(&EncodedResponse::new(response))
    }
}

impl HasEncodedLen<Response<LedgerContext>> for WireCodec {
    fn encoded_len(&self, response: &Response<LedgerContext>) -> Result<usize, CodecError> {
        Ok(borsh::object_length(&EncodedResponse::new(response))?)
    }
}

/// A [`ValidatorProof`] as it is written; the engine's type has no borsh form.
#[derive(BorshSerialize, BorshDeserialize)]
struct EncodedProof {
    public_key: [u8; 32],
    peer_id: Vec<u8>,
    signature: Signature,
}

impl Codec<ValidatorProof<LedgerContext>> for WireCodec {
    type Error = CodecError;

    fn decode(&self, bytes: Bytes) -> Result<ValidatorProof<LedgerContext>, CodecError> {
        let EncodedProof {
            public_key,
            peer_id,
            signature,
        } = decode(&bytes)?;
        Ok(ValidatorProof::new(public_key.to_vec(), peer_id, signature))
    }

    fn encode(&self, proof: &ValidatorProof<LedgerContext>) -> Result<Bytes, CodecError> {
        let public_key = proof.public_key.as_slice().try_into().map_err(|_| {
            borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, "an Ed25519 public key has 32 bytes")
        })?;
        encode(&EncodedProof {
            public_key,
            peer_id: proof.peer_id.clone(),
            signature: proof.signature,
        })
    }
}

/// The codec of the write-ahead log.
///
/// The engine appends each proposed value to its log and flushes before it votes for it, but keeps the values it reads
/// back to itself. The application needs the blocks again: to commit one that the replayed votes decide, and to propose
/// the same block as before. So each block read from the log is put into the pool as well. The engine reads the whole log
/// of a height before it starts that height, hence before it asks for anything.
#[derive(Clone)]
pub struct WalCodec {
    blocks: BlockPool,
}

impl WalCodec {
    /// Blocks found in the log go to `blocks`.
    pub fn new(blocks: BlockPool) -> Self {
        Self { blocks }
    }
}

impl Codec<ProposedValue<LedgerContext>> for WalCodec {
    type Error = CodecError;

    fn decode(&self, bytes: Bytes) -> Result<ProposedValue<LedgerContext>, CodecError> {
        let proposed: ProposedValue<LedgerContext> = decode(&bytes)?;
        self.blocks.insert(&proposed);
        Ok(proposed)
    }

    fn encode(&self, proposed: &ProposedValue<LedgerContext>) -> Result<Bytes, CodecError> {
        encode(proposed)
    }
}

impl Codec<SignedConsensusMsg<LedgerContext>> for WalCodec {
    type Error = CodecError;

    fn decode(&self, bytes: Bytes) -> Result<SignedConsensusMsg<LedgerContext>, CodecError> {
        decode(&bytes)
    }

    fn encode(&self, message: &SignedConsensusMsg<LedgerContext>) -> Result<Bytes, CodecError> {
        encode(message)
    }
}

impl Codec<PolkaCertificate<LedgerContext>> for WalCodec {
    type Error = CodecError;

    fn decode(&self, bytes: Bytes) -> Result<PolkaCertificate<LedgerContext>, CodecError> {
        decode(&bytes)
    }

    fn encode(&self, certificate: &PolkaCertificate<LedgerContext>) -> Result<Bytes, CodecError> {
        encode(certificate)
    }
}
