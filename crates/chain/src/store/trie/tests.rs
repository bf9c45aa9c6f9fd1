//! Edits of stored tries against `eth_trie`, which shares neither the editing nor the node encodings, with keys that have much
//! in common: hashes, which other tests have for keys, never make deep tries, small nodes or long extensions.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::consensus::BlockBody;
use alloy::consensus::EMPTY_ROOT_HASH;
use alloy::primitives::B256;
use alloy_trie::Nibbles;
use alloy_trie::proof::verify_proof;
use eth_trie::{EthTrie, MemoryDB, Trie};
use proptest::prelude::*;

use super::super::oracle_tests::empty_store;
use super::super::{BlockWrite, StateChanges};
use super::{NodeChanges, OrderedTrie, TrieUpdate, way_to};

type Change = (B256, Option<Vec<u8>>);

/// Keys that differ from each other in one or two bytes.
fn key() -> impl Strategy<Value = B256> {
    let byte = || (0..32_usize, prop_oneof![Just(0x11), Just(0x12), Just(0x21), Just(0xff)]);
    (byte(), byte()).prop_map(|((one, value), (other, another))| {
        let mut key = B256::repeat_byte(0x11);
        key.0[one] = value;
        key.0[other] = another;
        key
    })
}

fn batches() -> impl Strategy<Value = Vec<Vec<Change>>> {
    let value = prop::collection::vec(1..=255_u8, 1..40);
    let change = (key(), prop::option::weighted(0.6, value));
    prop::collection::vec(prop::collection::vec(change, 0..20), 1..8)
}

fn oracle(state: &BTreeMap<B256, Vec<u8>>) -> B256 {
    let mut trie = EthTrie::new(Arc::new(MemoryDB::new(true)));
    for (key, value) in state {
        trie.insert(key.as_slice(), value).unwrap();
    }
    trie.root_hash().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn edits_of_deep_tries_are_those_of_eth_trie(batches in batches()) {
        let owner = B256::repeat_byte(7);
        let folder = tempfile::tempdir().unwrap();
        let (store, mut header) = empty_store(folder.path());
        let mut state = BTreeMap::<B256, Vec<u8>>::new();
        let (mut root, mut stored) = (EMPTY_ROOT_HASH, BTreeMap::new());
        for batch in batches {
            let batch: BTreeMap<B256, Option<Vec<u8>>> = batch.into_iter().collect();
            let mut update = TrieUpdate::new(Some(Arc::new(store.snapshot().unwrap())), owner, root);
            for (key, value) in batch {
                match value {
                    Some(value) => {
                        update.insert(key, value.clone());
                        state.insert(key, value);
                    }
                    None if state.remove(&key).is_some() => update.remove(key),
                    None => {}
                }
            }
            let (next, nodes) = update.finish().unwrap();
            prop_assert_eq!(next, oracle(&state));
            root = next;
            for (path, node) in &nodes {
                match node {
                    Some(node) => drop(stored.insert(*path, Some(node.clone()))),
                    None => drop(stored.remove(path)),
                }
            }
            // What is stored is what a trie has that is made of the same values at once.
            let mut fresh = TrieUpdate::new(None, owner, EMPTY_ROOT_HASH);
            for (key, value) in &state {
                fresh.insert(*key, value.clone());
            }
            prop_assert_eq!(&stored, &fresh.finish().unwrap().1);

            header.number += 1;
            header.parent_hash = store.snapshot().unwrap().hash();
            let changes = StateChanges { nodes: vec![(owner, nodes)], ..Default::default() };
            let write = BlockWrite {
                header: &header, hash: header.hash_slow(), body: &BlockBody::default(), senders: &[], receipts: &[],
                certificate: Some(&[]), changes: &changes,
            };
            store.commit(&write, crate::application::Durability::Immediate).unwrap();
            let snapshot = Arc::new(store.snapshot().unwrap());
            for key in state.keys().copied().chain([B256::ZERO, B256::repeat_byte(0x12)]) {
                let way = way_to(snapshot.clone(), owner, root, key).unwrap();
                let proven = verify_proof(root, Nibbles::unpack(key), state.get(&key).cloned(), &way);
                prop_assert!(proven.is_ok(), "{proven:?}");
            }
        }
    }

    #[test]
    fn a_trie_that_is_built_in_order_is_the_one_that_is_built_at_once(
        values in prop::collection::btree_map(key(), prop::collection::vec(1..=255_u8, 1..40), 0..60),
        batch in 1..8_usize,
    ) {
        let mut at_once = TrieUpdate::new(None, B256::ZERO, EMPTY_ROOT_HASH);
        let mut ordered = OrderedTrie::new(B256::ZERO);
        ordered.batch = batch;
        let mut written = NodeChanges::new();
        for (key, value) in values {
            at_once.insert(key, value.clone());
            for (path, node) in ordered.insert(key, value).unwrap().into_iter().flatten() {
                prop_assert_eq!(written.insert(path, node), None, "written twice");
            }
        }
        let (root, last) = ordered.finish().unwrap();
        for (path, node) in last {
            prop_assert_eq!(written.insert(path, node), None, "written twice");
        }
        prop_assert_eq!((root, written), at_once.finish().unwrap());
    }
}
