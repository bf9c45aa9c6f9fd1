//! The state root: from what execution changed to what the tries and the store change.

use std::sync::Arc;

use alloy::consensus::{EMPTY_ROOT_HASH, TrieAccount};
use alloy::primitives::{Address, B256, U256, keccak256};
use revm::database::{BundleAccount, BundleState};

use crate::store::{NodeChanges, Snapshot, StateChanges, StoreError, TrieUpdate};

/// Applies what execution changed to the state with root `parent_root`, and returns the new root with all changes.
/// `parent` is `None` when there is no state yet.
pub fn apply(
    parent: Option<&Arc<Snapshot>>,
    parent_root: B256,
    bundle: BundleState,
) -> Result<(B256, StateChanges), StoreError> {
    let mut changes = StateChanges::default();
    let mut state = TrieUpdate::new(parent.cloned(), B256::ZERO, parent_root);
    for (address, account) in &bundle.state {
        let before = match parent {
            Some(parent) => parent.account(*address)?,
            None => None,
        };
        let after = apply_account(parent, *address, before.as_ref(), account, &mut changes)?;
        match (&before, &after) {
            (before, after) if before == after => continue,
            (_, Some(account)) => state.insert(keccak256(address), alloy::rlp::encode(account)),
            (_, None) => state.remove(keccak256(address)),
        }
        changes.accounts.push((*address, after));
    }
    for (hash, code) in bundle.contracts {
        changes.codes.push((hash, code.original_bytes()));
    }
    let (root, nodes) = state.finish()?;
    changes.nodes.push((B256::ZERO, nodes));
    Ok((root, changes))
}

/// The account after the block, its storage changes noted in `changes`.
fn apply_account(
    parent: Option<&Arc<Snapshot>>,
    address: Address,
    before: Option<&TrieAccount>,
    account: &BundleAccount,
    changes: &mut StateChanges,
) -> Result<Option<TrieAccount>, StoreError> {
    let old_root = before.map_or(EMPTY_ROOT_HASH, |before| before.storage_root);
    let Some(info) = &account.info else {
        // Since EIP-6780 (Cancun) only a contract created in the same transaction can be destroyed, so that an account which
        // goes away never has storage from an earlier block.
        if old_root != EMPTY_ROOT_HASH {
            return Err(StoreError::damaged(format!(
                "account {address} with storage was destroyed"
            )));
        }
        return Ok(None);
    };
    let mut slots = account
        .storage
        .iter()
        .filter(|(_, slot)| slot.is_changed())
        .map(|(slot, value)| (*slot, value.present_value))
        .peekable();
    let storage_root = if slots.peek().is_none() {
        old_root
    } else {
        let owner = keccak256(address);
        let (root, nodes) = apply_storage(parent, owner, old_root, address, slots, changes)?;
        changes.nodes.push((owner, nodes));
        root
    };
    Ok(Some(TrieAccount {
        nonce: info.nonce,
        balance: info.balance,
        storage_root,
        code_hash: info.code_hash,
    }))
}

fn apply_storage(
    parent: Option<&Arc<Snapshot>>,
    owner: B256,
    old_root: B256,
    address: Address,
    slots: impl Iterator<Item = (U256, U256)>,
    changes: &mut StateChanges,
) -> Result<(B256, NodeChanges), StoreError> {
    let mut storage = TrieUpdate::new(parent.cloned(), owner, old_root);
    for (slot, value) in slots {
        let key = keccak256(slot.to_be_bytes::<32>());
        if value.is_zero() {
            storage.remove(key);
        } else {
            storage.insert(key, alloy::rlp::encode(value));
        }
        changes.storage.push((address, slot, value));
    }
    storage.finish()
}
