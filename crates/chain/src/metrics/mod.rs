//! The figures of a node for Prometheus. What happens is counted where it happens ([`LedgerMetrics`], [`ConsensusMetrics`]);
//! what is, is read when it is asked for (`reading`).

mod consensus;
mod ledger;
mod reading;

use alloy::primitives::Address;

pub use consensus::ConsensusMetrics;
pub use ledger::{LedgerMetrics, Origin, Purpose};
pub(crate) use reading::NodeReading;

/// The label that names a validator: its ledger account.
fn name(validator: &Address) -> (&'static str, String) {
    ("validator", validator.to_string())
}
