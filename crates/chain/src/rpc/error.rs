//! Errors as JSON-RPC clients know them: the codes of EIP-1474 and, for reverts, Geth's code 3 with the data.

use alloy::primitives::Bytes;
use alloy::sol_types::{Revert, SolError};
use jsonrpsee::types::ErrorObjectOwned;

use crate::execution::call::CallError;
use crate::mempool::Rejection;
use crate::store::{LogQueryError, StoreError};

/// Why a method gives no result.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The call reverted.
    #[error("execution reverted{}", reason(.0))]
    Reverted(Bytes),
    /// The call could not run, or ran out of something.
    #[error("{0}")]
    Failed(String),
    /// The arguments make no sense.
    #[error("{0}")]
    InvalidParams(String),
    /// No such block.
    #[error("{0} not found")]
    NotFound(String),
    /// The state of that block is gone.
    #[error(
        "state of block {height} is not kept; this node serves the {kept} newest states, from the time it started on; \
         the newest block is {newest}"
    )]
    NoState {
        /// The block asked for.
        height: u64,
        /// The tip.
        newest: u64,
        /// How many states are kept.
        kept: usize,
    },
    /// More than one request may ask for.
    #[error("{0}")]
    Limit(String),
    /// The transaction is refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The text of a Solidity `revert("…")`, if it is one.
fn reason(data: &Bytes) -> String {
    Revert::abi_decode(data).map_or_else(|_| String::new(), |revert| format!(": {}", revert.reason))
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Invalid(reason) => Self::Failed(reason),
            CallError::Store(error) => Self::Store(error),
        }
    }
}

impl From<LogQueryError> for RpcError {
    fn from(error: LogQueryError) -> Self {
        match error {
            LogQueryError::Store(error) => Self::Store(error),
            limit => Self::Limit(limit.to_string()),
        }
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        let code = match &error {
            RpcError::Reverted(data) => return Self::owned(3, error.to_string(), Some(data)),
            RpcError::Failed(_) | RpcError::NoState { .. } => -32000,
            RpcError::Rejected(Rejection::Malformed(_)) | RpcError::InvalidParams(_) => -32602,
            // As Geth answers for blocks that it does not have any more.
            RpcError::Store(StoreError::Pruned { .. }) => 4444,
            // EIP-1474: resource unavailable.
            RpcError::Store(StoreError::Awaited { .. }) => -32002,
            RpcError::Rejected(Rejection::Store(_)) | RpcError::Store(_) => -32603,
            RpcError::Rejected(_) => -32000,
            RpcError::NotFound(_) => -32001,
            RpcError::Limit(_) => -32005,
        };
        Self::owned(code, error.to_string(), None::<()>)
    }
}
