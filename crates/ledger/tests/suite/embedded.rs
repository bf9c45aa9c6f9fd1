//! The embedded ledger as counterpart: whole nodes with consensus between them, reached over JSON-RPC like any other
//! chain.

use std::time::Duration;

use alloy::primitives::{B256, keccak256};
use hanse_chain::genesis::{ConsensusParameters, Genesis, MemberInfo};
use hanse_chain::key::ValidatorKey;
use hanse_chain::node::{Node, NodeConfig};
use hanse_contracts::genesis_addresses;
use hanse_ledger::{Addresses, PrivateKeySigner};
use hanse_ports::free_address;
use tempfile::TempDir;
use url::Url;

use crate::league::{League, eventually, test_key, unix_now};

/// Four nodes of four members in this process.
pub struct Embedded {
    nodes: Vec<Node>,
    members: Vec<PrivateKeySigner>,
    _folder: TempDir,
}

impl Embedded {
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let members: Vec<_> = (0..4).map(test_key).collect();
        let keys: Vec<_> = (0..members.len()).map(|_| ValidatorKey::generate()).collect();
        let listen: Vec<_> = keys.iter().map(|_| free_address().expect("a free port")).collect();
        let genesis = Genesis {
            chain_id: 4711,
            timestamp: unix_now() - 1,
            gas_limit: 200_000_000,
            members: (0..members.len())
                .map(|index| MemberInfo {
                    account: members[index].address(),
                    validator_key: B256::from(keys[index].public_key()),
                    sealing_key: keccak256([index as u8]),
                    name: format!("domain-{index}"),
                    consensus_address: format!("/ip4/127.0.0.1/tcp/{}", listen[index].port()),
                    peer_id: String::new(),
                    url: String::new(),
                })
                .collect(),
            consensus_parameters: ConsensusParameters {
                propose_ms: 400,
                propose_delta_ms: 300,
                vote_ms: 200,
                vote_delta_ms: 150,
                heartbeat_ms: 5000,
            },
            balances: Default::default(),
        };
        let mut nodes = Vec::new();
        for (index, key) in keys.into_iter().enumerate() {
            let config = NodeConfig {
                data_dir: folder.path().join(index.to_string()),
                genesis: genesis.clone(),
                keys: key.into(),
                consensus_listen: listen[index],
                rpc_listen: "127.0.0.1:0".parse().expect("an address"),
                bootstrap: Vec::new(),
            };
            nodes.push(Node::start(config).await.expect("the node starts"));
        }
        eventually("the nodes make blocks", 60, async || {
            nodes.iter().all(|node| node.status().height > 0)
        })
        .await;
        Self {
            nodes,
            members,
            _folder: folder,
        }
    }

    /// Reached by these schemes, the first at the first node and so on.
    pub fn league(&self, schemes: &[&str]) -> League {
        let url =
            |scheme: &str, node: &Node| -> Url { format!("{scheme}://{}", node.rpc_addr()).parse().expect("a URL") };
        let urls = schemes
            .iter()
            .zip(&self.nodes)
            .map(|(scheme, node)| url(scheme, node))
            .collect();
        let Addresses { consortium, federation } = genesis_addresses();
        let addresses = Addresses { consortium, federation };
        League::new(
            urls,
            url("http", self.nodes.last().expect("there are four")),
            addresses,
            self.members.clone(),
            test_key(4),
        )
    }

    /// Stops the node that clients use first.
    pub async fn stop_first(&mut self) {
        tokio::time::timeout(Duration::from_secs(30), self.nodes.remove(0).shutdown())
            .await
            .expect("the node stops");
    }

    pub async fn stop(self) {
        for node in self.nodes {
            tokio::time::timeout(Duration::from_secs(30), node.shutdown())
                .await
                .expect("the node stops");
        }
    }
}
