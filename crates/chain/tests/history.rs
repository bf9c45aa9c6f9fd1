//! Old transactions are forgotten: what clients are told then, and `kill -9` in the middle of it.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/chain.rs"]
mod chain;
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use alloy::primitives::keccak256;
use alloy::providers::{Provider, ProviderBuilder};
use alloy::rpc::types::Filter;
use hanse_chain::application::Application;
use hanse_chain::ledger::Ledger;
use hanse_chain::store::{LogQuery, StoreError};
use rand::{Rng, SeedableRng};
use support::*;

const FOLDER: &str = "HANSE_PRUNE_TEST_FOLDER";

fn fill(ledger: &Ledger, blocks: u64) {
    for nonce in 0..blocks {
        ledger
            .submit(&announce(0, nonce, keccak256(nonce.to_be_bytes())))
            .unwrap();
        produce(ledger, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_that_history_was_pruned_and_get_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 1);
    fill(&ledger, 40);
    while ledger.prune(30).unwrap() < 30 {}
    // A block with no transactions, so that the newest view is one after pruning.
    produce(&ledger, 0);
    assert_eq!(ledger.earliest(), 30);
    assert_eq!(ledger.decided(29).unwrap(), None);
    assert!(ledger.decided(30).unwrap().is_some());

    let chain = chain::Chain::with(ledger, 1).await;
    let client = ProviderBuilder::new().connect_http(chain.http().parse().unwrap());
    let pruned = |error: alloy::transports::TransportError| {
        let answer = error.as_error_resp().expect("the node answers").clone();
        assert_eq!(answer.code, 4444, "{answer}");
        assert!(answer.message.starts_with("pruned history unavailable"), "{answer}");
        assert!(answer.message.contains("from 30 on"), "{answer}");
    };
    pruned(client.get_block_by_number(12.into()).await.unwrap_err());
    pruned(client.get_block_receipts(12.into()).await.unwrap_err());
    pruned(client.get_logs(&Filter::new().from_block(0)).await.unwrap_err());
    pruned(
        client
            .get_logs(&Filter::new().from_block(29).to_block(35))
            .await
            .unwrap_err(),
    );
    assert!(
        client.get_block_by_number(0.into()).await.unwrap().is_some(),
        "block 0 has no transactions"
    );
    let block = client.get_block_by_number(30.into()).full().await.unwrap().unwrap();
    let transaction = block.transactions.hashes().next().unwrap();
    assert!(
        client
            .get_transaction_receipt(transaction)
            .await
            .unwrap()
            .unwrap()
            .status()
    );
    let logs = client.get_logs(&Filter::new().from_block(30)).await.unwrap();
    assert_eq!(logs.len(), 11, "the announcements of blocks 30 to 40");
    chain.stop().await;
}

/// Not a test of its own: what the killed process runs.
#[test]
fn child_prunes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let ledger = open(Path::new(&folder), 1);
    println!("open");
    for to in 1..ledger.tip().height {
        println!("floor {}", ledger.prune(to).unwrap());
    }
    std::thread::park_timeout(Duration::from_secs(60));
}

#[test]
fn a_node_killed_while_it_prunes_has_every_block_whole_or_gone() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 1);
    fill(&ledger, 120);
    let (tip, root) = (ledger.tip(), ledger.head().snapshot().header().state_root);
    drop(ledger);
    let mut acknowledged = 0;
    for _ in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_prunes_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let more = random.random_range(1..18);
        let mut heard = 0;
        while heard < more {
            let line = lines.next().expect("the child says how far it is").unwrap();
            if let Some((_, floor)) = line.split_once("floor ") {
                let floor: u64 = floor.parse().unwrap();
                heard += u64::from(floor > acknowledged);
                acknowledged = acknowledged.max(floor);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let ledger = open(folder.path(), 1);
        let snapshot = ledger.head().snapshot().clone();
        let floor = snapshot.floor();
        assert!(floor >= acknowledged, "{floor} {acknowledged}");
        assert_eq!((ledger.tip(), snapshot.header().state_root), (tip, root));
        for height in 1..=tip.height {
            if height < floor {
                assert_eq!(snapshot.block_at(height), Err(StoreError::Pruned { height, floor }));
            } else {
                assert_eq!(snapshot.block_at(height).unwrap().unwrap().body.transactions.len(), 1);
                assert_eq!(snapshot.receipts_at(height).unwrap().len(), 1);
            }
        }
        let query = LogQuery {
            from: floor,
            to: u64::MAX,
            ..Default::default()
        };
        assert_eq!(
            query.run(&snapshot).unwrap().len() as u64,
            tip.height - floor.max(1) + 1
        );
    }
    let ledger = open(folder.path(), 1);
    ledger.submit(&announce(0, 120, keccak256("next"))).unwrap();
    assert_eq!(produce(&ledger, 0).0.height, tip.height + 1);
}
