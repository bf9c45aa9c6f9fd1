//! What consensus makes of ledgers and members that fail, on real networks over loopback.
#![allow(clippy::unwrap_used)]

mod counter;

use std::time::{Duration, Instant};

use alloy::primitives::Bytes;
use counter::{
    ALL_FOUR, Fault, Member, PARAMETERS, all_reach, assert_same_chain, eventually, league, start_all, stop_all,
};
use hanse_chain::genesis::ConsensusParameters;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Short timeouts, since these tests wait for them.
const QUICK: ConsensusParameters = ConsensusParameters {
    propose_ms: 300,
    propose_delta_ms: 100,
    vote_ms: 200,
    vote_delta_ms: 100,
    ..PARAMETERS
};

fn transaction(number: u64) -> Bytes {
    number.to_be_bytes().to_vec().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_proposes_bad_blocks_loses_its_turns_and_hinders_nobody() {
    let mut members = league(4, QUICK, ALL_FOUR);
    members[2].ledger.set_fault(Fault::BuildsBadBlocks);
    start_all(&mut members).await;
    let all: Vec<_> = members.iter().collect();
    for number in 0..12 {
        let before = members[0].ledger.height();
        members[0].ledger.submit(transaction(number));
        all_reach(&all, before + 1, 60).await;
    }
    assert_same_chain(&all);
    let faulty = alloy::primitives::Address::repeat_byte(3);
    assert!(members[0].ledger.blocks().iter().all(|block| block.proposer != faulty));
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_state_differs_halts_and_says_so_while_the_others_go_on() {
    let mut members = league(4, QUICK, ALL_FOUR);
    start_all(&mut members).await;
    all_reach(&members.iter().collect::<Vec<_>>(), 1, 60).await;
    members[1].ledger.set_fault(Fault::Diverges);
    members[0].ledger.submit(transaction(1));
    let status = members[1].consensus.as_ref().unwrap().status();
    eventually("the node halts", 60, || status.borrow().halted.is_some()).await;
    assert!(status.borrow().halted.as_ref().unwrap().contains("state root differs"));
    assert!(!status.borrow().has_quorum());
    let halted_at = members[1].ledger.height();
    let before = members[0].ledger.height();
    members[3].ledger.submit(transaction(2));
    all_reach(&[&members[0], &members[2], &members[3]], before + 1, 60).await;
    assert_eq!(members[1].ledger.height(), halted_at, "it repairs nothing");
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_whose_height_stands_still_is_restarted_and_the_chain_goes_on() {
    let mut members = league(4, PARAMETERS, ALL_FOUR);
    start_all(&mut members).await;
    all_reach(&members.iter().collect::<Vec<_>>(), 1, 60).await;
    for member in &members {
        member.ledger.set_fault(Fault::RefusesBlocks);
    }
    eventually("the watchdog restarts every engine", 120, || {
        members.iter().all(|member| member.status().engine_restarts >= 1)
    })
    .await;
    for member in &members {
        member.ledger.set_fault(Fault::None);
    }
    let before = members[0].ledger.height();
    members[0].ledger.submit(transaction(1));
    let all: Vec<_> = members.iter().collect();
    all_reach(&all, before + 1, 240).await;
    assert_same_chain(&all);
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_many_parts_are_decided_and_fetched() {
    let mut members = league(4, PARAMETERS, ALL_FOUR);
    start_all(&mut members[..3]).await;
    all_reach(&members[..3].iter().collect::<Vec<_>>(), 1, 60).await;
    // The counter ledger writes bytes as hexadecimal text: 200 KB make a block of 400 KB.
    let large: Vec<Bytes> = (0..8).map(|n| vec![n; 200_000].into()).collect();
    for transaction in &large {
        members[0].ledger.submit(transaction.clone());
    }
    eventually("all large transactions are decided", 240, || {
        members[..3].iter().all(|m| {
            large
                .iter()
                .all(|transaction| m.ledger.height_of(transaction).is_some())
        })
    })
    .await;
    let longest = members[0]
        .ledger
        .blocks()
        .iter()
        .map(|block| block.transactions.len())
        .max()
        .unwrap();
    assert!(
        longest >= 3,
        "some block took several parts, the largest had {longest} transactions"
    );
    members[3].start().await;
    let height = members[0].ledger.height();
    all_reach(&[&members[3]], height, 120).await;
    assert_same_chain(&members.iter().collect::<Vec<_>>());
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_at_any_moment_lose_nothing_and_fork_nothing() {
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut members = league(4, QUICK, ALL_FOUR);
    start_all(&mut members).await;
    let mut submitted = 0;
    for _ in 0..12 {
        for _ in 0..random.random_range(1..6) {
            members[random.random_range(0..4)].ledger.submit(transaction(submitted));
            submitted += 1;
        }
        let pause = Duration::from_millis(random.random_range(0..60));
        let until = Instant::now() + pause;
        eventually("some moment within a height", 1, || Instant::now() >= until).await;
        let victim = random.random_range(0..4);
        members[victim].stop().await;
        members[victim].start().await;
    }
    let everywhere = |members: &[Member]| {
        (0..submitted).all(|n| members.iter().all(|m| m.ledger.height_of(&transaction(n)).is_some()))
    };
    eventually("every transaction is decided on every node", 120, || {
        everywhere(&members)
    })
    .await;
    assert_same_chain(&members.iter().collect::<Vec<_>>());
    let mut counted: Vec<_> = members[0]
        .ledger
        .blocks()
        .into_iter()
        .flat_map(|block| block.transactions)
        .collect();
    let all = counted.len();
    counted.sort();
    counted.dedup();
    assert_eq!(counted.len(), all, "no transaction is decided twice");
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_damaged_log_does_not_vote_and_says_what_to_do() {
    let mut members = league(4, QUICK, ALL_FOUR);
    start_all(&mut members).await;
    all_reach(&members.iter().collect::<Vec<_>>(), 1, 60).await;
    // Without a quorum a height stays undecided, and its log keeps the votes for it.
    members[2].stop().await;
    members[3].stop().await;
    members[0].ledger.submit(transaction(1));
    let log = members[0].folder.path().join("consensus.wal");
    let undecided = members[0].ledger.height() + 1;
    eventually("votes for the undecided height are logged", 60, || {
        let bytes = std::fs::read(&log).unwrap();
        // Version, height, entries.
        bytes[4..12] == undecided.to_be_bytes() && bytes.len() > 200
    })
    .await;
    members[0].stop().await;
    let mut bytes = std::fs::read(&log).unwrap();
    *bytes.last_mut().unwrap() ^= 0xff;
    std::fs::write(&log, bytes).unwrap();

    members[0].start().await;
    eventually("the node halts", 60, || members[0].status().halted.is_some()).await;
    let reason = members[0].status().halted.unwrap();
    assert!(
        reason.contains("write-ahead log") && reason.contains("start this node again"),
        "{reason}"
    );

    members[0].stop().await;
    members[2].start().await;
    members[3].start().await;
    let before = members[1].ledger.height();
    members[1].ledger.submit(transaction(2));
    all_reach(&[&members[1], &members[2], &members[3]], before + 1, 60).await;
    members[0].start().await;
    let height = members[1].ledger.height();
    all_reach(&members.iter().collect::<Vec<_>>(), height, 60).await;
    assert_same_chain(&members.iter().collect::<Vec<_>>());
    stop_all(&mut members).await;
}
