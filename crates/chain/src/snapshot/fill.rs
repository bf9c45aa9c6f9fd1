//! Fetching afterwards the blocks that a node passed by when it took a later state.
//!
//! Their headers are proven and here. A block is taken if its transactions and receipts are those of its header, and its
//! certificate is by the validators of its height, so that this node can serve it to others as any that it has executed.

use std::sync::Weak;
use std::time::Duration;

use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::transaction::SignerRecoverable;
use alloy::consensus::{BlockBody, Header, ReceiptEnvelope, TxEnvelope};
use alloy::primitives::B256;

use super::sync::{Source, SourceError};
use super::wire::{BlockPage, MAX_HEADERS};
use crate::consensus::verify_certificate;
use crate::ledger::Ledger;
use crate::membership;
use crate::store::{Gap, PassedBlock, StoreError};

/// After a round in which no member gave anything.
const PAUSE: Duration = Duration::from_secs(2);

/// Fetches what is missing from `members`, in turn, until nothing is, nobody has it, or `stopped` says so. Blocks.
///
/// # Errors
/// The store's.
pub fn fill(ledger: &Weak<Ledger>, members: &[Box<dyn Source>], stopped: &dyn Fn() -> bool) -> Result<(), StoreError> {
    let mut lied = vec![false; members.len()];
    loop {
        let (mut nothing, mut filled) = (0, false);
        for (member, lied) in members.iter().zip(&mut lied).filter(|(_, lied)| !**lied) {
            if stopped() {
                return Ok(());
            }
            // Not kept while the member answers: the node may want to stop.
            let Some((next, last)) = missing(ledger)? else {
                return Ok(());
            };
            let answer = member.blocks(next, last);
            let Some(ledger) = ledger.upgrade() else { return Ok(()) };
            match answer.map(|bytes| take(&ledger, &bytes)) {
                Ok(taken) => match taken? {
                    Ok(()) => filled = true,
                    Err(reason) => {
                        tracing::warn!(member = member.name(), reason, "no blocks from this member");
                        *lied = true;
                    }
                },
                Err(SourceError::Nothing(reason)) => {
                    tracing::debug!(member = member.name(), reason, "it does not have these blocks");
                    nothing += 1;
                }
                Err(SourceError::Away(reason) | SourceError::Refused(reason)) => {
                    tracing::debug!(member = member.name(), reason, "no answer");
                }
            }
        }
        let lied = lied.iter().filter(|lied| **lied).count();
        if nothing + lied == members.len() {
            return give_up(ledger, nothing > 0);
        }
        if !filled {
            std::thread::park_timeout(PAUSE);
        }
    }
}

/// First and last height of the gap, if there is one.
fn missing(ledger: &Weak<Ledger>) -> Result<Option<(u64, u64)>, StoreError> {
    let Some(ledger) = ledger.upgrade() else {
        return Ok(None);
    };
    let floor = ledger.head().snapshot().floor();
    Ok(ledger.gap()?.map(|gap| (gap.next, floor.saturating_sub(1))))
}

fn give_up(ledger: &Weak<Ledger>, nobody_has_them: bool) -> Result<(), StoreError> {
    match (ledger.upgrade(), missing(ledger)?) {
        (Some(ledger), Some((from, _))) if nobody_has_them => {
            tracing::error!(from, "no member has the blocks any more that this node passed by");
            ledger.give_up_gap()
        }
        _ => Ok(()),
    }
}

/// Writes the blocks of a page, or says what is wrong with it.
fn take(ledger: &Ledger, bytes: &[u8]) -> Result<Result<(), String>, StoreError> {
    let Some(gap) = ledger.gap()? else { return Ok(Ok(())) };
    match check(ledger, gap, bytes)? {
        Ok((blocks, left)) => {
            if ledger.fill(&blocks, left)?.is_none() {
                tracing::info!("the blocks that were passed by are here; this node has all history again");
            }
            Ok(Ok(()))
        }
        Err(reason) => Ok(Err(reason)),
    }
}

type Checked = Result<(Vec<PassedBlock>, Gap), String>;

/// The blocks of a page, if all of it is right, and what is missing after them.
fn check(ledger: &Ledger, mut gap: Gap, bytes: &[u8]) -> Result<Checked, StoreError> {
    let page: BlockPage = match borsh::from_slice(bytes) {
        Ok(page) => page,
        Err(error) => return Ok(Err(format!("an answer that does not decode: {error}"))),
    };
    if page.blocks.is_empty() || page.blocks.len() as u64 > MAX_HEADERS {
        let found = page.blocks.len();
        return Ok(Err(format!("{found} blocks; from 1 to {MAX_HEADERS} are allowed")));
    }
    let snapshot = ledger.head().snapshot().clone();
    let origin = snapshot.header_at(0)?;
    let (_, origin) = origin.ok_or_else(|| StoreError::damaged("block 0 is missing"))?;
    let mut blocks = Vec::with_capacity(page.blocks.len());
    for passed in page.blocks {
        let Some((header, hash)) = snapshot.header_at(gap.next)? else {
            return Ok(Err(format!("block {} that is above this node's", gap.next)));
        };
        let parts = (passed.certificate, passed.transactions, passed.receipts);
        match check_block(origin, &mut gap, (header, hash), parts) {
            Ok(block) => blocks.push(block),
            Err(reason) => return Ok(Err(format!("block {}: {reason}", gap.next))),
        }
    }
    Ok(Ok((blocks, gap)))
}

fn check_block(
    origin: B256,
    gap: &mut Gap,
    (header, hash): (Header, B256),
    (certificate, transactions, receipts): (Vec<u8>, Vec<u8>, Vec<u8>),
) -> Result<PassedBlock, String> {
    verify_certificate(origin, gap.membership.iter(), gap.next, hash, &certificate)?;
    let transactions: Vec<TxEnvelope> =
        alloy::rlp::decode_exact(&transactions).map_err(|error| format!("the transactions do not decode: {error}"))?;
    if calculate_transaction_root(&transactions) != header.transactions_root {
        return Err("the transactions are not those of its header".into());
    }
    let receipts: Vec<ReceiptEnvelope> =
        alloy::rlp::decode_exact(&receipts).map_err(|error| format!("the receipts do not decode: {error}"))?;
    if calculate_receipt_root(&receipts) != header.receipts_root {
        return Err("the receipts are not those of its header".into());
    }
    let senders = transactions.iter().map(SignerRecoverable::recover_signer);
    let senders = senders
        .collect::<Result<_, _>>()
        .map_err(|error| format!("a transaction whose signature is none: {error}"))?;
    if membership::may_have_changed(&header.logs_bloom) {
        gap.membership.apply(&receipts).map_err(|error| error.to_string())?;
    }
    gap.next += 1;
    Ok(PassedBlock {
        header,
        hash,
        body: BlockBody {
            transactions,
            ommers: Vec::new(),
            withdrawals: Some(Default::default()),
        },
        senders,
        receipts,
        certificate: certificate.into(),
    })
}
