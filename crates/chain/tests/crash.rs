//! `kill -9` at any moment: what was acknowledged is there, what is there is whole.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alloy::primitives::{B256, keccak256};
use hanse_chain::application::{Application, Durability};
use hanse_chain::ledger::Ledger;
use hanse_chain::store::OpenError;
use rand::{Rng, SeedableRng};
use support::*;

const FOLDER: &str = "HANSE_CRASH_TEST_FOLDER";
/// Folder of the ledger from which the process fetches.
const SOURCE: &str = "HANSE_CRASH_TEST_SOURCE";

/// Not a test of its own: what the killed process runs. Commits blocks, and says so after each.
#[test]
fn child_commits_blocks_until_it_is_killed() {
    let (Some(folder), None) = (std::env::var_os(FOLDER), std::env::var_os(SOURCE)) else {
        return;
    };
    let ledger = open(Path::new(&folder), 4);
    println!("open");
    loop {
        let nonce = ledger
            .head()
            .snapshot()
            .account(key(0).address())
            .unwrap()
            .unwrap()
            .nonce;
        for n in 0..20 {
            let id = keccak256((nonce + n).to_be_bytes());
            ledger.submit(&announce(0, nonce + n, id)).unwrap();
        }
        let (tip, _) = produce(&ledger, 0);
        println!("committed {} {}", tip.height, tip.hash);
    }
}

fn child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_commits_blocks_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: fetches what another ledger has, and says how far that would survive a crash.
#[test]
fn child_fetches_blocks_until_it_is_killed() {
    let (Some(folder), Some(source)) = (std::env::var_os(FOLDER), std::env::var_os(SOURCE)) else {
        return;
    };
    let (ledger, source) = (open(Path::new(&folder), 4), open(Path::new(&source), 4));
    loop {
        let Some(decided) = source.decided(ledger.tip().height + 1).unwrap() else {
            std::thread::park();
            continue;
        };
        let tip = ledger
            .commit(&decided.block, &decided.certificate, Durability::Deferred)
            .unwrap();
        if tip.height.is_multiple_of(7) {
            ledger.flush().unwrap();
            println!("flushed {}", tip.height);
        }
    }
}

#[test]
fn fetched_blocks_that_were_flushed_survive_and_the_others_leave_nothing_behind() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let (folder, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = open(source.path(), 4);
    for nonce in 0..70 {
        ledger
            .submit(&announce(0, nonce, keccak256(nonce.to_be_bytes())))
            .unwrap();
        produce(&ledger, 0);
    }
    drop(ledger);
    let mut reached = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_fetches_blocks_until_it_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(SOURCE, source.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let flushed = lines
            .by_ref()
            .filter_map(|line| Some(line.split_once("flushed ")?.1.trim().parse::<u64>().unwrap()))
            .find(|height| *height >= 14 * round)
            .unwrap();
        // Within the blocks that were not flushed yet.
        let killed_at = Instant::now() + Duration::from_micros(random.random_range(0..5000));
        while Instant::now() < killed_at {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let (fetched, whole) = (open(folder.path(), 4), open(source.path(), 4));
        let tip = fetched.tip();
        assert!(tip.height >= flushed, "{tip:?}, flushed {flushed}");
        let there = whole.head().snapshot().header_at(tip.height).unwrap().unwrap();
        assert_eq!(there.1, tip.hash);
        reached = tip.height;
    }
    assert!(reached >= 56);
}

#[test]
fn nothing_acknowledged_is_lost() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = (0, genesis(4).hash().unwrap());
    for _ in 0..8 {
        let mut child = child(folder.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, receiver) = std::sync::mpsc::sync_channel(1000);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut words = line.split(' ').skip_while(|word| *word != "committed");
                if let (Some(_), Some(height), Some(hash)) = (words.next(), words.next(), words.next()) {
                    let hash: B256 = hash.parse().unwrap();
                    sender.send((height.parse::<u64>().unwrap(), hash)).unwrap();
                }
            }
        });
        // At least one block, then any moment of the following ones.
        acknowledged = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        let _ = receiver.recv_timeout(Duration::from_millis(random.random_range(0..40)));
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        acknowledged = receiver.try_iter().last().unwrap_or(acknowledged);

        let ledger = open(folder.path(), 4);
        let tip = ledger.tip();
        assert!(tip.height >= acknowledged.0, "{tip:?} {acknowledged:?}");
        let at = ledger.head().snapshot().header_at(acknowledged.0).unwrap().unwrap();
        assert_eq!(at.1, acknowledged.1);
    }
    // What is there is what the blocks make: another ledger executes them all to the same tip.
    let other = tempfile::tempdir().unwrap();
    let (ledger, other) = (open(folder.path(), 4), open(other.path(), 4));
    for height in 1..=ledger.tip().height {
        let decided = ledger.decided(height).unwrap().unwrap();
        other
            .commit(&decided.block, &decided.certificate, Durability::Immediate)
            .unwrap();
    }
    assert_eq!(other.tip(), ledger.tip());
    assert!(ledger.tip().height >= acknowledged.0.max(8));
    assert_eq!(produce(&ledger, 0).0.height, other.tip().height + 1);
}

#[test]
fn a_store_can_be_open_once_only() {
    let folder = tempfile::tempdir().unwrap();
    let _ledger = open(folder.path(), 1);
    let error = Ledger::open(folder.path(), &genesis(1)).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

#[test]
fn the_store_of_another_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), 1));
    let error = Ledger::open(folder.path(), &genesis(2)).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(open(folder.path(), 1).tip().height, 0);
}

#[test]
fn a_damaged_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(hanse_chain::store::FILE_NAME);
    std::fs::write(&file, b"this is no store at all, but some other file").unwrap();
    let error = Ledger::open(folder.path(), &genesis(1)).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_truncated_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), 1));
    let file = folder.path().join(hanse_chain::store::FILE_NAME);
    let length = std::fs::metadata(&file).unwrap().len();
    let file = std::fs::File::options().write(true).open(&file).unwrap();
    file.set_len(length / 2).unwrap();
    let error = Ledger::open(folder.path(), &genesis(1)).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_store_whose_newest_block_is_incomplete_tells_the_last_good_height() {
    const CERTIFICATES: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("certificates");
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 1);
    for _ in 0..3 {
        produce(&ledger, 0);
    }
    drop(ledger);
    let database = redb::Database::open(folder.path().join(hanse_chain::store::FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(CERTIFICATES).unwrap().remove(3).unwrap();
    transaction.commit().unwrap();
    drop(database);
    match Ledger::open(folder.path(), &genesis(1)).unwrap_err() {
        error @ OpenError::Damaged { good, .. } => {
            assert_eq!((good.block, good.state), (Some(2), Some(3)));
            assert!(
                error.to_string().contains("block 2 is the newest that is whole"),
                "{error}"
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_folder_that_can_not_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Ledger::open(&file.join("below"), &genesis(1)).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}
