//! Analysed contract code. Finding the jump destinations of 24 KiB takes longer than most transactions that call it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use alloy::primitives::{B256, Bytes};
use revm::bytecode::Bytecode;

use super::error::StoreError;

/// Contracts kept; a ledger of Hanse has two, the rest is what members deploy for themselves.
const CAPACITY: usize = 128;

/// Shared by all snapshots: code never changes under its hash.
#[derive(Debug, Default)]
pub struct CodeCache(Mutex<HashMap<B256, Bytecode>>);

impl CodeCache {
    /// The analysed code, loaded on first use.
    pub(super) fn get_or_load(
        &self,
        hash: B256,
        load: impl FnOnce() -> Result<Bytes, StoreError>,
    ) -> Result<Bytecode, StoreError> {
        // A panic while the map is locked can't leave it half changed, so poison means nothing.
        if let Some(code) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&hash) {
            return Ok(code.clone());
        }
        let code = Bytecode::new_raw(load()?);
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() >= CAPACITY {
            codes.clear();
        }
        codes.insert(hash, code.clone());
        Ok(code)
    }
}
