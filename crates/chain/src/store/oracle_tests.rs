//! The store against independent models: roots by `alloy-trie` from the whole state, logs by looking at all of them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::consensus::{
    BlockBody, Eip658Value, Header, Receipt, ReceiptEnvelope, SignableTransaction, TrieAccount, TxEnvelope, TxLegacy,
};
use alloy::primitives::{Address, B256, Log, Signature, U256, keccak256};
use alloy_trie::root::{state_root_unhashed, storage_root_unhashed};
use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTableMetadata};
use revm::database::states::StorageSlot;
use revm::database::{AccountStatus, BundleAccount, BundleState};
use revm::state::AccountInfo;

use super::{BlockWrite, LogQuery, StateChanges, Store, tables};
use crate::application::Durability;
use crate::execution::genesis::GenesisBlock;
use crate::execution::roots;
use crate::genesis::Genesis;

/// What a block sets: an account's balance, `None` to remove it, and slots.
pub(super) type Change = (u8, Option<u64>, Vec<(u8, u64)>);
pub(super) type State = BTreeMap<Address, (u64, BTreeMap<U256, U256>)>;

pub(super) fn address(n: u8) -> Address {
    Address::with_last_byte(n)
}

pub(super) fn changes() -> impl Strategy<Value = Vec<Vec<Change>>> {
    let value = prop_oneof![2 => Just(0), 1 => 1..200_u64, 1 => any::<u64>()];
    let slots = prop::collection::vec((0..40_u8, value), 0..12);
    let change = (0..24_u8, prop::option::weighted(0.8, 1..u64::MAX), slots);
    let block = prop::collection::vec(change, 0..10);
    prop::collection::vec(block, 1..10)
}

fn genesis() -> GenesisBlock {
    let genesis: Genesis = serde_json::from_value(serde_json::json!({
        "chainId": 1, "timestamp": 0,
        "members": [{
            "account": Address::repeat_byte(0xaa), "validatorKey": B256::repeat_byte(1),
            "sealingKey": B256::repeat_byte(2), "name": "a", "consensusAddress": "/ip4/127.0.0.1/tcp/1"
        }],
        "consensusParameters": {
            "proposeMs": 400, "proposeDeltaMs": 300, "voteMs": 200, "voteDeltaMs": 150, "heartbeatMs": 5000
        }
    }))
    .unwrap();
    GenesisBlock::build(&genesis).unwrap()
}

/// A store that begins with an empty state.
pub(super) fn empty_store(folder: &std::path::Path) -> (Store, Header) {
    let genesis = genesis();
    let header = Header {
        state_root: alloy::consensus::EMPTY_ROOT_HASH,
        ..genesis.header.clone()
    };
    let database = redb::Database::create(folder.join("empty.redb")).unwrap();
    let store = Store {
        database,
        path: folder.to_path_buf(),
        codes: Arc::default(),
        unflushed: Default::default(),
    };
    let empty = StateChanges::default();
    store
        .create(&BlockWrite {
            header: &header,
            hash: header.hash_slow(),
            changes: &empty,
            ..genesis.write()
        })
        .unwrap();
    (store, header)
}

/// What execution would hand over for a block's changes: net changes against the state before.
pub(super) fn bundle(before: &State, after: &State) -> BundleState {
    let mut bundle = BundleState::default();
    let addresses: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    for address in addresses {
        let info = |state: &State| {
            state.get(&address).map(|(balance, _)| AccountInfo {
                balance: U256::from(*balance),
                code: None,
                ..Default::default()
            })
        };
        let none = BTreeMap::new();
        let slots_of = |state: &State| {
            state
                .get(&address)
                .map_or_else(|| none.clone(), |(_, slots)| slots.clone())
        };
        let (old, new) = (slots_of(before), slots_of(after));
        let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
        let value = |slots: &BTreeMap<U256, U256>, key| slots.get(key).copied().unwrap_or_default();
        // Slots that did not change are there too: execution reports what it read.
        let storage = keys
            .iter()
            .map(|key| (*key, StorageSlot::new_changed(value(&old, key), value(&new, key))))
            .collect();
        let account = BundleAccount::new(info(before), info(after), storage, AccountStatus::Changed);
        bundle.state.insert(address, account);
    }
    bundle
}

fn oracle(state: &State) -> B256 {
    state_root_unhashed(state.iter().map(|(address, (balance, slots))| {
        let slots = slots.iter().map(|(slot, value)| (B256::from(*slot), *value));
        let account = TrieAccount {
            balance: U256::from(*balance),
            storage_root: storage_root_unhashed(slots),
            ..Default::default()
        };
        (*address, account)
    }))
}

pub(super) fn apply(state: &mut State, block: &[Change]) {
    for (n, balance, slots) in block {
        let address = address(*n);
        match balance {
            // Only an account without storage can go away (EIP-6780).
            None if state.get(&address).is_none_or(|(_, slots)| slots.is_empty()) => drop(state.remove(&address)),
            None => {}
            Some(balance) => {
                let account = state.entry(address).or_default();
                account.0 = *balance;
                for (slot, value) in slots {
                    match value {
                        0 => drop(account.1.remove(&U256::from(*slot))),
                        value => drop(account.1.insert(U256::from(*slot), U256::from(*value))),
                    }
                }
            }
        }
    }
}

fn stored_nodes(store: &Store) -> u64 {
    let transaction = store.database.begin_read().unwrap();
    transaction.open_table(tables::NODES).unwrap().len().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn roots_are_those_of_alloy_trie_and_no_node_is_left_behind(blocks in changes()) {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut header) = empty_store(folder.path());
        let mut state = State::new();
        for block in blocks {
            let mut after = state.clone();
            apply(&mut after, &block);
            let parent = Arc::new(store.snapshot().unwrap());
            let (root, changes) = roots::apply(Some(&parent), header.state_root, bundle(&state, &after)).unwrap();
            prop_assert_eq!(root, oracle(&after));
            header = Header { number: header.number + 1, parent_hash: parent.hash(), state_root: root, ..header };
            let body = BlockBody::default();
            let write = BlockWrite {
                header: &header, hash: header.hash_slow(), body: &body, senders: &[], receipts: &[],
                certificate: Some(&[]), changes: &changes,
            };
            store.commit(&write, Durability::Immediate).unwrap();
            state = after;

            // As many nodes as a store that gets the same state at once.
            let folder = tempfile::tempdir().unwrap();
            let (fresh, header) = empty_store(folder.path());
            let parent = Arc::new(fresh.snapshot().unwrap());
            let all = bundle(&State::new(), &state);
            let (root, changes) = roots::apply(Some(&parent), header.state_root, all).unwrap();
            prop_assert_eq!(root, oracle(&state));
            let nodes: usize = changes.nodes.iter().map(|(_, nodes)| nodes.len()).sum();
            prop_assert_eq!(stored_nodes(&store), nodes as u64);

            // The plain tables say the same as the tries.
            let snapshot = store.snapshot().unwrap();
            for (address, (balance, slots)) in &state {
                prop_assert_eq!(snapshot.account(*address).unwrap().unwrap().balance, U256::from(*balance));
                for slot in 0..40 {
                    let slot = U256::from(slot);
                    let expected = slots.get(&slot).copied().unwrap_or_default();
                    prop_assert_eq!(snapshot.storage_value(*address, slot).unwrap(), expected);
                }
            }
        }
    }

    #[test]
    fn queries_find_what_looking_at_every_log_finds(
        blocks in prop::collection::vec(prop::collection::vec((0..3_u8, prop::collection::vec(0..3_u8, 0..=4)), 0..6), 1..30),
        from in 0..32_u64, length in 0..32_u64,
        addresses in prop::collection::vec(0..3_u8, 0..3),
        topics in prop::array::uniform4(prop::collection::vec(0..3_u8, 0..3)),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut header) = empty_store(folder.path());
        let query = LogQuery {
            from,
            to: from + length,
            addresses: addresses.iter().map(|n| address(*n)).collect(),
            topics: topics.map(|values| values.into_iter().map(B256::with_last_byte).collect()),
        };
        let mut expected = Vec::new();
        for (height, logs) in (1..).zip(blocks) {
            let logs: Vec<Log> = logs
                .into_iter()
                .map(|(n, topics)| {
                    let topics = topics.into_iter().map(B256::with_last_byte).collect();
                    Log::new_unchecked(address(n), topics, Default::default())
                })
                .collect();
            if (query.from..=query.to).contains(&height) {
                expected.extend((0..).zip(&logs).filter(|(_, log)| query.matches(log)).map(|(index, log)| (height, index, log.clone())));
            }
            // Two transactions, so that indices in the block go on after the first.
            let (first, second) = logs.split_at(logs.len() / 2);
            let receipts = [first, second].map(|logs| {
                let receipt = Receipt { status: Eip658Value::Eip658(true), cumulative_gas_used: 0, logs: logs.to_vec() };
                ReceiptEnvelope::Legacy(receipt.with_bloom())
            });
            let transactions = [0, 1].map(|nonce| {
                let transaction = TxLegacy { nonce: height * 2 + nonce, ..Default::default() };
                TxEnvelope::from(transaction.into_signed(Signature::test_signature()))
            });
            header = Header { number: height, parent_hash: header.hash_slow(), ..header };
            let body = BlockBody { transactions: transactions.to_vec(), ..Default::default() };
            let changes = StateChanges::default();
            store.commit(&BlockWrite {
                header: &header, hash: header.hash_slow(), body: &body, senders: &[Address::ZERO; 2], receipts: &receipts,
                certificate: Some(&[]), changes: &changes,
            }, Durability::Immediate).unwrap();
        }
        let found = query.run(&store.snapshot().unwrap()).unwrap();
        let found: Vec<_> = found.into_iter().map(|found| (found.height, found.log_index, found.log)).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_query_that_costs_too_much_says_how_far_it_got() {
    let folder = tempfile::tempdir().unwrap();
    let (store, header) = empty_store(folder.path());
    let logs = vec![Log::new_unchecked(address(1), vec![keccak256("topic")], Default::default()); 6000];
    let receipt = Receipt {
        status: Eip658Value::Eip658(true),
        cumulative_gas_used: 0,
        logs,
    };
    let receipts = [ReceiptEnvelope::Legacy(receipt.with_bloom())];
    let transaction = TxLegacy::default().into_signed(Signature::test_signature());
    let body = BlockBody {
        transactions: vec![TxEnvelope::from(transaction)],
        ..Default::default()
    };
    let changes = StateChanges::default();
    for number in 1..=3 {
        let header = Header {
            number,
            ..header.clone()
        };
        store
            .commit(
                &BlockWrite {
                    header: &header,
                    hash: header.hash_slow(),
                    body: &body,
                    senders: &[Address::ZERO],
                    receipts: &receipts,
                    certificate: Some(&[]),
                    changes: &changes,
                },
                Durability::Immediate,
            )
            .unwrap();
    }
    let query = LogQuery {
        from: 1,
        to: u64::MAX,
        ..Default::default()
    };
    let error = query.run(&store.snapshot().unwrap()).unwrap_err();
    assert!(error.to_string().contains("from 1 to 1"), "{error}");
    let smaller = LogQuery { to: 1, ..query };
    assert_eq!(smaller.run(&store.snapshot().unwrap()).unwrap().len(), 6000);
}
