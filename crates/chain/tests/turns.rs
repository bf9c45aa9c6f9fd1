//! A validator that is killed costs the others one turn, not one in four; when it is back it gets its turns again.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod processes;
mod support;

use std::time::{Duration, Instant};

use alloy::consensus::BlockHeader;
use hanse_chain::genesis::{ConsensusParameters, Genesis};
use hanse_chain::ledger::Ledger;
use hanse_chain::turns::Standings;
use processes::{Process, all, prepare};

/// Long enough that a busy machine's live members make their turns, and well above what a turn that is made takes.
const PATIENT: ConsensusParameters = ConsensusParameters {
    propose_ms: 2_000,
    propose_delta_ms: 500,
    vote_ms: 500,
    vote_delta_ms: 250,
    heartbeat_ms: 300,
};

#[test]
#[ignore = "the body of the node processes that the other test starts"]
fn node_process() {
    processes::serve();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_validator_is_passed_over_and_takes_turns_again_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = Genesis {
        consensus_parameters: PATIENT,
        ..support::genesis(4)
    };
    let settings = prepare(genesis, folder.path());
    let mut nodes: Vec<_> = settings.iter().map(Process::start).collect();
    all(&nodes.iter().collect::<Vec<_>>(), "first block", 60, |report| {
        report.height >= 1
    })
    .await;
    let dead = support::key(3).address();
    nodes.pop().unwrap().kill().await;

    // Heartbeats go on. Were the dead validator's turns waited for, every fourth of these would take two seconds.
    let killed_at = nodes.iter().map(Process::height).max().unwrap();
    let started = Instant::now();
    let alive: Vec<_> = nodes.iter().collect();
    all(&alive, "40 blocks without the fourth", 120, |report| {
        report.height >= killed_at + 40
    })
    .await;
    println!("40 blocks without the fourth validator took {:?}", started.elapsed());

    // It comes back and catches up; at the end of its probation it proposes.
    let back_at = nodes[0].height();
    nodes.push(Process::start(&settings[3]));
    let started = Instant::now();
    let mut enough = back_at + 60;
    loop {
        let everybody: Vec<_> = nodes.iter().collect();
        all(&everybody, "more blocks", 120, |report| report.height >= enough).await;
        if started.elapsed() > Duration::from_secs(40) {
            break;
        }
        enough += 20;
    }
    for node in nodes {
        node.kill().await;
    }

    let genesis = Genesis::load(&settings[0].folder.join("genesis.json")).unwrap();
    let ledger = Ledger::open(&settings[0].folder, &genesis).unwrap();
    let snapshot = ledger.head().snapshot().clone();
    let header = |height: u64| snapshot.header_at(height).unwrap().unwrap().0;
    let missed_in = |from: u64, to: u64| {
        (from..=to)
            .filter(|height| {
                let misses = |height: u64| {
                    let standings = Standings::after_block(&header(height)).unwrap();
                    let of_dead = standings.absences().iter().find(|absence| absence.member() == dead);
                    of_dead.map_or(0, |absence| absence.misses())
                };
                misses(*height) > misses(*height - 1)
            })
            .count()
    };
    let missed = missed_in(killed_at + 1, killed_at + 40);
    assert!(
        (1..=2).contains(&missed),
        "{missed} turns were missed in 40 blocks; round robin would miss ten"
    );
    let proposed = (back_at..=snapshot.height())
        .filter(|height| header(*height).beneficiary() == dead)
        .count();
    assert!(proposed > 0, "the validator that came back never proposed");
    println!("{missed} turns missed, {proposed} blocks proposed after the return");
    let last = Standings::after_block(&header(snapshot.height())).unwrap();
    assert!(
        last.absences().iter().all(|absence| absence.member() != dead),
        "it is in good standing again: {last:?}"
    );
}
