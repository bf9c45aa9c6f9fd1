//! Whole nodes: the real ledger under real consensus, each in a process of its own. What becomes of them when they are
//! killed is in `faults`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod processes;
mod support;

use std::time::{Duration, Instant};

use alloy::primitives::B256;
use alloy::providers::{Provider, ProviderBuilder};
use hanse_chain::consensus::ConsensusStartError;
use hanse_chain::genesis::{ConsensusParameters, Genesis};
use hanse_chain::node::{Node, StartError};
use processes::{Process, all, assert_same_ledgers, prepare};

const LAN: ConsensusParameters = ConsensusParameters {
    propose_ms: 400,
    propose_delta_ms: 300,
    vote_ms: 200,
    vote_delta_ms: 150,
    heartbeat_ms: 5000,
};

fn genesis(parameters: ConsensusParameters) -> Genesis {
    Genesis {
        consensus_parameters: parameters,
        ..support::genesis(4)
    }
}

fn id(member: u8, nonce: u64) -> B256 {
    B256::from_slice(&[&[member; 24][..], &nonce.to_be_bytes()].concat())
}

#[test]
#[ignore = "the body of the node processes that the other tests start"]
fn node_process() {
    processes::serve();
}

#[tokio::test(flavor = "multi_thread")]
async fn four_nodes_take_transactions_from_every_member_and_agree() {
    let folder = tempfile::tempdir().unwrap();
    let settings = prepare(genesis(LAN), folder.path());
    let started = Instant::now();
    let mut nodes: Vec<_> = settings.iter().map(Process::start).collect();
    all(&nodes.iter().collect::<Vec<_>>(), "first block", 60, |report| {
        report.height >= 1
    })
    .await;
    println!(
        "four processes decided their first block {:?} after their start",
        started.elapsed()
    );

    let mut latencies = Vec::new();
    for number in 0..100u64 {
        let member = (number % 4) as u8;
        let before = nodes[0].height();
        let submitted = Instant::now();
        nodes[usize::from(member)]
            .submit(&support::announce(member, number / 4, id(member, number / 4)))
            .await;
        all(&nodes.iter().collect::<Vec<_>>(), "the next block", 60, |report| {
            report.height > before
        })
        .await;
        latencies.push(submitted.elapsed());
    }
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "from submission to four commits: p50 {:?}, p95 {:?}, p99 {:?}",
        at(0.5),
        at(0.95),
        at(0.99)
    );
    assert!(at(0.5) < Duration::from_secs(1), "{:?}", at(0.5));

    // What one node took and all decided, every node serves.
    for node in &nodes {
        let url = node.report.borrow().rpc.parse().unwrap();
        support::install_cryptography();
        let provider = ProviderBuilder::new().connect_http(url);
        assert_eq!(
            provider.get_transaction_count(support::key(2).address()).await.unwrap(),
            25
        );
        assert!(provider.get_block_number().await.unwrap() >= 101);
    }

    let height = nodes[0].height();
    let before: Vec<_> = nodes.iter().map(Process::processor_time).collect();
    let idle_from = Instant::now();
    all(&nodes.iter().collect::<Vec<_>>(), "two heartbeats", 60, |report| {
        report.height >= height + 2
    })
    .await;
    let seconds = idle_from.elapsed().as_secs_f64();
    for (node, before) in nodes.iter().zip(before) {
        let used = (node.processor_time() - before).as_secs_f64();
        let ((all, own), share) = (node.resident(), 100.0 * used / seconds);
        println!(
            "idle: {share:.1} % of a core; {} MB resident, {} MB of it data",
            all / 1_000_000,
            own / 1_000_000
        );
        assert!(used / seconds < 0.2, "an idle node uses {used} s of {seconds} s");
    }
    for node in nodes.drain(..) {
        node.kill().await;
    }
    assert_same_ledgers(&settings, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_node_from_starting_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let settings = prepare(genesis(LAN), folder.path());
    let running = Node::start(settings[0].config()).await.unwrap();

    let error = Node::start(settings[0].config()).await.unwrap_err();
    assert!(matches!(error, StartError::Store(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");

    let mut twin = settings[0].config();
    twin.data_dir = folder.path().join("twin");
    let error = Node::start(twin).await.unwrap_err();
    assert!(
        matches!(error, StartError::Consensus(ConsensusStartError::DuplicateKey(_))),
        "{error}"
    );
    assert!(error.to_string().contains("stop the other node"), "{error}");

    let mut neighbour = settings[1].config();
    neighbour.consensus_listen = settings[0].listen;
    let error = Node::start(neighbour).await.unwrap_err();
    assert!(
        matches!(error, StartError::Consensus(ConsensusStartError::Listen { .. })),
        "{error}"
    );
    assert!(
        error.to_string().contains(&settings[0].listen.port().to_string()),
        "{error}"
    );

    let mut crowded = settings[1].config();
    crowded.rpc_listen = running.rpc_addr();
    let error = Node::start(crowded).await.unwrap_err();
    assert!(matches!(error, StartError::Rpc(_)), "{error}");
    assert!(error.to_string().contains(&running.rpc_addr().to_string()), "{error}");

    running.shutdown().await;
    let mut foreign = settings[0].config();
    foreign.genesis.chain_id += 1;
    let error = Node::start(foreign).await.unwrap_err();
    assert!(error.to_string().contains("another ledger"), "{error}");

    let mut lost = settings[0].config();
    lost.bootstrap = vec!["/ip4/127.0.0.1/tcp/1".into()];
    let error = Node::start(lost).await.unwrap_err();
    assert!(matches!(error, StartError::BootstrapPeer { .. }), "{error}");

    // None of this has left a lock or a port behind.
    Node::start(settings[0].config()).await.unwrap().shutdown().await;
    Node::start(settings[1].config()).await.unwrap().shutdown().await;
}
