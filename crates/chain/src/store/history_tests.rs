//! Pruning against a model that looks at everything.
#![allow(clippy::unwrap_used)]

use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::{
    BlockBody, Eip658Value, Header, Receipt, ReceiptEnvelope, SignableTransaction, TxEnvelope, TxLegacy,
};
use alloy::primitives::{Address, B256, Bloom, Log, Signature};
use alloy::sol_types::SolEvent;
use hanse_contracts::{Consortium, genesis_addresses};
use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTableMetadata};

use super::history::compact;
use super::oracle_tests::{address, empty_store};
use super::{BlockWrite, LogQuery, StateChanges, Store, StoreError, tables};
use crate::application::Durability;

/// Commits a block with one transaction for each list of logs.
fn commit(store: &Store, parent: &Header, transactions: &[Vec<Log>]) -> Header {
    let number = parent.number + 1;
    let receipts: Vec<ReceiptEnvelope> = transactions
        .iter()
        .map(|logs| {
            let receipt = Receipt {
                status: Eip658Value::Eip658(true),
                cumulative_gas_used: 0,
                logs: logs.clone(),
            };
            ReceiptEnvelope::Legacy(receipt.with_bloom())
        })
        .collect();
    let transactions: Vec<TxEnvelope> = (0..transactions.len() as u64)
        .map(|index| {
            let transaction = TxLegacy {
                nonce: number * 100 + index,
                ..Default::default()
            };
            transaction.into_signed(Signature::test_signature()).into()
        })
        .collect();
    let header = Header {
        number,
        parent_hash: parent.hash_slow(),
        transactions_root: calculate_transaction_root(&transactions),
        receipts_root: calculate_receipt_root(&receipts),
        logs_bloom: receipts
            .iter()
            .fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom()),
        ..parent.clone()
    };
    let senders = vec![Address::ZERO; transactions.len()];
    let body = BlockBody {
        transactions,
        ommers: Vec::new(),
        withdrawals: Some(Default::default()),
    };
    store
        .commit(
            &BlockWrite {
                header: &header,
                hash: header.hash_slow(),
                body: &body,
                senders: &senders,
                receipts: &receipts,
                certificate: Some(&[1]),
                changes: &StateChanges::default(),
            },
            Durability::Immediate,
        )
        .unwrap();
    header
}

fn rows(store: &Store) -> (u64, u64) {
    let transaction = store.database.begin_read().unwrap();
    (
        transaction.open_table(tables::TRANSACTIONS).unwrap().len().unwrap(),
        transaction.open_table(tables::LOGS).unwrap().len().unwrap(),
    )
}

fn left() -> Log {
    let event = Consortium::MemberLeft {
        account: address(7),
        name: "seventh".into(),
    };
    Log {
        address: genesis_addresses().consortium,
        data: event.encode_log_data(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn below_the_floor_transactions_are_gone_and_above_it_nothing_is(
        blocks in prop::collection::vec(prop::collection::vec(prop::collection::vec(0..4_u8, 0..4), 0..4), 1..24),
        to in 0..26_u64, at_once in 1..8_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut header) = empty_store(folder.path());
        let blocks: Vec<Vec<Vec<Log>>> = blocks.into_iter().map(|block| block.into_iter().map(|logs| {
            logs.into_iter().map(|n| match n {
                3 => left(),
                n => Log::new_unchecked(address(n), vec![B256::with_last_byte(n)], Default::default()),
            }).collect()
        }).collect()).collect();
        for block in &blocks {
            header = commit(&store, &header, block);
        }
        let before = store.snapshot().unwrap();
        let tip = before.height();
        let mut floor = 0;
        loop {
            let next = store.prune(to, at_once).unwrap();
            prop_assert!(next >= floor && next <= to.min(tip));
            prop_assert_eq!(store.snapshot().unwrap().floor(), next);
            if next == to.min(tip) { break; }
            prop_assert!(next > floor, "each call gets further");
            floor = next;
        }
        let floor = to.min(tip);
        let after = store.snapshot().unwrap();
        let (mut transactions, mut logs) = (0, 0);
        for height in 0..=tip {
            // Headers and certificates stay.
            prop_assert_eq!(after.header_at(height).unwrap(), before.header_at(height).unwrap());
            prop_assert_eq!(after.certificate_at(height).unwrap(), before.certificate_at(height).unwrap());
            let block = match height { 0 => &Vec::new(), height => &blocks[height as usize - 1] };
            let hashes = before.block_at(height).unwrap().unwrap().body.transactions.into_iter().map(|tx| *tx.tx_hash());
            if height >= floor || block.is_empty() {
                prop_assert_eq!(after.block_at(height).unwrap(), before.block_at(height).unwrap());
                prop_assert_eq!(after.receipts_at(height).unwrap(), before.receipts_at(height).unwrap());
                for hash in hashes {
                    prop_assert_eq!(after.transaction_position(hash).unwrap(), before.transaction_position(hash).unwrap());
                }
                transactions += block.len() as u64;
                let mut keys = std::collections::BTreeSet::new();
                for log in block.iter().flatten() {
                    keys.insert((log.address.into_word(), 0));
                    keys.extend(log.topics().iter().copied().zip(1..));
                }
                logs += keys.len() as u64;
            } else {
                prop_assert_eq!(after.block_at(height).unwrap_err(), StoreError::Pruned { height, floor });
                for hash in hashes {
                    prop_assert_eq!(after.transaction_position(hash).unwrap(), None);
                }
                // What tells of the validator set stays.
                if block.iter().flatten().any(|log| *log == left()) {
                    prop_assert_eq!(after.receipts_at(height).unwrap(), before.receipts_at(height).unwrap());
                }
            }
        }
        prop_assert_eq!(rows(&store), (transactions, logs));
        for from in 0..=tip {
            let query = LogQuery { from, to: u64::MAX, addresses: vec![address(1)], ..Default::default() };
            match query.run(&after) {
                Ok(found) => {
                    prop_assert!(from >= floor);
                    prop_assert_eq!(found, query.run(&before).unwrap());
                }
                Err(error) => {
                    prop_assert!(from < floor);
                    prop_assert!(error.to_string().contains("pruned history unavailable"), "{}", error);
                }
            }
        }
    }
}

#[test]
fn the_space_of_pruned_blocks_comes_back_when_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut header) = empty_store(folder.path());
    let data = vec![0xab; 20_000];
    for n in 0..200_u8 {
        let log = Log::new_unchecked(address(n), Vec::new(), data.clone().into());
        header = commit(&store, &header, &[vec![log]]);
    }
    while store.prune(190, 32).unwrap() < 190 {}
    // What is dropped in a transaction becomes free with later ones.
    header = commit(&store, &header, &[]);
    let state = header.state_root;
    let Store { mut database, .. } = store;
    let file = folder.path().join("empty.redb");
    let before = std::fs::metadata(&file).unwrap().len();
    assert!(
        !compact(&mut database, u64::MAX).unwrap(),
        "for little gain nothing is done"
    );
    assert!(compact(&mut database, 1_000_000).unwrap());
    assert!(
        !compact(&mut database, 1).unwrap(),
        "there is nothing left to give back"
    );
    let after = std::fs::metadata(&file).unwrap().len();
    assert!(after < before / 2, "{before} bytes before, {after} after");
    let store = Store {
        database,
        path: file,
        codes: Default::default(),
        unflushed: Default::default(),
    };
    let snapshot = store.snapshot().unwrap();
    assert_eq!(
        (snapshot.height(), snapshot.floor(), snapshot.header().state_root),
        (201, 190, state)
    );
    assert_eq!(snapshot.receipts_at(195).unwrap().len(), 1);
}
