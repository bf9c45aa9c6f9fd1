//! Why a transaction is not taken. The texts are those that Ethereum clients know where there are such.

use alloy::primitives::{Address, U256};

use crate::store::StoreError;

/// Why a transaction is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not an EIP-2718 transaction.
    #[error("failed to decode signed transaction: {0}")]
    Malformed(String),
    /// Too many bytes.
    #[error("oversized data: transaction has {size} bytes, limit is {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The most.
        limit: usize,
    },
    /// A type that this ledger does not know: only legacy, EIP-2930 and EIP-1559 mean something here.
    #[error("transaction type not supported: {0}; use type 0, 1 or 2")]
    UnsupportedType(u8),
    /// Signed for another chain, or for any.
    #[error("invalid chain id for signer: have {have:?}, want {want}")]
    WrongChain {
        /// What it was signed for; none means it could be replayed anywhere.
        have: Option<u64>,
        /// This ledger.
        want: u64,
    },
    /// The signature is not one.
    #[error("invalid sender: the signature does not recover to an account")]
    BadSignature,
    /// The sender is no member of the consortium.
    #[error("account {0} is not a member of the consortium; only members' transactions are taken")]
    NotMember(Address),
    /// The tip exceeds the fee cap.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFeeCap,
    /// No block can hold it.
    #[error("exceeds block gas limit: have {have}, limit {limit}")]
    GasAboveBlock {
        /// Its gas limit.
        have: u64,
        /// The block's.
        limit: u64,
    },
    /// Not even enough gas to start.
    #[error("intrinsic gas too low: have {have}, want {want}")]
    IntrinsicGas {
        /// Its gas limit.
        have: u64,
        /// The least.
        want: u64,
    },
    /// Creation code larger than EIP-3860 allows.
    #[error("max initcode size exceeded: code size {have}, limit {limit}")]
    InitCode {
        /// Its size.
        have: usize,
        /// The most.
        limit: usize,
    },
    /// The account has used this nonce.
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow {
        /// The account's nonce.
        next: u64,
        /// The transaction's.
        nonce: u64,
    },
    /// Too far ahead of the account.
    #[error("nonce too high: next nonce {next}, tx nonce {nonce}, at most {ahead} ahead are kept")]
    NonceTooHigh {
        /// The account's nonce.
        next: u64,
        /// The transaction's.
        nonce: u64,
        /// How far ahead it may be.
        ahead: u64,
    },
    /// The account can't pay value and fee.
    #[error("insufficient funds for gas * price + value: balance {have}, tx cost {want}")]
    InsufficientFunds {
        /// The balance.
        have: U256,
        /// What it could cost.
        want: U256,
    },
    /// Another transaction with the same nonce waits and offers more.
    #[error("replacement transaction underpriced: max fee {offered}, the waiting one has {waiting}")]
    Underpriced {
        /// The new transaction's max fee per gas.
        offered: u128,
        /// The waiting one's.
        waiting: u128,
    },
    /// The sender has too many waiting.
    #[error("account limit exceeded: {0} transactions of the account wait already; try again later")]
    SenderFull(usize),
    /// The pool is full.
    #[error("txpool is full: {0} transactions wait already; try again later")]
    PoolFull(usize),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Rejection {
    /// A name for programs and metrics, which stays.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::TooLarge { .. } => "too-large",
            Self::UnsupportedType(_) => "unsupported-type",
            Self::WrongChain { .. } => "wrong-chain",
            Self::BadSignature => "bad-signature",
            Self::NotMember(_) => "not-member",
            Self::TipAboveFeeCap => "tip-above-fee-cap",
            Self::GasAboveBlock { .. } => "gas-above-block",
            Self::IntrinsicGas { .. } => "intrinsic-gas",
            Self::InitCode { .. } => "initcode-too-large",
            Self::NonceTooLow { .. } => "nonce-too-low",
            Self::NonceTooHigh { .. } => "nonce-too-high",
            Self::InsufficientFunds { .. } => "insufficient-funds",
            Self::Underpriced { .. } => "underpriced",
            Self::SenderFull(_) => "sender-full",
            Self::PoolFull(_) => "pool-full",
            Self::Store(_) => "store",
        }
    }
}
