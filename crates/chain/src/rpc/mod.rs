//! Ethereum JSON-RPC over HTTP and WebSocket on one port.
//!
//! Promises: a committed block is final, so `latest`, `safe` and `finalized` are one, and no log is ever removed. Gas is
//! free. The newest [`RECENT_STATES`](crate::ledger::RECENT_STATES) states are served, and blocks, receipts and logs of any
//! height. Requests, batches, answers, connections and subscriptions are bounded; what is too much gets an error that says
//! so. There is no authentication and no CORS: bind it to loopback, or put something in front of it.

mod access_list;
mod api;
mod call;
mod convert;
mod error;
mod filters;
mod handlers;
mod read;
mod subscription;
mod trace;
mod trace_weight;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::RpcModule;
use jsonrpsee::server::{BatchRequestConfig, IdProvider, PingConfig, Server, ServerConfig, ServerHandle};
use jsonrpsee::types::SubscriptionId;

use crate::ledger::Ledger;
use api::{DebugServer, EthServer, NodeServer};
use handlers::Handlers;

/// Bytes of a request: a batch of some transactions of the largest size, in hexadecimal.
const MAX_REQUEST_BYTES: u32 = 2 * 1024 * 1024;

/// Bytes of an answer: as many logs as a query can return.
const MAX_RESPONSE_BYTES: u32 = 32 * 1024 * 1024;

/// HTTP and WebSocket connections.
const MAX_CONNECTIONS: u32 = 256;

/// Subscriptions of one connection.
const MAX_SUBSCRIPTIONS: u32 = 32;

/// Requests in a batch.
const MAX_BATCH: u32 = 100;

/// Messages that wait for one WebSocket client.
const MESSAGE_BUFFER: u32 = 256;

/// What the server tells about its node.
pub struct NodeInfo {
    /// Name and version, for `web3_clientVersion`.
    pub client_version: String,
    /// Connected consensus peers.
    pub peer_count: Arc<dyn Fn() -> usize + Send + Sync>,
    /// The highest block that any peer is known to have; `None` if unknown.
    pub highest_block: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
}

impl NodeInfo {
    /// A node without peers.
    pub fn alone() -> Self {
        Self {
            client_version: concat!("hanse/v", env!("CARGO_PKG_VERSION")).into(),
            peer_count: Arc::new(|| 0),
            highest_block: Arc::new(|| None),
        }
    }
}

impl std::fmt::Debug for NodeInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeInfo")
            .field("client_version", &self.client_version)
            .finish_non_exhaustive()
    }
}

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
#[error("JSON-RPC can't listen on {address}: {source}; give it another address, or stop what listens there")]
pub struct RpcStartError {
    /// Where it should listen.
    pub address: SocketAddr,
    /// What the system says.
    pub source: std::io::Error,
}

/// A running server. It stops when this is dropped.
#[derive(Debug)]
pub struct RpcHandle {
    address: SocketAddr,
    server: ServerHandle,
}

impl RpcHandle {
    /// Where it listens; the port is known even if any was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking requests, and waits until those that run are answered, for `deadline` at most.
    pub async fn shutdown(self, deadline: Duration) {
        // An error means that it has stopped already.
        let _ = self.server.stop();
        if tokio::time::timeout(deadline, self.server.stopped()).await.is_err() {
            tracing::warn!("some JSON-RPC connections did not end in time");
        }
    }
}

/// Numbers as text, as Geth gives them: some clients take subscription ids for hexadecimal.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        format!("{:#034x}", rand::random::<u128>()).into()
    }
}

/// Serves a ledger on an address; port 0 takes any free one.
pub async fn serve(ledger: Arc<Ledger>, address: SocketAddr, info: NodeInfo) -> Result<RpcHandle, RpcStartError> {
    let refused = |source| RpcStartError { address, source };
    let config = ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .max_connections(MAX_CONNECTIONS)
        .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .set_message_buffer_capacity(MESSAGE_BUFFER)
        // Clients that went away without a word are found out.
        .enable_ws_ping(PingConfig::default())
        .set_id_provider(HexIds)
        .build();
    let server = Server::builder()
        .set_config(config)
        .build(address)
        .await
        .map_err(refused)?;
    let address = server.local_addr().map_err(refused)?;
    let server = server.start(methods(ledger, info));
    tracing::info!(%address, "JSON-RPC over HTTP and WebSocket");
    Ok(RpcHandle { address, server })
}

fn methods(ledger: Arc<Ledger>, info: NodeInfo) -> RpcModule<Handlers> {
    let handlers = Handlers::new(ledger, info);
    let mut methods = NodeServer::into_rpc(handlers.clone());
    for more in [EthServer::into_rpc(handlers.clone()), DebugServer::into_rpc(handlers)] {
        methods.merge(more).expect("no method has two names");
    }
    methods
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::{Address, B256};

    use super::*;
    use crate::application::{Application, Durability};

    fn ledger(folder: &std::path::Path) -> Arc<Ledger> {
        let genesis = serde_json::json!({
            "chainId": 1, "timestamp": 0,
            "members": [{
                "account": Address::repeat_byte(0xaa), "validatorKey": B256::repeat_byte(1),
                "sealingKey": B256::repeat_byte(2), "name": "a", "consensusAddress": "/ip4/127.0.0.1/tcp/1"
            }],
            "consensusParameters": {
                "proposeMs": 400, "proposeDeltaMs": 300, "voteMs": 200, "voteDeltaMs": 150, "heartbeatMs": 5000
            }
        });
        Ledger::open(folder, &serde_json::from_value(genesis).unwrap()).unwrap()
    }

    #[test]
    fn the_page_for_users_has_all_methods_and_no_others() {
        let page = include_str!("../../../../docs/ledger-rpc.md");
        let first_column = |line: &'static str| line.strip_prefix("| `")?.split('|').next();
        let mut described: Vec<&str> = page
            .lines()
            .filter_map(first_column)
            .flat_map(|names| names.split(['`', ',', ' ']))
            .filter(|name| name.contains('_'))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let methods = methods(ledger(folder.path()), NodeInfo::alone());
        let mut served: Vec<&str> = methods.method_names().collect();
        described.sort_unstable();
        served.sort_unstable();
        assert_eq!(described, served);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_subscriber_that_does_not_read_is_dropped_with_a_notice() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path());
        let methods = methods(ledger.clone(), NodeInfo::alone());
        let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;
        let (_, mut messages) = methods.raw_json_request(subscribe, 1).await.unwrap();
        // More than the client's buffer of one and the ring of committed blocks hold.
        for _ in 0..100 {
            let block = ledger.build(Address::repeat_byte(0xaa), 0).unwrap();
            ledger.commit(&block, b"certificate", Durability::Immediate).unwrap();
        }
        let mut received = Vec::new();
        let end = async {
            while let Some(message) = messages.recv().await {
                received.push(message.to_string());
            }
        };
        tokio::time::timeout(Duration::from_secs(60), end).await.unwrap();
        assert!(received.len() < 100, "{}", received.len());
        let notice = received.last().unwrap();
        assert!(notice.contains(r#""error":"dropped: "#), "{notice}");
    }
}
