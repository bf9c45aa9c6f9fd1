//! What a client of the ledger must be told.

use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::Address;
use url::Url;

use crate::rpc::ChainIdentity;

/// Where the ledger is and how to treat it.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// JSON-RPC addresses of nodes of the same chain (`http`, `https`, `ws`, `wss`), in order of preference. The first
    /// that answers is used; when it fails the next one is. `ws` is the faster choice: blocks are announced instead of
    /// asked for.
    pub urls: Vec<Url>,
    /// Address of the Consortium contract.
    pub consortium: Address,
    /// Address of the Federation contract.
    pub federation: Address,
    /// The chain that the endpoints must serve, if that is known beforehand.
    pub chain: Option<ChainIdentity>,
    /// How many blocks must lie above a block before it counts as final. 0 on chains whose blocks are never replaced
    /// (the embedded ledger, QBFT); on others deeper than any replacement that may happen.
    pub confirmations: u64,
    /// How long a command waits to become final before it returns [`Timeout`](crate::LedgerError::Timeout).
    pub receipt_timeout: Duration,
    /// The file in which signed transactions survive a crash (redb). One file for each account and chain; one process
    /// at a time.
    pub store: PathBuf,
    /// How long one JSON-RPC request may take before the endpoint counts as failed.
    pub request_timeout: Duration,
    /// How new blocks are looked for where they are not announced.
    pub poll: Poll,
}

/// Back-off of polling for new blocks, used over HTTP and where subscriptions are lacking.
#[derive(Debug, Clone, Copy)]
pub struct Poll {
    /// First wait after a transaction was sent; each further wait is twice as long.
    pub min: Duration,
    /// Longest wait; also the interval when nothing is being waited for but an event stream is open.
    pub max: Duration,
    /// Interval while nobody waits for anything.
    pub idle: Duration,
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(10),
            max: Duration::from_millis(100),
            idle: Duration::from_secs(1),
        }
    }
}

impl LedgerConfig {
    /// A configuration with the defaults: no confirmations, 60 s for a command, 5 s for a request.
    #[must_use]
    pub fn new(urls: Vec<Url>, consortium: Address, federation: Address, store: PathBuf) -> Self {
        Self {
            urls,
            consortium,
            federation,
            chain: None,
            confirmations: 0,
            receipt_timeout: Duration::from_secs(60),
            store,
            request_timeout: Duration::from_secs(5),
            poll: Poll::default(),
        }
    }
}
