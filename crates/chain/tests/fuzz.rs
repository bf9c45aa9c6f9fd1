//! Blocks, transactions, JSON-RPC bodies, WebSocket frames and connections to the consensus port under changed bytes.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/chain.rs"]
mod chain;
mod fuzzing;
mod processes;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alloy::primitives::keccak256;
use alloy::providers::{Provider, ProviderBuilder, RootProvider};
use chain::{Chain, DEADLINE};
use fuzzing::{fuzz, keep};
use hanse_chain::application::Application;
use hanse_chain::execution::decode::decode_block;
use hanse_chain::execution::spec::ChainRules;
use hanse_chain::genesis::Genesis;
use hanse_chain::mempool;
use hanse_chain::node::Node;
use processes::prepare;
use serde_json::json;
use support::*;

/// Nothing that is asked of a node here takes longer.
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn blocks() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 4);
    let proposer = key(0).address();
    fuzz("block", |bytes| {
        let Ok(block) = decode_block(bytes) else { return };
        // The hash of what was read is that of what was sent: nobody can vote for one and execute the other.
        assert_eq!(ledger.block_id(bytes).unwrap(), block.hash);
        // The corpus is of another time; every block in it, and all that can be made of them, must be refused in order.
        let _ = ledger.validate(proposer, bytes, now_ms());
        assert_eq!(ledger.halted(), None);
    });
    assert_eq!(produce(&ledger, 0).0.height, 1, "the ledger goes on");
}

#[test]
fn transactions() {
    let rules = ChainRules {
        chain_id: CHAIN_ID,
        gas_limit: 30_000_000,
    };
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 4);
    fuzz("transaction", |bytes| {
        let decoded = mempool::decode(&rules, bytes);
        let accepted = ledger.submit(bytes);
        assert!(decoded.is_ok() || accepted.is_err(), "taken though it does not decode");
    });
    produce(&ledger, 0);
    assert_eq!(ledger.halted(), None);
}

fn exchange(address: SocketAddr, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer in time");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn json_rpc_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 1).await;
    let address = chain.rpc.address();
    tokio::task::spawn_blocking(move || {
        fuzz("json-rpc", |body| {
            let answer = exchange(address, body);
            assert!(
                answer.starts_with(b"HTTP/1.1 "),
                "no answer to {}",
                String::from_utf8_lossy(body)
            );
        });
        let answer = exchange(address, br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#);
        assert!(
            String::from_utf8_lossy(&answer).contains("0x1267"),
            "the server is well"
        );
    })
    .await
    .unwrap();
    chain.stop().await;
}

/// A message from a client, or a part of one (RFC 6455, section 5.2).
fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A WebSocket on which these bytes follow the handshake and nothing more. What the server sends until it hangs up.
fn converse(address: SocketAddr, frames: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A server that hangs up in the middle is right.
    let _ = stream.write_all(frames);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("the connection hangs after {}", String::from_utf8_lossy(&answer))
        }
        _ => answer,
    }
}

/// Panics of the server's tasks, which nobody else would see.
static PANICS: AtomicUsize = AtomicUsize::new(0);

#[tokio::test(flavor = "multi_thread")]
async fn web_socket_frames() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        report(panic);
    }));
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 1).await;
    let address = chain.rpc.address();
    tokio::task::spawn_blocking(move || {
        fuzz("web-socket", |frames| {
            let answer = converse(address, frames);
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 101 "),
                "no handshake: {}",
                String::from_utf8_lossy(&answer)
            );
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "the server failed");
        });
        let ask = frame(0x81, [7; 4], br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#);
        let close = frame(0x88, [7; 4], &[]);
        let answer = converse(address, &[ask, close].concat());
        assert!(String::from_utf8_lossy(&answer).contains("HTTP/1.1 101 "));
    })
    .await
    .unwrap();
    let socket: RootProvider = ProviderBuilder::default().connect(&chain.ws()).await.unwrap();
    let id = tokio::time::timeout(DEADLINE, socket.get_chain_id());
    assert_eq!(id.await.expect("an answer in time").unwrap(), CHAIN_ID);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_consensus_port() {
    let folder = tempfile::tempdir().unwrap();
    let mut genesis: Genesis = genesis(1);
    genesis.consensus_parameters.heartbeat_ms = 500;
    let settings = prepare(genesis, folder.path());
    let node = Node::start(settings[0].config()).await.unwrap();
    let address = settings[0].listen;
    tokio::task::spawn_blocking(move || {
        fuzz("handshake", |bytes| {
            let mut stream = TcpStream::connect(address).expect("the port takes connections");
            // A node that hangs up in the middle is right.
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.set_read_timeout(Some(TIMEOUT));
            let mut answer = [0; 256];
            match stream.read(&mut answer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the connection hangs"),
                _ => {}
            }
        });
    })
    .await
    .unwrap();
    let mut status = node.watch_status();
    let height = node.status().height;
    let next = status.wait_for(|status| status.height > height);
    let next = tokio::time::timeout(DEADLINE, next)
        .await
        .expect("a heartbeat in time")
        .unwrap()
        .clone();
    assert_eq!((next.halted, next.engine_restarts), (None, 0));
    node.shutdown().await;
}

/// Run it when the form of messages changes: `cargo test --workspace --test fuzz write_the_corpus -- --ignored`.
#[test]
#[ignore = "writes the corpus"]
fn write_the_corpus() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path(), 4);
    let empty = ledger.build(key(0).address(), 1_700_000_000_000).unwrap();
    let transaction = announce(1, 0, keccak256("corpus"));
    ledger.submit(&transaction).unwrap();
    let full = ledger.build(key(0).address(), 1_700_000_000_000).unwrap();
    keep("block", &[("empty", empty.to_vec()), ("full", full.to_vec())]);
    keep("transaction", &[("announcement", transaction.clone())]);

    let call = |method: &str, params: serde_json::Value| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
            .to_string()
            .into_bytes()
    };
    let account = key(0).address();
    let batch = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber" },
        { "jsonrpc": "2.0", "id": "two", "method": "eth_getBlockByNumber", "params": ["latest", true] },
    ]);
    keep(
        "json-rpc",
        &[
            ("balance", call("eth_getBalance", json!([account, "latest"]))),
            (
                "call",
                call("eth_call", json!([{ "to": account, "data": "0x01020304" }, "0x0"])),
            ),
            (
                "logs",
                call(
                    "eth_getLogs",
                    json!([{ "fromBlock": "0x0", "toBlock": "latest", "topics": [null, []] }]),
                ),
            ),
            ("proof", call("eth_getProof", json!([account, ["0x0"], "latest"]))),
            (
                "send",
                call(
                    "eth_sendRawTransaction",
                    json!([format!("0x{}", hex::encode(transaction))]),
                ),
            ),
            ("fees", call("eth_feeHistory", json!(["0x4", "latest", [10.0, 50.0]]))),
            (
                "trace",
                call(
                    "debug_traceTransaction",
                    json!([keccak256("x"), { "tracer": "callTracer" }]),
                ),
            ),
            ("batch", batch.to_string().into_bytes()),
        ],
    );
    // Text, the same in pieces with a ping between, more than 125 bytes, what is no text, and the end.
    let (plain, masked) = ([0; 4], [0x5a, 0x01, 0xff, 0x80]);
    let subscribe = call("eth_subscribe", json!(["newHeads"]));
    let balance = call("eth_getBalance", json!([account, "latest"]));
    let close = frame(0x88, masked, &[0x03, 0xe8]);
    let (begin, end) = balance.split_at(40);
    let pieces = [
        frame(0x01, masked, begin),
        frame(0x89, masked, b"are you there?"),
        frame(0x80, masked, end),
    ];
    let logs = call(
        "eth_subscribe",
        json!(["logs", { "address": account, "topics": [null, [keccak256("x")]] }]),
    );
    keep(
        "web-socket",
        &[
            ("subscribe", frame(0x81, plain, &subscribe)),
            ("subscribe-logs", frame(0x81, plain, &logs)),
            ("balance", [frame(0x81, masked, &balance), close.clone()].concat()),
            ("pieces", pieces.concat()),
            ("batch", frame(0x81, plain, batch.to_string().as_bytes())),
            ("binary", frame(0x82, plain, &balance)),
            (
                "unsubscribe",
                frame(0x81, plain, &call("eth_unsubscribe", json!(["0x1"]))),
            ),
            ("close", close),
        ],
    );
    let select = b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec();
    let mut noise = select.clone();
    noise.extend([&[0, 32][..], &[9; 32]].concat());
    keep(
        "handshake",
        &[
            ("select", select),
            ("noise", noise),
            ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ],
    );
}
