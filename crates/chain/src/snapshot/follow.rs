//! Following the ledger from block 0 by headers alone.
//!
//! The validators of height 1 are in the genesis document. A certificate by the validators of a height proves that header, the
//! hashes of parents prove all before it, and a proven header proves which blocks changed the validator set and how
//! ([`crate::membership`]). So a certificate is needed where the set changed and at the end of each page; nothing is executed.
//!
//! The proof holds as long as at no height more than a third of its validators lied, then or later: keys of former validators
//! can sign another past. Against that helps asking more than one member.

use alloy::consensus::proofs::calculate_receipt_root;
use alloy::consensus::{Header, ReceiptEnvelope};
use alloy::primitives::{B256, keccak256};

use super::wire::{HeaderPage, MAX_HEADERS};
use crate::consensus::verify_certificate;
use crate::genesis::{Genesis, GenesisError};
use crate::membership::{self, Membership};

/// Who follows, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Hash of block 0.
    ledger: B256,
    height: u64,
    hash: B256,
    /// The validators of the next height.
    membership: Membership,
}

/// Why a page proves nothing. Whoever sent it is wrong or lies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header page: {0}")]
pub struct FollowError(String);

fn wrong(reason: impl Into<String>) -> FollowError {
    FollowError(reason.into())
}

impl Follower {
    /// At block 0.
    pub fn new(genesis: &Genesis) -> Result<Self, GenesisError> {
        let ledger = genesis.hash()?;
        let founders = genesis
            .members
            .iter()
            .map(|member| (member.account, member.validator_key));
        Ok(Self::resume(ledger, 0, ledger, Membership::new(founders)))
    }

    /// At a height that was reached before.
    pub fn resume(ledger: B256, height: u64, hash: B256, membership: Membership) -> Self {
        Self {
            ledger,
            height,
            hash,
            membership,
        }
    }

    /// Hash of block 0.
    pub fn ledger(&self) -> B256 {
        self.ledger
    }

    /// Height of the last proven header.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// Hash of the last proven header.
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// The validators of the next height.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Goes on with the headers of a page, and returns their hashes. If any of it is wrong, nothing of it counts.
    pub fn follow(&mut self, page: &HeaderPage) -> Result<Vec<B256>, FollowError> {
        let mut next = self.clone();
        let hashes = next.advance(page)?;
        *self = next;
        Ok(hashes)
    }

    fn advance(&mut self, page: &HeaderPage) -> Result<Vec<B256>, FollowError> {
        if page.headers.is_empty() || page.headers.len() as u64 > MAX_HEADERS {
            let found = page.headers.len();
            return Err(wrong(format!("{found} headers; from 1 to {MAX_HEADERS} are allowed")));
        }
        let mut handovers = page.handovers.iter();
        let mut hashes = Vec::with_capacity(page.headers.len());
        for (index, encoded) in page.headers.iter().enumerate() {
            let height = self.height + 1;
            let header: Header = alloy::rlp::decode_exact(encoded)
                .map_err(|error| wrong(format!("header {height} does not decode: {error}")))?;
            if header.number != height || header.parent_hash != self.hash {
                return Err(wrong(format!(
                    "number {} and parent {}, wanted {height} and {}",
                    header.number, header.parent_hash, self.hash
                )));
            }
            let hash = keccak256(encoded);
            let certified = |certificate: &[u8]| {
                verify_certificate(self.ledger, self.membership.iter(), height, hash, certificate)
                    .map_err(|reason| wrong(format!("block {height} is not proven: {reason}")))
            };
            if index + 1 == page.headers.len() {
                certified(&page.certificate)?;
            }
            if membership::may_have_changed(&header.logs_bloom) {
                let handover = handovers.next().filter(|handover| handover.height == height);
                let handover = handover.ok_or_else(|| wrong(format!("the receipts of block {height} are missing")))?;
                certified(&handover.certificate)?;
                let receipts: Vec<ReceiptEnvelope> = alloy::rlp::decode_exact(&handover.receipts)
                    .map_err(|error| wrong(format!("the receipts of block {height} do not decode: {error}")))?;
                if calculate_receipt_root(&receipts) != header.receipts_root {
                    return Err(wrong(format!(
                        "the receipts of block {height} are not those of its header"
                    )));
                }
                let applied = self.membership.apply(&receipts);
                applied.map_err(|error| wrong(format!("block {height}: {error}")))?;
            }
            self.height = height;
            self.hash = hash;
            hashes.push(hash);
        }
        match handovers.next() {
            Some(handover) => Err(wrong(format!("block {} changed no validators", handover.height))),
            None => Ok(hashes),
        }
    }
}
