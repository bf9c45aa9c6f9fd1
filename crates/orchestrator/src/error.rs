//! Why a step of an agreement failed, and whether trying again helps.

use hanse_cluster::ClusterError;
use hanse_ledger::LedgerError;
use hanse_swarm::service::BlobError;

use crate::store::StoreError;

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The ledger refused, or was away.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The cluster refused, or was away.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The agent's own store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A manifest could not be had, or not be kept.
    #[error(transparent)]
    Manifest(#[from] BlobError),
    /// Something that another domain gave us can't be used; trying again does not help.
    #[error("{0}")]
    Unusable(String),
    /// Something is not there yet.
    #[error("{0}")]
    NotYet(String),
}
