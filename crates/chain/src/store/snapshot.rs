//! The ledger as one block left it: everything that readers, the EVM and the tries ask for.
//!
//! A snapshot is a read transaction, so that it stays as it is while blocks are committed, and costs no copy. It keeps the
//! pages alive that later blocks replace; the ledger holds a bounded number of snapshots.

use std::sync::Arc;

use alloy::consensus::constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS};
use alloy::consensus::{BlockBody, Header, ReceiptEnvelope, TrieAccount, TxEnvelope};
use alloy::primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy::rlp::Decodable;
use alloy_trie::Nibbles;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};
use revm::bytecode::Bytecode;
use revm::database_interface::DatabaseRef;
use revm::state::AccountInfo;

use super::codes::CodeCache;
use super::error::StoreError;
use super::gap::{self, Gap};
use super::{history, tables};

/// A read-only view of the store at one height.
pub struct Snapshot {
    header: Header,
    hash: B256,
    floor: u64,
    gap: Option<Gap>,
    codes_cache: Arc<CodeCache>,
    headers: ReadOnlyTable<u64, &'static [u8]>,
    heights: ReadOnlyTable<&'static [u8; 32], u64>,
    bodies: ReadOnlyTable<u64, &'static [u8]>,
    senders: ReadOnlyTable<u64, &'static [u8]>,
    receipts: ReadOnlyTable<u64, &'static [u8]>,
    certificates: ReadOnlyTable<u64, &'static [u8]>,
    transactions: ReadOnlyTable<&'static [u8; 32], (u64, u32)>,
    pub(super) logs: ReadOnlyTable<&'static [u8; 41], ()>,
    pub(super) accounts: ReadOnlyTable<&'static [u8; 20], &'static [u8]>,
    pub(super) storage: ReadOnlyTable<&'static [u8; 52], &'static [u8; 32]>,
    pub(super) codes: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    pub(super) nodes: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

/// A block as it was committed, with the senders of its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its header.
    pub header: Header,
    /// Keccak-256 of the header.
    pub hash: B256,
    /// Transactions; no ommers, no withdrawals.
    pub body: BlockBody<TxEnvelope>,
    /// One for each transaction.
    pub senders: Vec<Address>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("height", &self.header.number)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

pub(super) fn decode<T: Decodable>(what: &str, height: u64, bytes: &[u8]) -> Result<T, StoreError> {
    alloy::rlp::decode_exact(bytes)
        .map_err(|error| StoreError::damaged(format!("{what} of block {height} does not decode: {error}")))
}

fn newest(headers: &ReadOnlyTable<u64, &'static [u8]>) -> Result<(Header, B256), StoreError> {
    let (height, encoded) = headers
        .last()?
        .ok_or_else(|| StoreError::damaged("there is no block at all"))?;
    let header: Header = decode("the header", height.value(), encoded.value())?;
    if header.number != height.value() {
        let (height, number) = (height.value(), header.number);
        return Err(StoreError::damaged(format!("block {height} says it is {number}")));
    }
    Ok((header, keccak256(encoded.value())))
}

impl Snapshot {
    /// The store as the newest committed block left it.
    pub(super) fn open(transaction: &ReadTransaction, codes_cache: Arc<CodeCache>) -> Result<Self, StoreError> {
        let headers = transaction.open_table(tables::HEADERS)?;
        let (header, hash) = newest(&headers)?;
        let meta = transaction.open_table(tables::META)?;
        Ok(Self {
            header,
            hash,
            floor: history::number(&meta, tables::FLOOR)?,
            gap: gap::read(&meta)?,
            codes_cache,
            headers,
            heights: transaction.open_table(tables::HEIGHTS)?,
            bodies: transaction.open_table(tables::BODIES)?,
            senders: transaction.open_table(tables::SENDERS)?,
            receipts: transaction.open_table(tables::RECEIPTS)?,
            certificates: transaction.open_table(tables::CERTIFICATES)?,
            transactions: transaction.open_table(tables::TRANSACTIONS)?,
            logs: transaction.open_table(tables::LOGS)?,
            accounts: transaction.open_table(tables::ACCOUNTS)?,
            storage: transaction.open_table(tables::STORAGE)?,
            codes: transaction.open_table(tables::CODES)?,
            nodes: transaction.open_table(tables::NODES)?,
        })
    }

    /// Height of the newest block in this view.
    pub fn height(&self) -> u64 {
        self.header.number
    }

    /// Hash of the newest block in this view.
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// Header of the newest block in this view.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The lowest height from which on blocks are here with their transactions. Lower ones have been pruned, or were never
    /// fetched; their headers are here all the same.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Blocks below the floor that are still to come.
    pub fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    /// Refuses a range of heights of which not all transactions are here.
    pub(super) fn check_history(&self, from: u64, to: u64) -> Result<(), StoreError> {
        match &self.gap {
            _ if from >= self.floor => Ok(()),
            Some(gap) if from >= gap.floor && to < gap.next => Ok(()),
            Some(gap) if from >= gap.floor => Err(StoreError::Awaited {
                height: from.max(gap.next),
                next: gap.next,
                floor: self.floor,
            }),
            _ => Err(StoreError::Pruned {
                height: from,
                floor: self.gap.as_ref().map_or(self.floor, |gap| gap.floor),
            }),
        }
    }

    /// What is missing of a block that has transactions.
    fn missing(&self, what: &str, height: u64) -> StoreError {
        match self.check_history(height, height) {
            Err(error) => error,
            Ok(()) => StoreError::damaged(format!("{what} of block {height} is missing")),
        }
    }

    /// Header and hash of a block, `None` above this view's height.
    pub fn header_at(&self, height: u64) -> Result<Option<(Header, B256)>, StoreError> {
        match self.headers.get(height)? {
            Some(encoded) => Ok(Some((
                decode("the header", height, encoded.value())?,
                keccak256(encoded.value()),
            ))),
            None => Ok(None),
        }
    }

    /// Height of the block with this hash.
    pub fn height_of(&self, hash: B256) -> Result<Option<u64>, StoreError> {
        Ok(self.heights.get(&hash.0)?.map(|height| height.value()))
    }

    /// A block with its transactions and their senders, `None` above this view's height.
    ///
    /// # Errors
    /// [`StoreError::Pruned`] below the floor, unless the block has no transactions.
    pub fn block_at(&self, height: u64) -> Result<Option<StoredBlock>, StoreError> {
        let Some((header, hash)) = self.header_at(height)? else {
            return Ok(None);
        };
        let body = match self.bodies.get(height)? {
            Some(encoded) => decode("the body", height, encoded.value())?,
            None if header.transactions_root == EMPTY_TRANSACTIONS => BlockBody {
                withdrawals: Some(Default::default()),
                ..Default::default()
            },
            None => return Err(self.missing("the body", height)),
        };
        let senders: Vec<Address> = match self.senders.get(height)? {
            Some(senders) => senders.value().chunks_exact(20).map(Address::from_slice).collect(),
            None => Vec::new(),
        };
        if senders.len() != body.transactions.len() {
            return Err(StoreError::damaged(format!(
                "block {height} has {} transactions but {} senders",
                body.transactions.len(),
                senders.len()
            )));
        }
        Ok(Some(StoredBlock {
            header,
            hash,
            body,
            senders,
        }))
    }

    /// The receipts of a block's transactions; empty above this view's height.
    ///
    /// # Errors
    /// [`StoreError::Pruned`] below the floor, unless the block has no transactions.
    pub fn receipts_at(&self, height: u64) -> Result<Vec<ReceiptEnvelope>, StoreError> {
        match self.receipts.get(height)? {
            Some(encoded) => decode("the receipts", height, encoded.value()),
            None => match self.header_at(height)? {
                Some((header, _)) if header.receipts_root != EMPTY_RECEIPTS => {
                    Err(self.missing("the receipts", height))
                }
                _ => Ok(Vec::new()),
            },
        }
    }

    /// The commit certificate of a block; block 0 has none.
    pub fn certificate_at(&self, height: u64) -> Result<Option<Bytes>, StoreError> {
        Ok(self
            .certificates
            .get(height)?
            .map(|certificate| Bytes::copy_from_slice(certificate.value())))
    }

    /// Height and index of a committed transaction.
    ///
    /// # Errors
    /// [`StoreError::Awaited`] if it may be in a block that is still to come.
    pub fn transaction_position(&self, hash: B256) -> Result<Option<(u64, u32)>, StoreError> {
        if let Some(position) = self.transactions.get(&hash.0)? {
            return Ok(Some(position.value()));
        }
        match &self.gap {
            Some(gap) => Err(StoreError::Awaited {
                height: gap.next,
                next: gap.next,
                floor: self.floor,
            }),
            None => Ok(None),
        }
    }

    /// An account of the state, `None` if it does not exist.
    pub fn account(&self, address: Address) -> Result<Option<TrieAccount>, StoreError> {
        match self.accounts.get(&address.0.0)? {
            Some(encoded) => alloy::rlp::decode_exact(encoded.value())
                .map(Some)
                .map_err(|error| StoreError::damaged(format!("account {address} does not decode: {error}"))),
            None => Ok(None),
        }
    }

    /// A storage slot; zero if it was never set.
    pub fn storage_value(&self, address: Address, slot: U256) -> Result<U256, StoreError> {
        let key = tables::storage_key(&address.0.0, &slot.to_be_bytes());
        Ok(self
            .storage
            .get(&key)?
            .map_or(U256::ZERO, |value| U256::from_be_bytes(*value.value())))
    }

    /// Code by its hash; empty for the hash of nothing.
    pub fn code(&self, hash: B256) -> Result<Bytes, StoreError> {
        if hash == KECCAK256_EMPTY || hash.is_zero() {
            return Ok(Bytes::new());
        }
        self.codes
            .get(&hash.0)?
            .map(|code| Bytes::copy_from_slice(code.value()))
            .ok_or_else(|| StoreError::damaged(format!("code {hash} is missing")))
    }

    /// A trie node, RLP-encoded.
    pub(super) fn node(&self, owner: B256, path: &Nibbles) -> Result<Option<Vec<u8>>, StoreError> {
        let key = tables::node_key(&owner.0, path);
        Ok(self.nodes.get(key.as_slice())?.map(|node| node.value().to_vec()))
    }
}

/// What the EVM reads.
impl DatabaseRef for Snapshot {
    type Error = StoreError;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, StoreError> {
        Ok(self.account(address)?.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            // Loaded when it is called.
            code: None,
            ..Default::default()
        }))
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, StoreError> {
        self.codes_cache.get_or_load(code_hash, || self.code(code_hash))
    }

    fn storage_ref(&self, address: Address, index: U256) -> Result<U256, StoreError> {
        self.storage_value(address, index)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, StoreError> {
        Ok(self
            .headers
            .get(number)?
            .map_or(B256::ZERO, |encoded| keccak256(encoded.value())))
    }
}
