//! What consensus promises, on real networks over loopback with the counter ledger.
#![allow(clippy::unwrap_used)]

mod counter;

use std::time::{Duration, Instant};

use alloy::primitives::Bytes;
use counter::{ALL_FOUR, Member, PARAMETERS, all_reach, assert_same_chain, eventually, league, start_all, stop_all};
use hanse_chain::consensus::ConsensusStartError;
use hanse_chain::genesis::ConsensusParameters;
use hanse_ports::free_address;

fn transaction(number: u64) -> Bytes {
    number.to_be_bytes().to_vec().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_given_to_any_node_is_decided_in_one_block_at_once() {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    let parameters = ConsensusParameters {
        heartbeat_ms: 30_000,
        ..PARAMETERS
    };
    let mut members = league(4, parameters, ALL_FOUR);
    let started = Instant::now();
    start_all(&mut members).await;
    all_reach(&members.iter().collect::<Vec<_>>(), 1, 30).await;
    println!(
        "four validators made their first block {:?} after the start",
        started.elapsed()
    );

    let rounds: u64 = std::env::var("BLOCKS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let mut latencies = Vec::new();
    for number in 0..rounds {
        let before = members[0].ledger.height();
        let submitted = Instant::now();
        members[number as usize % 4].ledger.submit(transaction(number));
        all_reach(&members.iter().collect::<Vec<_>>(), before + 1, 20).await;
        let committed = members.iter().map(|m| m.ledger.committed_at(before + 1)).max().unwrap();
        latencies.push(committed.saturating_duration_since(submitted));
    }
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "decided everywhere: p50 {:?}, p95 {:?}, p99 {:?}, max {:?}",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );

    assert_same_chain(&members.iter().collect::<Vec<_>>());
    let blocks = members[0].ledger.blocks();
    let empty = blocks.iter().filter(|block| block.transactions.is_empty()).count();
    println!("{} blocks, {empty} of them empty", blocks.len());
    // The first block is empty, and a loaded machine may time out of a round now and then.
    assert!(
        empty as u64 <= 1 + rounds / 50,
        "{empty} empty blocks for {rounds} transactions"
    );
    assert!(at(0.5) < Duration::from_millis(500), "{:?}", at(0.5));
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_chain_beats_at_its_heartbeat_and_no_faster() {
    let mut members = league(4, PARAMETERS, ALL_FOUR);
    start_all(&mut members).await;
    all_reach(&members.iter().collect::<Vec<_>>(), 6, 60).await;
    let ledger = &members[0].ledger;
    for height in 3..=6 {
        let gap = ledger
            .committed_at(height)
            .duration_since(ledger.committed_at(height - 1));
        assert!(
            gap >= Duration::from_millis(900),
            "blocks {} and {height} are {gap:?} apart",
            height - 1
        );
    }
    let status = members[2].status();
    assert_eq!((status.validators, status.connected, status.quorum), (4, 4, 3));
    assert!(status.has_quorum() && status.is_validator && status.last_block.is_some());
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_goes_on_without_one_validator_which_catches_up_when_it_returns() {
    let mut members = league(4, PARAMETERS, ALL_FOUR);
    start_all(&mut members).await;
    all_reach(&members.iter().collect::<Vec<_>>(), 1, 30).await;

    members[3].stop().await;
    for number in 0..20 {
        let before = members[0].ledger.height();
        members[number as usize % 3].ledger.submit(transaction(number));
        all_reach(&[&members[0], &members[1], &members[2]], before + 1, 60).await;
    }

    members[3].start().await;
    let height = members[0].ledger.height();
    let returned = Instant::now();
    all_reach(&[&members[3]], height, 30).await;
    println!(
        "caught up with {height} blocks {:?} after its restart",
        returned.elapsed()
    );
    // It takes part again: with another one stopped, its vote is needed.
    members[0].stop().await;
    let before = members[1].ledger.height();
    members[3].ledger.submit(transaction(1000));
    all_reach(&[&members[1], &members[2], &members[3]], before + 1, 60).await;
    assert_same_chain(&members.iter().collect::<Vec<_>>());
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_late_with_an_empty_store_fetches_the_whole_chain() {
    // Short timeouts: every fourth height waits for the one that is not there yet.
    let parameters = ConsensusParameters {
        propose_ms: 300,
        vote_ms: 200,
        ..PARAMETERS
    };
    let mut members = league(4, parameters, ALL_FOUR);
    start_all(&mut members[..3]).await;
    for number in 0..60 {
        let before = members[0].ledger.height();
        members[number as usize % 3].ledger.submit(transaction(number));
        all_reach(&[&members[0]], before + 1, 60).await;
    }
    let height = members[0].ledger.height();
    let started = Instant::now();
    members[3].start().await;
    all_reach(&[&members[3]], height, 60).await;
    println!("fetched {height} blocks in {:?}", started.elapsed());
    assert_same_chain(&members.iter().collect::<Vec<_>>());
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_leave_and_come_back_as_the_rules_of_each_height_say() {
    let schedule: counter::Schedule = |height| match height {
        ..10 => vec![0, 1, 2, 3],
        10..20 => vec![0, 1, 2],
        _ => vec![3, 0, 1, 2],
    };
    let parameters = ConsensusParameters {
        heartbeat_ms: 200,
        ..PARAMETERS
    };
    let mut members = league(4, parameters, schedule);
    start_all(&mut members).await;
    all_reach(&members.iter().collect::<Vec<_>>(), 30, 120).await;
    assert_same_chain(&members.iter().collect::<Vec<_>>());
    let proposers = |heights: std::ops::Range<usize>| {
        let blocks = members[0].ledger.blocks();
        blocks[heights]
            .iter()
            .map(|block| block.proposer.0[0])
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert!(
        !proposers(9..19).contains(&4),
        "the fourth proposes nothing while it is no member"
    );
    eventually("the fourth proposes again", 60, || {
        let blocks = members[0].ledger.blocks();
        blocks[19..].iter().any(|block| block.proposer.0[0] == 4)
    })
    .await;
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_with_the_same_key_is_refused_and_told_why() {
    let mut members = league(4, PARAMETERS, ALL_FOUR);
    members[0].start().await;
    let second = Member {
        listen: free_address().unwrap(),
        key: members[0].key.clone(),
        ..league(4, PARAMETERS, ALL_FOUR).remove(0)
    };
    let mut second = Member {
        ledger: counter::Counter::new(members[0].ledger.rules()),
        ..second
    };
    let error = second.try_start().await.unwrap_err();
    assert!(matches!(error, ConsensusStartError::DuplicateKey(_)), "{error}");
    members[0].stop().await;
    second.start().await;
    second.stop().await;
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_and_named_and_a_stopped_node_frees_its_port() {
    let mut members = league(4, PARAMETERS, ALL_FOUR);
    let holder = std::net::TcpListener::bind(members[0].listen).unwrap();
    let error = members[0].try_start().await.unwrap_err();
    assert!(error.to_string().contains(&members[0].listen.to_string()), "{error}");
    drop(holder);
    for _ in 0..3 {
        members[0].start().await;
        members[0].stop().await;
        std::net::TcpListener::bind(members[0].listen).unwrap();
    }
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_talked_to_until_it_is_admitted_and_then_validates() {
    let schedule: counter::Schedule = |height| match height {
        ..8 => vec![0, 1, 2, 3],
        _ => vec![0, 1, 2, 3, 4],
    };
    let mut members = league(5, PARAMETERS, schedule);
    start_all(&mut members).await;
    all_reach(&members[..4].iter().collect::<Vec<_>>(), 1, 30).await;
    for number in 0..5 {
        let before = members[0].ledger.height();
        members[0].ledger.submit(transaction(number));
        all_reach(&members[..4].iter().collect::<Vec<_>>(), before + 1, 60).await;
    }
    assert_eq!(
        members[4].ledger.height(),
        0,
        "nobody gives a block to a node that is no member"
    );
    assert!(!members[4].status().is_validator);
    all_reach(&members.iter().collect::<Vec<_>>(), 8, 120).await;

    // Of five, four are needed: with another one gone, the newcomer's vote is.
    members[1].stop().await;
    members[4].ledger.submit(transaction(100));
    let remaining = || {
        members
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != 1)
            .map(|(_, member)| member)
    };
    eventually("the newcomer's transaction is decided", 60, || {
        remaining().all(|member| member.ledger.height_of(&transaction(100)).is_some())
    })
    .await;
    assert_same_chain(&remaining().collect::<Vec<_>>());
    stop_all(&mut members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_that_was_lost_decides_again_soon_after_it_returns() {
    let parameters = ConsensusParameters {
        propose_ms: 400,
        propose_delta_ms: 300,
        vote_ms: 200,
        vote_delta_ms: 150,
        ..PARAMETERS
    };
    let mut members = league(4, parameters, ALL_FOUR);
    start_all(&mut members).await;
    all_reach(&members.iter().collect::<Vec<_>>(), 1, 30).await;
    members[2].stop().await;
    members[3].stop().await;
    // A block that was being decided may still be; after that nothing is, for as long as it takes rounds to get long.
    let until = Instant::now() + Duration::from_secs(8);
    eventually("the outage", 10, || Instant::now() >= until).await;
    assert!(!members[0].status().has_quorum());
    let before = members.iter().map(|member| member.ledger.height()).max().unwrap();
    members[0].ledger.submit(transaction(1));
    let returned = Instant::now();
    members[2].start().await;
    members[3].start().await;
    all_reach(&members.iter().collect::<Vec<_>>(), before + 1, 60).await;
    println!("decided {:?} after the quorum was back", returned.elapsed());
    stop_all(&mut members).await;
}
