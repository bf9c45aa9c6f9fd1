//! JSON-RPC under clients that mean harm, or nothing at all: whatever they send, nothing panics, nothing hangs, and the next
//! client is served.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/chain.rs"]
mod chain;
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use alloy::primitives::{B256, hex, keccak256};
use alloy::providers::{Provider, ProviderBuilder, RootProvider};
use alloy::transports::http::reqwest::{Client, Response};
use chain::{Chain, DEADLINE, eventually};
use hanse_contracts::genesis_addresses;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METHODS: &[&str] = &[
    "web3_clientVersion",
    "web3_sha3",
    "net_version",
    "net_listening",
    "net_peerCount",
    "eth_chainId",
    "eth_syncing",
    "eth_accounts",
    "eth_blockNumber",
    "eth_gasPrice",
    "eth_maxPriorityFeePerGas",
    "eth_feeHistory",
    "eth_getBalance",
    "eth_getTransactionCount",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_getProof",
    "eth_call",
    "eth_estimateGas",
    "eth_createAccessList",
    "eth_sendRawTransaction",
    "eth_getTransactionByHash",
    "eth_getTransactionByBlockNumberAndIndex",
    "eth_getTransactionByBlockHashAndIndex",
    "eth_getTransactionReceipt",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getBlockTransactionCountByNumber",
    "eth_getBlockTransactionCountByHash",
    "eth_getUncleCountByBlockNumber",
    "eth_getUncleCountByBlockHash",
    "eth_getBlockReceipts",
    "eth_getLogs",
    "eth_newFilter",
    "eth_newBlockFilter",
    "eth_getFilterChanges",
    "eth_getFilterLogs",
    "eth_uninstallFilter",
    "eth_subscribe",
    "eth_unsubscribe",
    "debug_traceTransaction",
];

const FIELDS: &[&str] = &[
    "from",
    "to",
    "gas",
    "gasPrice",
    "maxFeePerGas",
    "maxPriorityFeePerGas",
    "value",
    "input",
    "data",
    "nonce",
    "chainId",
    "accessList",
    "type",
    "authorizationList",
    "blobVersionedHashes",
    "address",
    "storageKeys",
    "topics",
    "fromBlock",
    "toBlock",
    "blockHash",
    "blockNumber",
    "requireCanonical",
    "tracer",
    "tracerConfig",
    "withLog",
    "enableMemory",
];

/// What a malicious client makes up: values that are nearly right, at the edges, or nonsense.
struct Attacker {
    random: StdRng,
    known: Vec<String>,
}

impl Attacker {
    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.random.random_range(0..list.len())]
    }

    fn scalar(&mut self) -> Value {
        match self.random.random_range(0..12) {
            0 => Value::Null,
            1 => json!(self.random.random::<bool>()),
            2 => json!(self.random.random::<i64>()),
            3 => json!(self.random.random::<f64>() * 1e300),
            4 => json!(*self.pick(&[
                "latest",
                "pending",
                "earliest",
                "safe",
                "finalized",
                "newHeads",
                "logs",
                "callTracer"
            ])),
            5 => json!(*self.pick(&[
                "0x",
                "0x0",
                "0x1",
                "0x01",
                "-0x1",
                "",
                "0xffffffffffffffff",
                "0x10000000000000000"
            ])),
            6 | 7 => {
                let length = *self.pick(&[0, 1, 8, 19, 20, 31, 32, 33, 64, 4000]);
                let bytes: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
                json!(hex::encode_prefixed(bytes))
            }
            8 => json!("\u{0}\u{202e}𝕏"),
            _ => json!(self.pick(&self.known.clone()).clone()),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.random.random_range(0..if depth == 0 { 6 } else { 10 }) {
            6 | 7 => (0..self.random.random_range(0..5))
                .map(|_| self.value(depth - 1))
                .collect(),
            8 | 9 => {
                let mut object = Map::new();
                for _ in 0..self.random.random_range(0..6) {
                    object.insert(self.pick(FIELDS).to_string(), self.value(depth - 1));
                }
                Value::Object(object)
            }
            _ => self.scalar(),
        }
    }

    fn request(&mut self) -> Value {
        let method = *self.pick(METHODS);
        let params: Value = if self.random.random_bool(0.9) {
            (0..self.random.random_range(0..5)).map(|_| self.value(3)).collect()
        } else {
            self.value(2)
        };
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    }

    fn body(&mut self) -> Vec<u8> {
        let mut body = match self.random.random_range(0..10) {
            0 => self.value(4).to_string().into_bytes(),
            1 => json!(
                (0..self.random.random_range(0..30))
                    .map(|_| self.request())
                    .collect::<Vec<_>>()
            )
            .to_string()
            .into_bytes(),
            2 => vec![*self.pick(b"[{\"0"); self.random.random_range(1..100_000)],
            _ => self.request().to_string().into_bytes(),
        };
        // One in five is damaged.
        if self.random.random_bool(0.2) && !body.is_empty() {
            let at = self.random.random_range(0..body.len());
            match self.random.random_range(0..3) {
                0 => body.truncate(at),
                1 => body[at] = self.random.random(),
                _ => drop(body.remove(at)),
            }
        }
        body
    }
}

async fn post(client: &Client, url: &str, body: Vec<u8>) -> Result<Response, String> {
    let request = client.post(url).header("content-type", "application/json").body(body);
    request
        .timeout(DEADLINE)
        .send()
        .await
        .map_err(|error| format!("{error:?}"))
}

/// Panics in this process, wherever they are caught.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_gets_an_answer_and_the_server_goes_on() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        report(panic);
    }));
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let hash = chain.ledger.submit(&announce(0, 0, keccak256("a"))).unwrap();
    let in_block = || chain.ledger.head().snapshot().transaction_position(hash).unwrap();
    eventually("the block", async || in_block()).await;
    let federation = genesis_addresses().federation;
    let known = [
        json!(hash),
        json!(federation),
        json!(key(0).address()),
        json!(B256::ZERO),
        json!(chain.ledger.head().snapshot().hash()),
    ];
    let mut attacker = Attacker {
        random: StdRng::seed_from_u64(seed),
        known: known.iter().map(|value| value.as_str().unwrap().to_string()).collect(),
    };
    // A connection for each request: the server hangs up after a body that it refuses before it has read it all.
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let http = chain.http();
    let socket: RootProvider = ProviderBuilder::default().connect(&chain.ws()).await.unwrap();
    for _ in 0..1500 {
        let body = attacker.body();
        let shown = String::from_utf8_lossy(&body[..body.len().min(2000)]).into_owned();
        let long = body.len() > 16 * 1024;
        let answer = match post(&client, &http, body).await {
            Ok(answer) => answer,
            // Hung up while it was still being written.
            Err(_) if long => continue,
            Err(error) => panic!("{shown}: {error}"),
        };
        assert!(!answer.status().is_server_error(), "{shown}: {}", answer.status());
        let answer = answer.text().await.unwrap();
        assert!(!answer.contains("the method failed"), "{shown}: {answer}");
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{shown}");
        // The same kind of request over a connection that lasts.
        let request = attacker.request();
        let method = request["method"].as_str().unwrap().to_string();
        let answer = socket.raw_request::<Value, Value>(method.into(), request["params"].clone());
        let answer = tokio::time::timeout(DEADLINE, answer).await;
        assert!(answer.is_ok(), "no answer to {request}");
    }
    // An honest client is served as ever, over both.
    assert_eq!(socket.get_chain_id().await.unwrap(), CHAIN_ID);
    chain.ledger.submit(&announce(0, 1, keccak256("b"))).unwrap();
    let honest: RootProvider = ProviderBuilder::default().connect(&http).await.unwrap();
    eventually("the next block", async || {
        (honest.get_transaction_count(key(0).address()).await.unwrap() == 2).then_some(())
    })
    .await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_filters_and_their_size_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let (client, http) = (Client::new(), chain.http());
    let ask = async |method: &str, params: Value| -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = post(&client, &http, request.to_string().into_bytes()).await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };

    let topics: Vec<B256> = (0..1025_u64).map(|n| keccak256(n.to_be_bytes())).collect();
    for method in ["eth_getLogs", "eth_newFilter"] {
        let answer = ask(method, json!([{"topics": [topics]}])).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("1025 addresses and topics, at most 1024"), "{message}");
    }
    let mut filters = Vec::new();
    let refused = loop {
        let answer = ask("eth_newBlockFilter", json!([])).await;
        match answer["result"].as_str() {
            Some(id) => filters.push(id.to_string()),
            None => break answer,
        }
    };
    assert_eq!(
        (filters.len(), &refused["error"]["code"]),
        (1024, &json!(-32005)),
        "{refused}"
    );
    assert_eq!(ask("eth_uninstallFilter", json!([filters[0]])).await["result"], true);
    assert!(ask("eth_newBlockFilter", json!([])).await["result"].is_string());

    // Clients that connect and ask nothing keep others out only as long as they are there.
    let mut idle = Vec::new();
    for _ in 0..256 {
        let mut socket = TcpStream::connect(chain.rpc.address()).await.unwrap();
        let upgrade = "GET / HTTP/1.1\r\nHost: node\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(upgrade.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        let read = tokio::time::timeout(DEADLINE, socket.read_exact(&mut status)).await;
        read.unwrap().unwrap();
        assert_eq!(&status, b"HTTP/1.1 101");
        idle.push(socket);
    }
    let other = Client::new();
    let one = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let refused = post(&other, &http, one.to_vec()).await.unwrap();
    assert_eq!(refused.status(), 429);
    drop(idle);
    eventually("an answer", async || {
        let answer = post(&other, &http, one.to_vec()).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    chain.stop().await;
}
