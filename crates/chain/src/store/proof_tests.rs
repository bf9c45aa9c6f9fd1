//! Proofs against a verifier that shares nothing with what makes them: `alloy-trie`.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use alloy::consensus::{BlockBody, Header};
use alloy::primitives::{B256, Bytes, U256, keccak256};
use alloy_trie::Nibbles;
use alloy_trie::proof::verify_proof;
use proptest::prelude::*;

use super::oracle_tests::{State, address, apply, bundle, changes, empty_store};
use super::{AccountProof, BlockWrite};
use crate::application::Durability;
use crate::execution::roots;

/// Whether the nodes prove that `key` has this value, or with `None` that there is no such key.
fn proves(root: B256, key: &[u8], value: Option<Vec<u8>>, nodes: &[Bytes]) -> bool {
    verify_proof(root, Nibbles::unpack(keccak256(key)), value, nodes).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_there_and_what_is_not_is_proven_to_an_independent_verifier(blocks in changes()) {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut header) = empty_store(folder.path());
        let mut state = State::new();
        let mut held = Vec::new();
        for block in blocks {
            let mut after = state.clone();
            apply(&mut after, &block);
            let parent = Arc::new(store.snapshot().unwrap());
            let (root, changes) = roots::apply(Some(&parent), header.state_root, bundle(&state, &after)).unwrap();
            header = Header { number: header.number + 1, parent_hash: parent.hash(), state_root: root, ..header };
            store.commit(&BlockWrite {
                header: &header, hash: header.hash_slow(), body: &BlockBody::default(), senders: &[], receipts: &[],
                certificate: Some(&[]), changes: &changes,
            }, Durability::Immediate).unwrap();
            state = after;
            held.push((Arc::new(store.snapshot().unwrap()), state.clone()));
        }
        // Snapshots that are still held prove what was true at their block.
        for (snapshot, state) in held {
            let root = snapshot.header().state_root;
            for n in 0..26 {
                let address = address(n);
                let slots: Vec<B256> = (0..42).map(|slot| U256::from(slot).into()).collect();
                let proof = AccountProof::of(&snapshot, address, &slots).unwrap();
                let expected = state.get(&address);
                let encoded = expected.map(|_| alloy::rlp::encode(proof.account));
                prop_assert!(proves(root, address.as_slice(), encoded.clone(), &proof.nodes));
                prop_assert_eq!(proof.account.balance, U256::from(expected.map_or(0, |(balance, _)| *balance)));
                // The proof says one thing only.
                let other = if encoded.is_some() { None } else { Some(alloy::rlp::encode(proof.account)) };
                prop_assert!(!proves(root, address.as_slice(), other, &proof.nodes));
                for (slot, (value, nodes)) in slots.iter().zip(&proof.slots) {
                    let stored = expected.and_then(|(_, slots)| slots.get(&U256::from_be_bytes(slot.0))).copied();
                    prop_assert_eq!(*value, stored.unwrap_or_default());
                    let encoded = stored.map(alloy::rlp::encode);
                    prop_assert!(proves(proof.account.storage_root, slot.as_slice(), encoded, nodes));
                    let wrong = Some(alloy::rlp::encode(*value + U256::from(1)));
                    prop_assert!(!proves(proof.account.storage_root, slot.as_slice(), wrong, nodes));
                }
            }
        }
    }
}
