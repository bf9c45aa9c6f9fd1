//! A stored ledger followed by its headers from block 0 on, for when its blocks can't be executed: the state before the first
//! one that is whole is not kept.

use alloy::consensus::Header;
use alloy::consensus::proofs::calculate_receipt_root;
use alloy::primitives::B256;

use crate::consensus::verify_certificate;
use crate::genesis::Genesis;
use crate::membership::{self, Membership};
use crate::store::{Snapshot, StoreError};

/// Which certificates are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificates {
    /// All that are stored.
    Every,
    /// Those of blocks that may have changed the validators. With the hashes of parents and the certificate of the newest
    /// block they prove the others.
    Handovers,
}

/// How far the headers are proven, and by whom the next one is.
#[derive(Debug)]
pub struct HeaderChain<'a> {
    stored: &'a Snapshot,
    ledger: B256,
    height: u64,
    hash: B256,
    membership: Membership,
}

impl<'a> HeaderChain<'a> {
    /// At block 0 of the ledger of `genesis`, which has this hash.
    pub fn new(stored: &'a Snapshot, genesis: &Genesis, ledger: B256) -> Self {
        let founders = genesis.members.iter();
        Self {
            stored,
            ledger,
            height: 0,
            hash: ledger,
            membership: Membership::new(founders.map(|member| (member.account, member.validator_key))),
        }
    }

    /// Checks the next header: it names the one before, and its certificate is by the validators of its height. Certificates
    /// below the floor may be missing where the validators stay the same; the next one proves the block.
    pub fn advance(&mut self, certificates: Certificates) -> Result<(), String> {
        let height = self.height + 1;
        let words = |error: StoreError| error.to_string();
        let stored = self.stored.header_at(height).map_err(words)?;
        let (header, hash) = stored.ok_or("the header is missing")?;
        if (header.number, header.parent_hash) != (height, self.hash) {
            return Err(format!("it does not follow block {}", self.height));
        }
        if self.stored.height_of(hash).map_err(words)? != Some(height) {
            return Err("the index entry is missing".into());
        }
        let changes = membership::may_have_changed(&header.logs_bloom);
        match self.stored.certificate_at(height).map_err(words)? {
            Some(certificate) if changes || certificates == Certificates::Every => {
                verify_certificate(self.ledger, self.membership.iter(), height, hash, &certificate)
                    .map_err(|reason| format!("the certificate is not valid: {reason}"))?;
            }
            Some(_) => {}
            None if changes || height >= self.stored.floor() => return Err("the certificate is missing".into()),
            None => {}
        }
        if changes {
            self.change_members(&header)?;
        }
        (self.height, self.hash) = (height, hash);
        Ok(())
    }

    fn change_members(&mut self, header: &Header) -> Result<(), String> {
        let receipts = self.stored.receipts_at(header.number);
        let receipts = receipts.map_err(|error| error.to_string())?;
        if calculate_receipt_root(&receipts) != header.receipts_root {
            return Err("a receipt is missing".into());
        }
        self.membership.apply(&receipts).map_err(|error| error.to_string())
    }
}
