//! Stores made of chunks, against the stores that the chunks are of.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::consensus::{BlockBody, Header};
use alloy::primitives::{Address, B256, U256, keccak256};
use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTable};

use super::install::{Base, InstallError, Newest};
use super::oracle_tests::{State, apply, bundle, changes, empty_store};
use super::{BlockWrite, ChunkStart, FILE_NAME, Rows, Staging, Store, tables};
use crate::application::Durability;
use crate::execution::decode::DecodedBlock;
use crate::execution::roots;
use crate::membership::Membership;
use crate::snapshot::follow::Follower;
use crate::snapshot::wire::HeaderPage;

/// A store whose newest block leaves this state.
fn store_of(folder: &std::path::Path, steps: &[State]) -> (Store, Header, Header) {
    let (store, genesis) = empty_store(folder);
    let (mut header, mut before) = (genesis.clone(), State::new());
    for after in steps {
        let parent = Arc::new(store.snapshot().unwrap());
        let bundle = bundle(&before, after);
        let (root, changes) = roots::apply(Some(&parent), header.state_root, bundle).unwrap();
        header = Header {
            number: header.number + 1,
            parent_hash: parent.hash(),
            state_root: root,
            ..header
        };
        let write = BlockWrite {
            header: &header,
            hash: header.hash_slow(),
            body: &BlockBody::default(),
            senders: &[],
            receipts: &[],
            certificate: Some(&[7]),
            changes: &changes,
        };
        store.commit(&write, Durability::Immediate).unwrap();
        before = after.clone();
    }
    (store, genesis, header)
}

fn chunks_of(store: &Store) -> Vec<Rows> {
    let snapshot = store.snapshot().unwrap();
    let (mut chunks, mut next) = (Vec::new(), Some(ChunkStart::FIRST));
    while let Some(start) = next {
        let (rows, after) = snapshot.chunk(start).unwrap();
        chunks.push(rows);
        next = after;
    }
    chunks
}

fn install(
    store: &Store,
    genesis: &Header,
    header: &Header,
    chunks: &[Rows],
) -> (tempfile::TempDir, Result<(), InstallError>) {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = store.snapshot().unwrap();
    let headers = (1..=header.number).map(|height| alloy::rlp::encode(snapshot.header_at(height).unwrap().unwrap().0));
    let page = HeaderPage {
        headers: headers.collect(),
        handovers: Vec::new(),
        certificate: vec![7],
    };
    let ledger = genesis.hash_slow();
    let start = Follower::resume(ledger, 0, ledger, Membership::new([]));
    let (staging, _) = Staging::open(folder.path(), &start).unwrap();
    let end = Follower::resume(ledger, header.number, header.hash_slow(), Membership::new([]));
    staging.keep_page(&page, &end).unwrap();
    let mut hashes = Vec::new();
    for rows in chunks {
        let (hash, bytes) = rows.encode();
        staging.keep_chunk(hash, &bytes).unwrap();
        hashes.push(hash);
    }
    let newest = Newest {
        block: DecodedBlock {
            header: header.clone(),
            hash: header.hash_slow(),
            body: BlockBody::default(),
        },
        senders: Vec::new(),
        receipts: Vec::new(),
    };
    let genesis = alloy::rlp::encode(genesis);
    let base = Base::New {
        ledger,
        genesis: &genesis,
        membership: None,
    };
    let result = Store::install(folder.path(), base, &staging, &newest, &hashes);
    (folder, result)
}

fn open(folder: &std::path::Path) -> Store {
    let path = folder.join(FILE_NAME);
    Store {
        database: redb::Database::open(&path).unwrap(),
        path,
        codes: Arc::default(),
        unflushed: Default::default(),
    }
}

/// Everything that makes up the state: accounts, slots, codes and trie nodes.
fn state_rows(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let transaction = store.database.begin_read().unwrap();
    let mut rows = Vec::new();
    macro_rules! collect {
        ($($table:expr),*) => {$(
            for entry in transaction.open_table($table).unwrap().iter().unwrap() {
                let (key, value) = entry.unwrap();
                rows.push((key.value().to_vec(), value.value().to_vec()));
            }
        )*};
    }
    collect!(tables::ACCOUNTS, tables::STORAGE, tables::CODES, tables::NODES);
    rows
}

fn large(accounts: u64, slots: u64) -> State {
    let of = |n: u64| {
        let slots: BTreeMap<U256, U256> = match n {
            0 => (1..=slots)
                .map(|slot| (U256::from_be_bytes(keccak256(slot.to_be_bytes()).0), U256::from(slot)))
                .collect(),
            _ => BTreeMap::new(),
        };
        (Address::from_word(keccak256(n.to_be_bytes())), (n + 1, slots))
    };
    (0..accounts).map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_store_made_of_chunks_has_the_same_state_row_by_row(blocks in changes()) {
        let mut steps = vec![State::new()];
        for block in &blocks {
            let mut next = steps.last().unwrap().clone();
            apply(&mut next, block);
            steps.push(next);
        }
        let folder = tempfile::tempdir().unwrap();
        let (store, genesis, header) = store_of(folder.path(), &steps[1..]);
        let (made, result) = install(&store, &genesis, &header, &chunks_of(&store));
        result.unwrap();
        let made = open(made.path());
        made.check_tip().unwrap();
        let (here, there) = (made.snapshot().unwrap(), store.snapshot().unwrap());
        prop_assert_eq!((here.height(), here.hash(), here.floor()), (there.height(), there.hash(), header.number));
        prop_assert_eq!(state_rows(&made), state_rows(&store));
        for height in 0..=header.number {
            prop_assert_eq!(here.header_at(height).unwrap(), there.header_at(height).unwrap());
            prop_assert_eq!(here.height_of(here.header_at(height).unwrap().unwrap().1).unwrap(), Some(height));
        }
    }

    #[test]
    fn a_state_that_is_not_that_of_the_header_makes_no_store(blocks in changes(), which in any::<prop::sample::Index>(), n in any::<u8>()) {
        let mut state = State::new();
        for block in &blocks {
            apply(&mut state, block);
        }
        let folder = tempfile::tempdir().unwrap();
        let (store, genesis, header) = store_of(folder.path(), &[state]);
        let mut chunks = chunks_of(&store);
        match which.get(&[0, 1, 2, 3]) {
            0 => match &mut chunks[0] {
                Rows::Accounts(rows) if !rows.is_empty() => drop(rows.remove(usize::from(n) % rows.len())),
                _ => return Ok(()),
            },
            1 => match chunks.iter_mut().find_map(|rows| match rows { Rows::Storage(rows) if !rows.is_empty() => Some(rows), _ => None }) {
                Some(rows) => rows[0].2[usize::from(n) % 32] ^= 1,
                None => return Ok(()),
            },
            2 => match chunks.iter_mut().find_map(|rows| match rows { Rows::Storage(rows) => Some(rows), _ => None }) {
                // Of an account that does not exist.
                Some(rows) => rows.push(([0xee; 20], [n; 32], [1; 32])),
                None => return Ok(()),
            },
            _ => match &mut chunks[0] {
                Rows::Accounts(rows) => rows.push(([0xee; 20], vec![n])),
                _ => return Ok(()),
            },
        }
        let (made, result) = install(&store, &genesis, &header, &chunks);
        prop_assert!(matches!(result, Err(InstallError::Wrong(_))), "{result:?}");
        prop_assert!(Store::is_new(made.path()), "nothing is left that looks like a ledger");
    }
}

#[test]
fn tries_that_take_many_batches_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let (store, genesis, header) = store_of(folder.path(), &[large(9000, 13_000)]);
    let chunks = chunks_of(&store);
    assert!(chunks.len() > 6, "{} chunks", chunks.len());
    let (made, result) = install(&store, &genesis, &header, &chunks);
    result.unwrap();
    assert!(state_rows(&open(made.path())) == state_rows(&store));
}

#[test]
fn a_state_that_changed_a_little_has_mostly_the_same_chunks() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let before = large(1, 40_000);
    let mut after = before.clone();
    after
        .first_entry()
        .unwrap()
        .get_mut()
        .1
        .insert(U256::from(1), U256::from(1));
    let hashes = |store: &Store| -> Vec<B256> { chunks_of(store).iter().map(|rows| rows.encode().0).collect() };
    let before = hashes(&store_of(folders[0].path(), &[before]).0);
    let after = hashes(&store_of(folders[1].path(), &[after]).0);
    let new = after.iter().filter(|hash| !before.contains(hash)).count();
    assert!(
        before.len() > 10 && (1..=3).contains(&new),
        "{new} of {} are new",
        after.len()
    );
}
