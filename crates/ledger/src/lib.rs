//! Typed client of the Consortium and Federation contracts over any Ethereum JSON-RPC.
//!
//! # What it promises
//!
//! *A command takes effect at most once, and once if it can.* Each command has an [`IntentKey`] chosen by the caller.
//! Before it is sent, its signed transaction is on disk; after a crash the same transaction is sent again. A dropped
//! transaction is sent again, one that pays too little is signed again for the same nonce, and one whose nonce was used
//! by something else is signed for another nonce only after that is final. A command returns when its block is final,
//! as deep as [`LedgerConfig::confirmations`] asks; if its block is replaced before that, it is sent again.
//!
//! *Refusals cost nothing.* The contracts are asked first (`eth_estimateGas`); a refusal is a typed [`Refusal`] and no
//! nonce is spent.
//!
//! *Events arrive completely, in order and once*, from any [`Cursor`] on, across reconnections and endpoints.
//!
//! *Nothing hangs.* Each request has a deadline; each command returns within [`LedgerConfig::receipt_timeout`]. With
//! several URLs the next one is used when one fails or falls behind. Connections are mended for ever, with back-off;
//! [`Ledger::status`] tells how it is.
//!
//! # What callers must do
//!
//! * Choose keys that are the same for the same decision after a restart, and never the same for different ones.
//! * After [`LedgerError::Timeout`], [`LedgerError::Stopped`] or a crash, repeat the command with the same key.
//! * Give each account and chain a store of its own, and use the account in one process only. (Other use of the account
//!   is survived, at the price of a second or more for the commands it collides with.)
//! * Store [`LedgerEvent::cursor`] together with the effect of the event, and resume from it.
//! * On chains whose blocks can be replaced, set `confirmations` deeper than that ever happens.
//!
//! # How it is built
//!
//! `nonces` holds the rules of who has which nonce, without I/O; `outbox` is their store; `sender` and `pursuit` are
//! the one task that applies them. `endpoint`, `rpc` and `watcher` are the connection, `events` the stream, `refusal`
//! the contracts' errors.

mod commands;
mod config;
mod deploy;
mod endpoint;
mod error;
mod event;
mod events;
mod examine;
mod fees;
mod head;
mod intent;
mod ledger;
mod nonces;
mod outbox;
mod preflight;
mod pursuit;
mod refusal;
mod rpc;
mod sender;
mod signing;
mod status;
mod submission;
mod views;
mod watcher;

pub use alloy::signers::local::PrivateKeySigner;
pub use config::{LedgerConfig, Poll};
pub use deploy::{Deployment, Foundation, deploy};
pub use error::LedgerError;
pub use event::{Cursor, Event, LedgerEvent};
pub use examine::{Examined, examine};
pub use hanse_contracts::{Addresses, IConsortium, IFederation};
pub use head::Head;
pub use intent::{IntentKey, Receipt};
pub use ledger::Ledger;
pub use refusal::Refusal;
pub use rpc::ChainIdentity;
pub use status::{Link, Status};
pub use views::PAGE;
