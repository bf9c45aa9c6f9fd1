//! The Consortium contract decides who validates and where: real nodes follow its changes.
#![allow(clippy::unwrap_used)]

mod processes;
mod support;

use std::time::{Duration, Instant};

use alloy::network::EthereumWallet;
use alloy::primitives::{B256, keccak256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use hanse_chain::genesis::{ConsensusParameters, Genesis};
use hanse_chain::key::ValidatorKey;
use hanse_chain::node::Node;
use hanse_contracts::{Consortium, IConsortium, genesis_addresses};
use hanse_ports::free_address;
use processes::{Settings, prepare};
use support::key;

const DEADLINE: Duration = Duration::from_secs(60);

fn consortium(node: &Node, member: u8) -> Consortium::ConsortiumInstance<DynProvider> {
    let url = format!("http://{}", node.rpc_addr()).parse().unwrap();
    support::install_cryptography();
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(key(member)))
        .connect_http(url);
    provider.client().set_poll_interval(Duration::from_millis(20));
    Consortium::new(genesis_addresses().consortium, provider.erased())
}

macro_rules! send {
    ($call:expr) => {{
        // Gas is free, and a newcomer has no coins.
        let pending = $call
            .max_fee_per_gas(0)
            .max_priority_fee_per_gas(0)
            .send()
            .await
            .unwrap();
        let receipt = pending.with_timeout(Some(DEADLINE)).get_receipt().await.unwrap();
        assert!(receipt.status());
    }};
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn all_reach(nodes: &[&Node], height: u64) {
    eventually(&format!("height {height}"), || {
        nodes.iter().all(|node| node.status().height >= height)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_admitted_validates_and_another_moves_to_a_new_address() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = ConsensusParameters {
        propose_ms: 1000,
        propose_delta_ms: 500,
        vote_ms: 500,
        vote_delta_ms: 300,
        heartbeat_ms: 1000,
    };
    let genesis = Genesis {
        consensus_parameters: parameters,
        ..support::genesis(4)
    };
    let mut settings = prepare(genesis, folder.path());
    let mut nodes = futures::future::join_all(settings.iter().map(|node| Node::start(node.config())))
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    all_reach(&nodes.iter().collect::<Vec<_>>(), 1).await;

    // Four members vote a fifth in; more than two thirds are three of them.
    let newcomer = Settings {
        folder: folder.path().join("newcomer"),
        listen: free_address().unwrap(),
        prefix: Vec::new(),
    };
    std::fs::create_dir(&newcomer.folder).unwrap();
    std::fs::copy(
        settings[0].folder.join("genesis.json"),
        newcomer.folder.join("genesis.json"),
    )
    .unwrap();
    let validator = ValidatorKey::load_or_generate(&newcomer.folder.join("validator.key")).unwrap();
    let candidate = IConsortium::MemberInfo {
        account: key(4).address(),
        validatorKey: B256::from(validator.public_key()),
        sealingKey: keccak256("sealing"),
        name: "newcomer".into(),
        consensusAddress: format!("/ip4/127.0.0.1/tcp/{}", newcomer.listen.port()),
        peerId: String::new(),
        url: String::new(),
    };
    send!(consortium(&nodes[0], 0).proposeAdmission(candidate));
    let id = consortium(&nodes[1], 1).openProposals().call().await.unwrap()[0].id;
    send!(consortium(&nodes[1], 1).approve(id));
    send!(consortium(&nodes[2], 2).approve(id));
    eventually("every node counts five validators", || {
        nodes
            .iter()
            .all(|node| node.status().validators == 5 && node.status().quorum == 4)
    })
    .await;

    nodes.push(Node::start(newcomer.config()).await.unwrap());
    let height = nodes[0].status().height;
    all_reach(&nodes.iter().collect::<Vec<_>>(), height).await;
    eventually("the newcomer is connected to all", || nodes[4].status().connected == 5).await;
    assert!(nodes[4].status().is_validator);

    // A member that moves says so first, then listens elsewhere. The four others decide meanwhile.
    let moved = free_address().unwrap();
    let own = consortium(&nodes[1], 1)
        .member(key(1).address())
        .call()
        .await
        .unwrap()
        .info;
    let address = format!("/ip4/127.0.0.1/tcp/{}", moved.port());
    send!(consortium(&nodes[1], 1).updateMember(own.sealingKey, address, own.peerId, own.url));
    let leaving = nodes.remove(1);
    leaving.shutdown().await;
    settings[1].listen = moved;
    nodes.insert(1, Node::start(settings[1].config()).await.unwrap());
    eventually("all are connected again", || {
        nodes.iter().all(|node| node.status().connected == 5)
    })
    .await;

    // With one away all four others are needed, the newcomer and the one that moved among them.
    nodes.remove(0).shutdown().await;
    send!(consortium(&nodes[3], 4).proposeRemoval(key(0).address(), false));
    let height = nodes[0].status().height;
    all_reach(&nodes.iter().collect::<Vec<_>>(), height + 1).await;
    let hashes: Vec<_> = nodes
        .iter()
        .map(|node| node.ledger().head().snapshot().header_at(height).unwrap().unwrap().1)
        .collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    futures::future::join_all(nodes.into_iter().map(Node::shutdown)).await;
}
