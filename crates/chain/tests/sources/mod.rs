//! Members that serve snapshots.
#![allow(dead_code, clippy::unwrap_used)]

pub mod slow;

use std::sync::Arc;

use alloy::primitives::{B256, Bytes};
use hanse_chain::ledger::Ledger;
use hanse_chain::snapshot::{ServeError, SnapshotServer, Source, SourceError};

/// A member that says what its store has.
pub struct Honest {
    server: SnapshotServer,
}

impl Honest {
    pub fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            server: SnapshotServer::new(ledger),
        }
    }
}

fn found(answer: Result<Option<Bytes>, ServeError>) -> Result<Vec<u8>, SourceError> {
    match answer {
        Ok(Some(bytes)) => Ok(bytes.to_vec()),
        Ok(None) => Err(SourceError::Nothing("not there".into())),
        Err(error @ ServeError::Unavailable(_)) => Err(SourceError::Nothing(error.to_string())),
        Err(error) => Err(SourceError::Away(error.to_string())),
    }
}

impl Source for Honest {
    fn name(&self) -> &str {
        "honest"
    }
    fn offer(&self) -> Result<Vec<u8>, SourceError> {
        found(self.server.offer().map(Some))
    }
    fn headers(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        found(self.server.headers(from, to))
    }
    fn chunk(&self, hash: B256) -> Result<Vec<u8>, SourceError> {
        found(self.server.chunk(hash))
    }
    fn blocks(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        found(self.server.blocks(from, to))
    }
}
