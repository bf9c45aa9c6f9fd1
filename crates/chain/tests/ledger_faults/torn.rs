//! Writes that reached the disk in part, and files that were damaged: a store recovers or is refused with what to do, and
//! never holds anything else than the others.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use alloy::primitives::{B256, keccak256};
use hanse_chain::application::{Application, Decided, Durability};
use hanse_chain::ledger::Ledger;
use hanse_chain::store::{FILE_NAME, OpenError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::league::{League, rounds, seeded};
use crate::processes::{Report, all};
use crate::support::{announce, key, open, produce};

const SIGABRT: i32 = 6;

/// What disks write as one.
const SECTOR: usize = 512;

/// A ledger's file before and after its last commit as a crash leaves it, its file after it was closed in order, and all its
/// blocks.
struct Recorded {
    before: Vec<u8>,
    after: Vec<u8>,
    closed: Vec<u8>,
    blocks: Vec<Decided>,
    hashes: Vec<B256>,
}

fn record(blocks: u64) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    let ledger = open(folder.path(), 4);
    let mut nonce = 0;
    let mut before = Vec::new();
    let mut hashes = vec![ledger.tip().hash];
    for height in 1..=blocks {
        for _ in 0..5 {
            let id = keccak256(nonce.to_string());
            ledger.submit(&announce(0, nonce, id)).unwrap();
            nonce += 1;
        }
        if height == blocks {
            before = std::fs::read(&file).unwrap();
        }
        hashes.push(produce(&ledger, 0).0.hash);
    }
    let after = std::fs::read(&file).unwrap();
    let blocks = (1..=blocks)
        .map(|height| ledger.decided(height).unwrap().unwrap())
        .collect();
    drop(ledger);
    let closed = std::fs::read(&file).unwrap();
    Recorded {
        before,
        after,
        closed,
        blocks,
        hashes,
    }
}

/// What came of a damaged store.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It opened and went on to the same blocks as everybody's.
    Recovered { lost: u64 },
    /// It did not open, and said what to do.
    Refused,
    /// It opened and stopped when it would have gone wrong.
    Halted,
}

/// Opens a store with this file, and commits what the others have decided.
fn fate_of(file: &[u8], recorded: &Recorded, folder: &Path) -> Fate {
    std::fs::write(folder.join(FILE_NAME), file).unwrap();
    let ledger = match Ledger::open(folder, &crate::support::genesis(4)) {
        Ok(ledger) => ledger,
        Err(error) => {
            let text = error.to_string();
            let expected = matches!(
                error,
                OpenError::Damaged { .. } | OpenError::Schema { .. } | OpenError::Foreign { .. }
            );
            assert!(expected, "{text}");
            assert!(text.contains("hanse ledger resync"), "{text}");
            return Fate::Refused;
        }
    };
    let fate = goes_on(&ledger, recorded);
    // redb writes when it closes, and panics then as well.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(ledger))) {
        Ok(()) => fate,
        Err(_) => Fate::Halted,
    }
}

fn goes_on(ledger: &Ledger, recorded: &Recorded) -> Fate {
    let tip = ledger.tip();
    let newest = recorded.blocks.len() as u64;
    assert!(tip.height <= newest, "{tip:?}");
    assert_eq!(
        tip.hash,
        recorded.hashes[usize::try_from(tip.height).unwrap()],
        "the tip is another"
    );
    for decided in &recorded.blocks[usize::try_from(tip.height).unwrap()..] {
        // What panics in a call from consensus halts the node, see `consensus::app::blocking`.
        let commit =
            std::panic::AssertUnwindSafe(|| ledger.commit(&decided.block, &decided.certificate, Durability::Immediate));
        match std::panic::catch_unwind(commit) {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Fate::Halted,
        }
    }
    assert_eq!(ledger.tip().hash, recorded.hashes[recorded.blocks.len()]);
    let next = std::panic::AssertUnwindSafe(|| ledger.build(key(0).address(), crate::support::now_ms()));
    match std::panic::catch_unwind(next) {
        Ok(Ok(_)) => Fate::Recovered {
            lost: newest - tip.height,
        },
        _ => Fate::Halted,
    }
}

/// The file of which the last commit reached the disk in part: sectors that it changed are new or old by chance.
fn tear(recorded: &Recorded, random: &mut StdRng) -> Vec<u8> {
    let (before, mut torn) = (&recorded.before, recorded.after.clone());
    let share = random.random_range(0.0..1.0);
    for start in (0..torn.len()).step_by(SECTOR) {
        let end = torn.len().min(start + SECTOR);
        if random.random_bool(share) {
            match before.get(start..end) {
                Some(old) => torn[start..end].copy_from_slice(old),
                None => torn[start..end].fill(0),
            }
        }
    }
    torn
}

#[test]
fn a_commit_that_reached_the_disk_in_part_is_there_or_not() {
    let (_, mut random) = seeded();
    let recorded = record(12);
    let folder = tempfile::tempdir().unwrap();
    let mut lost = BTreeSet::new();
    for case in 0..rounds(24) {
        let torn = tear(&recorded, &mut random);
        match fate_of(&torn, &recorded, folder.path()) {
            Fate::Recovered { lost: heights } => {
                assert!(heights <= 1, "case {case}: {heights} blocks are gone that were on disk");
                lost.insert(heights);
            }
            other => panic!("case {case}: {other:?}"),
        }
    }
    println!("TALLY torn_commits={}", rounds(24));
    assert!(lost.contains(&1), "no case tore anything");
}

/// Bytes are changed, runs are blanked, the end is missing.
fn damage(file: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..file.len());
        match random.random_range(0..4) {
            0 => file[at] ^= 1 << random.random_range(0..8),
            1 => file[at..].iter_mut().take(64).for_each(|byte| *byte = 0xff),
            2 => file[at..].iter_mut().take(8 * SECTOR).for_each(|byte| *byte = 0),
            _ => file.truncate(at.max(1)),
        }
    }
    file
}

/// The first case of the process below.
const FIRST_CASE: &str = "HANSE_DAMAGED_STORES_FROM";

/// Not a test of its own: one case after the other, each announced and judged in a line. redb aborts the process on some kinds of
/// damage, and with it whatever else runs there.
#[test]
fn child_damages_stores() {
    let Ok(first) = std::env::var(FIRST_CASE) else { return };
    let (seed, _) = seeded();
    let recorded = record(12);
    let folder = tempfile::tempdir().unwrap();
    for case in first.parse().unwrap()..rounds(40) {
        let original = if case % 2 == 0 {
            &recorded.after
        } else {
            &recorded.closed
        };
        let damaged = damage(original, &mut StdRng::seed_from_u64(seed.wrapping_add(case)));
        println!("begun {case}");
        println!("ended {:?}", fate_of(&damaged, &recorded, folder.path()));
    }
}

#[test]
fn a_damaged_store_recovers_or_is_refused_or_halts_and_never_differs() {
    let (seed, _) = seeded();
    let (mut recovered, mut refused, mut halted) = (0, 0, 0);
    let mut next = 0;
    while next < rounds(40) {
        let from = next;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "torn::child_damages_stores", "--nocapture"])
            .env("SEED", seed.to_string())
            .env(FIRST_CASE, next.to_string())
            .output()
            .unwrap();
        let (said, cried) = (
            String::from_utf8_lossy(&child.stdout),
            String::from_utf8_lossy(&child.stderr),
        );
        // What this file finds wrong counts, whatever redb does afterwards.
        assert!(
            !cried.contains("panicked at crates/chain/tests"),
            "from case {next}: {cried}"
        );
        for line in said.lines() {
            if let Some(case) = line.strip_prefix("begun ") {
                next = case.parse::<u64>().unwrap() + 1;
            }
            match line.strip_prefix("ended ") {
                Some("Refused") => refused += 1,
                Some("Halted") => halted += 1,
                Some(_) => recovered += 1,
                None => {}
            }
        }
        assert!(next > from, "the process began no case: {said}{cried}");
        if !child.status.success() {
            assert_eq!(child.status.signal(), Some(SIGABRT), "case {next}: {cried}");
            halted += 1;
        }
    }
    assert_eq!(recovered + refused + halted, rounds(40));
    println!(
        "TALLY damaged_stores={} recovered={recovered} refused={refused} halted={halted}",
        rounds(40)
    );
    assert!(refused > 0, "no damage was noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_log_of_consensus_is_recovered_from_or_refused() {
    const ALL: [usize; 4] = [0, 1, 2, 3];
    let (_, mut random) = seeded();
    let mut league = League::on_loopback(4);
    league.start_all();
    league.reach(&ALL, 2, "first blocks").await;
    let (mut recovered, mut refused) = (0, 0);
    for round in 0..rounds(4) {
        league.submit_all().await;
        tokio::time::sleep(std::time::Duration::from_millis(random.random_range(0..60))).await;
        league.kill(3).await;
        let log = league.folder(3).join("consensus/consensus.wal");
        let mut bytes = std::fs::read(&log).unwrap();
        let length = bytes.len();
        match round % 3 {
            0 => bytes.truncate(random.random_range(0..length)),
            1 => bytes[random.random_range(0..length)] ^= 1 << random.random_range(0..8),
            _ => bytes[random.random_range(0..length)..].fill(0),
        }
        std::fs::write(&log, &bytes).unwrap();
        league.start(3);
        let height = league.height();
        let settled = |report: &Report| report.height > height || report.halted.is_some() || report.refused.is_some();
        all(
            &[league.nodes[3].as_ref().unwrap()],
            "to go on or to say why not",
            60,
            settled,
        )
        .await;
        let report = league.report(3);
        match report.halted.or(report.refused) {
            None => recovered += 1,
            Some(reason) => {
                println!("{reason}");
                refused += 1;
                let tells = ["write-ahead log", "another node runs with the same key"];
                assert!(tells.iter().any(|words| reason.contains(words)), "{reason}");
                // When the others are further, the log has nothing to tell any more. What the message says takes a validator
                // longer; `tests/operation.rs` of the agent does that.
                league.reach(&[0, 1, 2], height + 2, "blocks of the others").await;
                league.kill(3).await;
                if reason.contains("resync --log") {
                    std::fs::remove_file(&log).unwrap();
                }
                league.start(3);
            }
        }
        league.all_decided().await;
    }
    println!("TALLY torn_logs={} recovered={recovered} refused={refused}", rounds(4));
    league.finish().await;
}
