//! Making a store of a snapshot. Everything is written in one transaction, which is committed only when the tries that were
//! built from the chunks have the root that the certified header names: a store is either not there or right.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::Path;

use alloy::consensus::{ReceiptEnvelope, TrieAccount};
use alloy::primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use redb::{Durability, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::commit::{write_nodes, write_transactions};
use super::error::StoreError;
use super::export::Rows;
use super::gap::{self, Gap};
use super::staging::Staging;
use super::trie::OrderedTrie;
use super::{BlockWrite, FILE_NAME, StateChanges, Store, history, tables};
use crate::execution::decode::DecodedBlock;
use crate::membership::Membership;

/// Hashed address → address and RLP of the account.
const SORTED_ACCOUNTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("sorted accounts");
/// (hashed address, hashed slot) → slot and value.
const SORTED_SLOTS: TableDefinition<&[u8; 64], &[u8; 64]> = TableDefinition::new("sorted slots");

/// The block after which the state was taken, with what else is stored of it. Its header is proven.
#[derive(Debug)]
pub struct Newest {
    /// The block.
    pub block: DecodedBlock,
    /// One for each transaction.
    pub senders: Vec<Address>,
    /// One for each transaction; their root is the header's.
    pub receipts: Vec<ReceiptEnvelope>,
}

/// What the snapshot goes on top of.
#[derive(Debug, Clone, Copy)]
pub enum Base<'a> {
    /// No store, or one for which [`Store::is_new`] holds.
    New {
        /// Hash of block 0.
        ledger: B256,
        /// RLP of its header.
        genesis: &'a [u8],
        /// Who founded the ledger, if the blocks that are passed by are to become a [`Gap`].
        membership: Option<&'a Membership>,
    },
    /// A store that ends before block `next`. What it has stays; the blocks from `next` on are passed by and become a [`Gap`].
    Behind {
        /// The height after its newest block.
        next: u64,
        /// The validators of that height.
        membership: &'a Membership,
    },
}

/// Why no store was made.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The chunks are not the state of that block. Whoever vouched for them is wrong or lies.
    #[error("the chunks are not the state of the block: {0}")]
    Wrong(String),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

macro_rules! from_redb {
    ($($kind:ident),*) => {$(
        impl From<redb::$kind> for InstallError {
            fn from(error: redb::$kind) -> Self {
                Self::Store(error.into())
            }
        }
    )*};
}
from_redb!(
    StorageError,
    TableError,
    TransactionError,
    CommitError,
    SetDurabilityError
);

fn wrong(reason: impl Into<String>) -> InstallError {
    InstallError::Wrong(reason.into())
}

impl Store {
    /// Whether the data folder has no store, or one that never got further than block 0, so that a snapshot may take its place.
    /// What can't be read is not new: whoever opens it says what is wrong.
    pub fn is_new(data_dir: &Path) -> bool {
        let path = data_dir.join(FILE_NAME);
        if !path.exists() {
            return true;
        }
        let read = move || {
            let store = Self {
                database: super::builder().create(&path).ok()?,
                path,
                codes: Default::default(),
                unflushed: Default::default(),
            };
            match store.origin().ok()? {
                None => Some(true),
                Some(_) => Some(store.snapshot().ok()?.height() == 0),
            }
        };
        // redb panics on some kinds of damage.
        let new = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        new.ok().flatten().unwrap_or(false)
    }

    /// Brings the store in `data_dir` to the newest block, from the staged headers and these chunks. Memory is bounded; the
    /// staging file is used as scratch space.
    pub fn install(
        data_dir: &Path,
        base: Base<'_>,
        staging: &Staging,
        newest: &Newest,
        chunks: &[B256],
    ) -> Result<(), InstallError> {
        let database = hanse_database::open_or_make(&super::builder(), &data_dir.join(FILE_NAME))
            .map_err(|error| StoreError::from(redb::Error::from(error)))?;
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let last = newest.block.header.number;
        let next = match base {
            Base::New {
                ledger,
                genesis,
                membership,
            } => {
                begin(&transaction, ledger, genesis)?;
                if let Some(membership) = membership {
                    leave_gap(&transaction, 1, membership)?;
                }
                1
            }
            Base::Behind { next, membership } => {
                clear_state(&transaction)?;
                leave_gap(&transaction, next, membership)?;
                next
            }
        };
        transaction
            .open_table(tables::META)?
            .insert(tables::FLOOR, last.to_le_bytes().as_slice())?;
        copy_headers(&transaction, staging, next..=last)?;
        write_newest(&transaction, newest)?;
        let root = write_state(&transaction, staging, chunks)?;
        if root != newest.block.header.state_root {
            let wanted = newest.block.header.state_root;
            return Err(wrong(format!("their root is {root}, the header's {wanted}")));
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Block 0, in the place of whatever a store may hold that never got further.
fn begin(transaction: &WriteTransaction, ledger: B256, genesis: &[u8]) -> Result<(), InstallError> {
    transaction.delete_table(tables::META)?;
    transaction.delete_table(tables::HEADERS)?;
    transaction.delete_table(tables::HEIGHTS)?;
    clear_state(transaction)?;
    let mut meta = transaction.open_table(tables::META)?;
    meta.insert("schema", tables::SCHEMA.to_le_bytes().as_slice())?;
    meta.insert("genesis", ledger.as_slice())?;
    transaction.open_table(tables::HEADERS)?.insert(0, genesis)?;
    transaction
        .open_table(tables::HEIGHTS)?
        .insert(&keccak256(genesis).0, 0)?;
    // Readers expect every table.
    transaction.open_table(tables::BODIES)?;
    transaction.open_table(tables::SENDERS)?;
    transaction.open_table(tables::RECEIPTS)?;
    transaction.open_table(tables::CERTIFICATES)?;
    transaction.open_table(tables::TRANSACTIONS)?;
    transaction.open_table(tables::LOGS)?;
    Ok(())
}

fn clear_state(transaction: &WriteTransaction) -> Result<(), InstallError> {
    transaction.delete_table(tables::ACCOUNTS)?;
    transaction.delete_table(tables::STORAGE)?;
    transaction.delete_table(tables::CODES)?;
    transaction.delete_table(tables::NODES)?;
    Ok(())
}

/// Notes which blocks are passed by.
fn leave_gap(transaction: &WriteTransaction, next: u64, membership: &Membership) -> Result<(), InstallError> {
    let tip = transaction
        .open_table(tables::HEADERS)?
        .last()?
        .map(|(tip, _)| tip.value());
    if tip.map(|tip| tip + 1) != Some(next) {
        return Err(StoreError::damaged(format!("it does not end before block {next}")).into());
    }
    let (floor, gap) = {
        let meta = transaction.open_table(tables::META)?;
        (history::number(&meta, tables::FLOOR)?, gap::read(&meta)?)
    };
    // One that was not closed yet becomes longer; what is between is fetched once more.
    let gap = gap.unwrap_or(Gap {
        floor,
        next,
        membership: membership.clone(),
    });
    Ok(gap::write(transaction, Some(&gap))?)
}

fn copy_headers(
    transaction: &WriteTransaction,
    staging: &Staging,
    range: RangeInclusive<u64>,
) -> Result<(), InstallError> {
    let staged = redb::ReadableDatabase::begin_read(&staging.database)?;
    let mut headers = transaction.open_table(tables::HEADERS)?;
    let mut heights = transaction.open_table(tables::HEIGHTS)?;
    for entry in staged.open_table(tables::HEADERS)?.range(range.clone())? {
        let (height, header) = entry?;
        headers.insert(height.value(), header.value())?;
        heights.insert(&keccak256(header.value()).0, height.value())?;
    }
    let mut certificates = transaction.open_table(tables::CERTIFICATES)?;
    for entry in staged.open_table(tables::CERTIFICATES)?.range(range.clone())? {
        let (height, certificate) = entry?;
        certificates.insert(height.value(), certificate.value())?;
    }
    let mut receipts = transaction.open_table(tables::RECEIPTS)?;
    for entry in staged.open_table(tables::RECEIPTS)?.range(range)? {
        let (height, encoded) = entry?;
        receipts.insert(height.value(), encoded.value())?;
    }
    Ok(())
}

fn write_newest(transaction: &WriteTransaction, newest: &Newest) -> Result<(), InstallError> {
    let block = BlockWrite {
        header: &newest.block.header,
        hash: newest.block.hash,
        body: &newest.block.body,
        senders: &newest.senders,
        receipts: &newest.receipts,
        certificate: None,
        changes: &StateChanges::default(),
    };
    if !newest.block.body.transactions.is_empty() {
        write_transactions(transaction, newest.block.header.number, &block)?;
    }
    Ok(())
}

/// Writes the state and its tries, and returns their root. Rows are sorted by the hashes of their keys first, so that the tries
/// are built from left to right with a bounded part of them in memory.
fn write_state(transaction: &WriteTransaction, staging: &Staging, chunks: &[B256]) -> Result<B256, InstallError> {
    // Never committed.
    let scratch = staging.database.begin_write()?;
    let codes = sort_rows(transaction, &scratch, staging, chunks)?;
    let root = build_tries(transaction, &scratch)?;
    if let Some(missing) = codes {
        return Err(wrong(format!("the code {missing} is missing")));
    }
    Ok(root)
}

/// Writes the plain tables, and the sorted ones into `scratch`. Returns a code that an account has but that is not there.
fn sort_rows(
    transaction: &WriteTransaction,
    scratch: &WriteTransaction,
    staging: &Staging,
    chunks: &[B256],
) -> Result<Option<B256>, InstallError> {
    let mut accounts = transaction.open_table(tables::ACCOUNTS)?;
    let mut storage = transaction.open_table(tables::STORAGE)?;
    let mut codes = transaction.open_table(tables::CODES)?;
    let mut sorted_accounts = scratch.open_table(SORTED_ACCOUNTS)?;
    let mut sorted_slots = scratch.open_table(SORTED_SLOTS)?;
    let mut wanted: HashSet<B256> = HashSet::new();
    let mut owner = (Address::ZERO, keccak256(Address::ZERO));
    for hash in chunks {
        let chunk = staging.chunk(*hash)?;
        let chunk = chunk.ok_or_else(|| StoreError::damaged(format!("chunk {hash} is missing")))?;
        let rows: Rows = borsh::from_slice(&chunk).map_err(|error| wrong(format!("chunk {hash}: {error}")))?;
        match rows {
            Rows::Accounts(rows) => {
                for (address, encoded) in rows {
                    let account: TrieAccount = alloy::rlp::decode_exact(&encoded)
                        .map_err(|error| wrong(format!("account {}: {error}", Address::from(address))))?;
                    if account.code_hash != KECCAK256_EMPTY {
                        wanted.insert(account.code_hash);
                    }
                    accounts.insert(&address, encoded.as_slice())?;
                    let row = [address.as_slice(), &encoded].concat();
                    sorted_accounts.insert(&keccak256(address).0, row.as_slice())?;
                }
            }
            Rows::Storage(rows) => {
                for (address, slot, value) in rows {
                    if value == [0; 32] {
                        return Err(wrong("a slot that is zero"));
                    }
                    if owner.0 != Address::from(address) {
                        owner = (address.into(), keccak256(address));
                    }
                    storage.insert(&tables::storage_key(&address, &slot), &value)?;
                    let mut row = [0; 64];
                    row[..32].copy_from_slice(&slot);
                    row[32..].copy_from_slice(&value);
                    sorted_slots.insert(&slot_key(owner.1, keccak256(slot)), &row)?;
                }
            }
            Rows::Codes(rows) => {
                for code in rows {
                    let hash = keccak256(&code);
                    // What no account has is of no use.
                    if wanted.remove(&hash) {
                        codes.insert(&hash.0, code.as_slice())?;
                    }
                }
            }
        }
    }
    Ok(wanted.into_iter().next())
}

fn build_tries(transaction: &WriteTransaction, scratch: &WriteTransaction) -> Result<B256, InstallError> {
    let mut nodes = transaction.open_table(tables::NODES)?;
    let accounts = scratch.open_table(SORTED_ACCOUNTS)?;
    let slots = scratch.open_table(SORTED_SLOTS)?;
    let mut state = OrderedTrie::new(B256::ZERO);
    let mut used = 0;
    for entry in accounts.iter()? {
        let (owner, row) = entry?;
        let (address, encoded) = row.value().split_at(20);
        let account: TrieAccount =
            alloy::rlp::decode_exact(encoded).map_err(|error| StoreError::damaged(error.to_string()))?;
        let owner = B256::from(owner.value());
        let mut storage = OrderedTrie::new(owner);
        let (first, last) = (slot_key(owner, B256::ZERO), slot_key(owner, B256::repeat_byte(0xff)));
        for entry in slots.range::<&[u8; 64]>(&first..=&last)? {
            let (key, row) = entry?;
            let hashed = B256::from_slice(&key.value()[32..]);
            let value = U256::from_be_slice(&row.value()[32..]);
            if let Some(changes) = storage.insert(hashed, alloy::rlp::encode(value))? {
                write_nodes(&mut nodes, owner, &changes)?;
            }
            used += 1;
        }
        let (root, changes) = storage.finish()?;
        write_nodes(&mut nodes, owner, &changes)?;
        if root != account.storage_root {
            let address = Address::from_slice(address);
            return Err(wrong(format!(
                "the storage of {address} has root {root}, not {}",
                account.storage_root
            )));
        }
        if let Some(changes) = state.insert(owner, encoded.to_vec())? {
            write_nodes(&mut nodes, B256::ZERO, &changes)?;
        }
    }
    if used != slots.len()? {
        return Err(wrong("slots of an account that does not exist"));
    }
    let (root, changes) = state.finish()?;
    write_nodes(&mut nodes, B256::ZERO, &changes)?;
    Ok(root)
}

/// Key of [`SORTED_SLOTS`].
fn slot_key(owner: B256, slot: B256) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(owner.as_slice());
    key[32..].copy_from_slice(slot.as_slice());
    key
}
