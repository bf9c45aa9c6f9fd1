//! What can go wrong, sorted by what the caller should do about it.

use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::{Address, B256, TxHash};

use url::Url;

use crate::refusal::Refusal;
use crate::rpc::ChainIdentity;

/// Why a call of the ledger did not succeed.
///
/// After [`Refused`](Self::Refused), [`Rejected`](Self::Rejected), [`Reverted`](Self::Reverted), [`Full`](Self::Full)
/// and [`Unreachable`](Self::Unreachable) a command has had no effect. After [`Timeout`](Self::Timeout) and
/// [`Stopped`](Self::Stopped) the outcome is open: repeat it with the same key.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A contract refuses the command; repeating it as it is will not help.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The transaction was included but undone, for a reason that is none of the contracts' errors (for example too
    /// little gas).
    #[error("transaction {tx} in block {block} was undone without one of the contracts' errors ({reason})")]
    Reverted {
        /// The transaction.
        tx: TxHash,
        /// The block that holds it.
        block: u64,
        /// What a repetition of the call said.
        reason: String,
    },
    /// The node did not take the transaction, and it has been withdrawn.
    #[error("the ledger node did not take the transaction: {reason}")]
    Rejected {
        /// What the node said and what to do about it.
        reason: String,
    },
    /// Not final within the time allowed. The transaction is pursued further; repeating the command with the same key
    /// waits for the same transaction and never sends a second one.
    #[error("not final after {waited:?}: {detail}; it is still being pursued, repeat the command to go on waiting")]
    Timeout {
        /// How long was waited.
        waited: Duration,
        /// What is known about it.
        detail: String,
    },
    /// No endpoint answered. Worth repeating later.
    #[error("no ledger node answers: {detail}. Check that the node runs and that `ledger.urls` names it")]
    Unreachable {
        /// What each endpoint tried said.
        detail: String,
    },
    /// The node answered a request with an error that is not a contract's refusal.
    #[error("the ledger node answered {method} with an error: {message}")]
    Node {
        /// The JSON-RPC method.
        method: &'static str,
        /// JSON-RPC error code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// The node's answer does not have the form that the Ethereum JSON-RPC interface prescribes.
    #[error("the answer to {method} cannot be understood ({detail}); is {url} an Ethereum JSON-RPC endpoint?")]
    Protocol {
        /// The JSON-RPC method.
        method: &'static str,
        /// Who answered.
        url: String,
        /// What was wrong with it.
        detail: String,
    },
    /// There is no contract at a configured address.
    #[error(
        "there is no contract at {address} ({name}) on chain {chain_id}; check the addresses, or deploy the contracts to this chain first"
    )]
    NoContract {
        /// `Consortium` or `Federation`.
        name: &'static str,
        /// The configured address.
        address: Address,
        /// The chain that was asked.
        chain_id: u64,
    },
    /// What is at a configured address is another contract.
    #[error("the contract at {address} is not Hanse's {name} ({detail}); check the addresses")]
    WrongContract {
        /// `Consortium` or `Federation`.
        name: &'static str,
        /// The configured address.
        address: Address,
        /// What it answered.
        detail: String,
    },
    /// The two contracts at the configured addresses do not belong together.
    #[error("the Federation at {federation} belongs to the Consortium at {found}, not to the configured {consortium}")]
    ForeignContract {
        /// The configured Federation.
        federation: Address,
        /// The configured Consortium.
        consortium: Address,
        /// The Consortium that the Federation names.
        found: Address,
    },
    /// An endpoint serves another chain than the others, than the configuration says or than the store was made for.
    #[error(
        "{url} serves the chain with {found}, but the one with {expected} is expected; use endpoints of one chain, and a store of its own for each chain"
    )]
    WrongChain {
        /// The endpoint.
        url: String,
        /// Chain id and genesis hash that the store or the other endpoints have.
        expected: String,
        /// Chain id and genesis hash that it serves.
        found: String,
    },
    /// A nonce that the creation of a contract needed was used by something else.
    #[error(
        "nonce {nonce} of account {account} was used by something else (or the creation failed there), so that there can never be a contract at {address}; plan the deployment anew"
    )]
    NonceUsed {
        /// Whose nonce.
        account: Address,
        /// The nonce.
        nonce: u64,
        /// Where the contract was to be.
        address: Address,
    },
    /// The key was used before for a different command.
    #[error("the intent key {key:?} was used before for a different command; give each command a key of its own")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// More commands in flight than the outbox holds.
    #[error("{limit} commands are in flight already; wait for some of them to finish")]
    Full {
        /// The bound.
        limit: usize,
    },
    /// The store cannot be used.
    #[error("ledger store {}: {detail}", path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// What went wrong and what to do.
        detail: String,
    },
    /// The client has been shut down. What was in flight goes on when it is started again with the same store.
    #[error("the ledger client has been shut down")]
    Stopped,
    /// The chain replaced blocks deeper than the configured confirmations. Commands that had been final in them are sent
    /// again; the events from block `from` on are told again, differently perhaps.
    #[error(
        "the chain replaced block {from} and what follows, deeper than the configured confirmations; raise `ledger.confirmations`"
    )]
    Reorganised {
        /// First block that was replaced, or may have been.
        from: u64,
        /// Hash that one of them had before.
        was: B256,
    },
    /// The contracts are on the chain, but not deep enough yet.
    #[error(
        "the contracts are not on the chain yet as of block {block}, the newest that is final; wait until `ledger.confirmations` blocks lie on top of their creation"
    )]
    NotFinalYet {
        /// The block that was read.
        block: u64,
    },
    /// The node has not kept all events behind the position given. Whoever has seen them lacks nothing; whoever was away for
    /// so long has missed those in between.
    #[error(
        "the ledger node has no events from block {from} to the block before {first} any more; if this agent was away for so \
         long, what it was told in them is lost to it: look at the agreements it is a party of"
    )]
    HistoryPruned {
        /// First block whose events are not there.
        from: u64,
        /// First block whose events are there.
        first: u64,
    },
    /// The configuration cannot work.
    #[error("ledger configuration: {0}")]
    Config(String),
}

impl LedgerError {
    pub(crate) fn wrong_chain(url: &Url, expected: ChainIdentity, found: ChainIdentity) -> Self {
        Self::WrongChain {
            url: url.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// True when the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Timeout { .. }
                | Self::Full { .. }
                | Self::Rejected { .. }
                | Self::NotFinalYet { .. }
                | Self::Stopped
        )
    }

    /// The refusal, if this is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}
