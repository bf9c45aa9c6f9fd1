//! The seam between consensus and the ledger: all that the consensus engine asks, and all that it may know.
//!
//! Consensus orders opaque blocks; what is in them is the application's business. Everything here blocks on disk or on
//! the EVM, so the consensus side calls it on a blocking thread, one call at a time for each height.

use alloy::primitives::{Address, B256, Bytes};

use crate::genesis::ConsensusParameters;

/// The most bytes of an encoded block, so that it fits into one part of 512 KiB with what consensus adds.
pub const MAX_BLOCK_BYTES: usize = 480 * 1024;

/// The newest committed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Height of the block; 0 is genesis.
    pub height: u64,
    /// Its Ethereum block hash.
    pub hash: B256,
}

/// One validator of a height. Each has one vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Ledger account of the member; becomes the `beneficiary` of the blocks it proposes.
    pub account: Address,
    /// Ed25519 public key.
    pub key: [u8; 32],
    /// Multiaddr on which its node takes consensus connections.
    pub consensus_address: String,
}

/// Who decides the next height, and how patiently. Read from the state that the newest block left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeightRules {
    /// In the order of the Consortium contract's member list.
    pub validators: Vec<Validator>,
    /// Accounts of the proposers of rounds 0, 1, …, from the front again when all had their turn: each validator once.
    pub proposers: Vec<Address>,
    /// Timeouts in milliseconds.
    pub parameters: ConsensusParameters,
}

/// A decided block as other nodes fetch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The encoded block.
    pub block: Bytes,
    /// The encoded commit certificate; opaque to the application.
    pub certificate: Bytes,
}

/// A block is wrong, as every node with the same parent sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid block: {0}")]
pub struct InvalidBlock(pub String);

/// Why a node does not vote for a proposed block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The block is wrong: its proposer is to blame. The reason goes to the log and to the evidence record.
    #[error(transparent)]
    Invalid(#[from] InvalidBlock),
    /// This node judges by what others may see otherwise, its own clock or its own store. That says nothing of the proposer.
    #[error("refused by this node alone: {0}")]
    Here(String),
}

/// The application can't go on: the store failed, or a decided block gives another state root here than it claims.
/// The node halts and says so; it never repairs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Halt(pub String);

/// When a committed block must survive a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// From the moment that [`Application::commit`] returns.
    Immediate,
    /// From the next immediate commit or [`Application::flush`] on; a crash before that sets the ledger back to an earlier
    /// block. For blocks that others have and that this node had no part in.
    Deferred,
}

/// What the ledger does for consensus.
pub trait Application: Send + Sync + 'static {
    /// The newest committed block.
    fn tip(&self) -> Tip;

    /// Validators and timeouts of height `tip + 1`.
    fn rules(&self) -> Result<HeightRules, Halt>;

    /// Builds and executes a block for `tip + 1` from the waiting transactions (possibly none), not older than its parent.
    /// `now_ms` is Unix time in milliseconds.
    fn build(&self, proposer: Address, now_ms: u64) -> Result<Bytes, Halt>;

    /// Checks a proposed block for `tip + 1` completely: form, parent, time, proposer, and by execution every root. A block
    /// that is wrong counts as that, whatever this node's clock says of its time.
    ///
    /// # Errors
    /// See [`Refused`].
    fn validate(&self, proposer: Address, block: &[u8], now_ms: u64) -> Result<(), Refused>;

    /// The 32 bytes that consensus votes on: the Ethereum block hash of an encoded block of any height.
    fn block_id(&self, block: &[u8]) -> Result<B256, InvalidBlock>;

    /// Commits a decided block of height `tip + 1`: header, body, receipts, state and certificate in one transaction, all
    /// or nothing of which survives a crash. Repeating the commit of the current tip is a no-op.
    fn commit(&self, block: &[u8], certificate: &[u8], durability: Durability) -> Result<Tip, Halt>;

    /// Makes everything durable that was committed. Costs nothing if it is.
    fn flush(&self) -> Result<(), Halt>;

    /// A decided block, for nodes that were away. `None` below the earliest kept height and above the tip.
    fn decided(&self, height: u64) -> Result<Option<Decided>, Halt>;

    /// The lowest height that `decided` can give.
    fn earliest(&self) -> u64;

    /// The number of transactions that could go into the next block; changes wake whoever waits.
    fn waiting(&self) -> tokio::sync::watch::Receiver<usize>;

    /// Takes transactions that another node passed on (EIP-2718 encoded). Bad ones are dropped and counted.
    fn receive_transactions(&self, transactions: Vec<Bytes>);

    /// Transactions accepted here that the other nodes should hear of. Called once, by the consensus side.
    fn outgoing_transactions(&self) -> Option<tokio::sync::mpsc::Receiver<Bytes>>;
}
