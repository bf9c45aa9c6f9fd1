//! Blocks that are not here yet, between others that are: a node that was far behind took the state of a later block from
//! members, and fetches afterwards the blocks that it passed by.
//!
//! While there is a gap the floor is above it: what is below counts as unknown, except for those who ask for it by name.

use alloy::consensus::{BlockBody, Header, ReceiptEnvelope, TxEnvelope};
use alloy::primitives::{Address, B256, Bytes};
use borsh::{BorshDeserialize, BorshSerialize};
use redb::{Durability, ReadableDatabase, ReadableTable, WriteTransaction};

use super::commit::write_transactions;
use super::error::StoreError;
use super::{BlockWrite, StateChanges, Store, history, tables};
use crate::membership::Membership;

/// What is missing: the transactions and certificates of the blocks from `next` to the floor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The lowest height whose transactions are here; the floor when the gap is closed.
    pub floor: u64,
    /// The lowest height that is missing.
    pub next: u64,
    /// The validators of that height.
    pub membership: Membership,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Stored {
    floor: u64,
    next: u64,
    members: Vec<([u8; 20], [u8; 32])>,
}

/// A block of the gap, checked against its header and by its certificate.
#[derive(Debug)]
pub struct PassedBlock {
    /// Its header, which is here already.
    pub header: Header,
    /// Hash of the header.
    pub hash: B256,
    /// Its transactions.
    pub body: BlockBody<TxEnvelope>,
    /// One for each transaction.
    pub senders: Vec<Address>,
    /// One for each transaction.
    pub receipts: Vec<ReceiptEnvelope>,
    /// Of its height's validators.
    pub certificate: Bytes,
}

/// The gap as it is stored, if there is one.
pub(super) fn read(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Option<Gap>, StoreError> {
    let Some(stored) = meta.get(tables::GAP)? else {
        return Ok(None);
    };
    let stored: Stored = borsh::from_slice(stored.value())
        .map_err(|error| StoreError::damaged(format!("the gap does not decode: {error}")))?;
    let members = stored.members.into_iter();
    Ok(Some(Gap {
        floor: stored.floor,
        next: stored.next,
        membership: Membership::new(members.map(|(account, key)| (account.into(), key.into()))),
    }))
}

pub(super) fn write(transaction: &WriteTransaction, gap: Option<&Gap>) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(tables::META)?;
    let Some(gap) = gap else {
        meta.remove(tables::GAP)?;
        return Ok(());
    };
    let stored = Stored {
        floor: gap.floor,
        next: gap.next,
        members: gap
            .membership
            .iter()
            .map(|(account, key)| (account.0.0, key.0))
            .collect(),
    };
    let bytes = borsh::to_vec(&stored).expect("writing to a vector does not fail");
    meta.insert(tables::GAP, bytes.as_slice())?;
    Ok(())
}

impl Store {
    /// What is missing.
    pub fn gap(&self) -> Result<Option<Gap>, StoreError> {
        read(&self.database.begin_read()?.open_table(tables::META)?)
    }

    /// Writes blocks from the beginning of the gap on, fsynced; `left` is the gap after them. Returns what is missing then.
    pub fn fill(&self, blocks: &[PassedBlock], left: Gap) -> Result<Option<Gap>, StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        for block in blocks {
            let height = block.header.number;
            let write = BlockWrite {
                header: &block.header,
                hash: block.hash,
                body: &block.body,
                senders: &block.senders,
                receipts: &block.receipts,
                certificate: Some(&block.certificate),
                changes: &StateChanges::default(),
            };
            transaction
                .open_table(tables::CERTIFICATES)?
                .insert(height, &block.certificate[..])?;
            if !block.body.transactions.is_empty() {
                write_transactions(&transaction, height, &write)?;
            }
        }
        let left = {
            let mut meta = transaction.open_table(tables::META)?;
            let closed = left.next >= history::number(&meta, tables::FLOOR)?;
            if closed {
                meta.insert(tables::FLOOR, left.floor.to_le_bytes().as_slice())?;
            }
            (!closed).then_some(left)
        };
        write(&transaction, left.as_ref())?;
        transaction.commit()?;
        Ok(left)
    }

    /// Does without what is missing: nobody has it any more. What is below counts as pruned.
    pub fn give_up_gap(&self) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        write(&transaction, None)?;
        transaction.commit()?;
        Ok(())
    }
}
