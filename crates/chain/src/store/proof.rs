//! Merkle proofs of accounts and storage slots (EIP-1186), for what is there and for what is not.

use std::sync::Arc;

use alloy::consensus::TrieAccount;
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};

use super::error::StoreError;
use super::snapshot::Snapshot;
use super::trie;

/// An account with the nodes that prove it, and some of its slots with theirs. Nodes lead from the root towards the leaf; the
/// last one is where the key is, or where it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountProof {
    /// The account; empty if there is none.
    pub account: TrieAccount,
    /// Its proof in the state trie.
    pub nodes: Vec<Bytes>,
    /// The slots that were asked for, in that order: value, and proof in the account's storage trie.
    pub slots: Vec<(U256, Vec<Bytes>)>,
}

impl AccountProof {
    /// Proves an account and slots of it against the state root of `snapshot`'s block.
    pub fn of(snapshot: &Arc<Snapshot>, address: Address, slots: &[B256]) -> Result<Self, StoreError> {
        let account = snapshot.account(address)?.unwrap_or_default();
        let (owner, hashed) = (B256::ZERO, keccak256(address));
        let nodes = trie::way_to(snapshot.clone(), owner, snapshot.header().state_root, hashed)?;
        let slot = |slot: &B256| {
            let way = trie::way_to(snapshot.clone(), hashed, account.storage_root, keccak256(slot))?;
            Ok((snapshot.storage_value(address, (*slot).into())?, way))
        };
        Ok(Self {
            account,
            nodes,
            slots: slots.iter().map(slot).collect::<Result<_, StoreError>>()?,
        })
    }
}
