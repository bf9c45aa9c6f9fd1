//! JSON-RPC about state: proofs, access lists and traces, and for which blocks there are any.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/chain.rs"]
mod chain;
mod support;

use alloy::consensus::TrieAccount;
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::{BlockId, EIP1186AccountProofResponse, TransactionRequest};
use alloy::sol_types::{SolCall, SolError};
use alloy_trie::Nibbles;
use alloy_trie::proof::verify_proof;
use chain::{Chain, eventually};
use hanse_chain::application::Application;
use hanse_chain::ledger::RECENT_STATES;
use hanse_contracts::{Federation, genesis_addresses};
use serde_json::{Value, json};
use support::*;

async fn provider(chain: &Chain) -> DynProvider {
    let provider = ProviderBuilder::default().connect(&chain.http()).await;
    provider.unwrap().erased()
}

async fn ask(provider: &DynProvider, method: &'static str, params: Value) -> Value {
    provider.raw_request(method.into(), params).await.unwrap()
}

async fn error(provider: &DynProvider, method: &'static str, params: Value) -> (i64, String) {
    let error = provider
        .raw_request::<Value, Value>(method.into(), params)
        .await
        .unwrap_err();
    let payload = error.as_error_resp().unwrap_or_else(|| panic!("{error}"));
    (payload.code, payload.message.to_string())
}

/// Sends, and waits for the block; the transaction's hash.
async fn send(chain: &Chain, raw: &[u8]) -> B256 {
    let hash = chain.ledger.submit(raw).unwrap();
    eventually("the block", async || {
        let head = chain.ledger.head();
        head.snapshot().transaction_position(hash).unwrap()
    })
    .await;
    hash
}

/// A transaction that runs code as if it created a contract.
fn create(nonce: u64, code: &str, gas: u64) -> Vec<u8> {
    let mut transaction = call(nonce, Address::ZERO, alloy::hex::decode(code).unwrap());
    (transaction.to, transaction.gas_limit) = (TxKind::Create, gas);
    signed(&key(0), transaction).encoded_2718()
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_hold_against_the_state_root_of_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    let federation = genesis_addresses().federation;
    let before = provider.get_block(BlockId::latest()).await.unwrap().unwrap();
    send(&chain, &announce(0, 0, keccak256("a"))).await;
    let after = provider.get_block(BlockId::latest()).await.unwrap().unwrap();
    let slots: Vec<B256> = (0..8)
        .map(|slot| U256::from(slot).into())
        .chain([keccak256("none")])
        .collect();
    let mut counts = Vec::new();
    for block in [before, after] {
        for address in [federation, key(0).address(), Address::repeat_byte(0x55)] {
            let proof: EIP1186AccountProofResponse = provider
                .get_proof(address, slots.clone())
                .block_id(block.header.hash.into())
                .await
                .unwrap();
            let account = TrieAccount {
                nonce: proof.nonce,
                balance: proof.balance,
                storage_root: proof.storage_hash,
                code_hash: proof.code_hash,
            };
            let there = account != TrieAccount::default();
            assert_eq!(there, address != Address::repeat_byte(0x55));
            let leaf = there.then(|| alloy::rlp::encode(account));
            let path = Nibbles::unpack(keccak256(address));
            verify_proof(block.header.state_root, path, leaf, &proof.account_proof).unwrap();
            assert_eq!(proof.storage_proof.len(), slots.len());
            for slot in &proof.storage_proof {
                let leaf = (!slot.value.is_zero()).then(|| alloy::rlp::encode(slot.value));
                let path = Nibbles::unpack(keccak256(slot.key.as_b256()));
                verify_proof(proof.storage_hash, path, leaf, &slot.proof).unwrap();
            }
            if address == federation {
                counts.push(proof.storage_proof.iter().filter(|slot| !slot.value.is_zero()).count());
            }
        }
    }
    assert!(counts[0] < counts[1], "the announcement set a slot: {counts:?}");

    // Keys as clients write them.
    let answer = ask(
        &provider,
        "eth_getProof",
        json!([federation, ["0x0", B256::ZERO], "latest"]),
    )
    .await;
    assert_eq!(answer["storageProof"][0]["key"], "0x0");
    assert_eq!(answer["storageProof"][1]["key"], B256::ZERO.to_string());
    let many = vec![B256::ZERO; 1025];
    let (code, message) = error(&provider, "eth_getProof", json!([federation, many, "latest"])).await;
    assert!(code == -32602 && message.contains("at most 1024"), "{message}");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_change_nothing_push_no_state_out() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    let member = key(0).address();
    send(&chain, &announce(0, 0, keccak256("a"))).await;
    let hash = send(&chain, &announce(0, 1, keccak256("b"))).await;
    for _ in 0..RECENT_STATES * 2 {
        let ledger = chain.ledger.clone();
        tokio::task::spawn_blocking(move || produce(&ledger, 0)).await.unwrap();
    }
    let newest = chain.ledger.tip().height;
    assert_eq!(newest, 2 + RECENT_STATES as u64 * 2);
    // In the environment of the block that was asked for, not of the one whose view serves it.
    for height in 0..=newest {
        let count = provider.get_transaction_count(member).number(height).await.unwrap();
        assert_eq!(count, height.min(2));
        let number = TransactionRequest::default()
            .from(member)
            .input(Bytes::from_static(&alloy::hex!("435f5260205ff3")).into());
        let number = provider.call(number).block(height.into()).await.unwrap();
        assert_eq!(U256::from_be_slice(&number), U256::from(height));
    }
    assert!(ask(&provider, "debug_traceTransaction", json!([hash])).await["structLogs"].is_array());

    for nonce in 2..2 + RECENT_STATES as u64 {
        send(&chain, &announce(0, nonce, keccak256([nonce as u8]))).await;
    }
    for (method, params) in [
        ("eth_getProof", json!([member, [], "0x1"])),
        ("eth_call", json!([{"to": member}, "0x1"])),
        ("eth_getBalance", json!([member, "0x1"])),
        ("eth_createAccessList", json!([{"to": member}, "0x1"])),
        ("debug_traceTransaction", json!([hash])),
    ] {
        let (code, message) = error(&provider, method, params).await;
        assert!(
            code == -32000 && message.contains("state of block 1 is not kept"),
            "{method}: {message}"
        );
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_list_names_what_a_transaction_touches() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    let addresses = genesis_addresses();
    let input: Bytes = Federation::announceCall {
        announcement: announcement(keccak256("a")),
    }
    .abi_encode()
    .into();
    let request = json!({"from": key(0).address(), "to": addresses.federation, "input": input});
    let answer = ask(&provider, "eth_createAccessList", json!([request, "latest"])).await;
    assert!(answer["error"].is_null(), "{answer}");
    let list = answer["accessList"].as_array().unwrap();
    let touched: Vec<Address> = list
        .iter()
        .map(|item| serde_json::from_value(item["address"].clone()).unwrap())
        .collect();
    // Membership is asked of the other contract.
    assert!(
        touched.contains(&addresses.consortium) && touched.contains(&addresses.federation),
        "{answer}"
    );
    // With the list the call touches nothing else, and uses just what was said.
    let mut with_list = request.clone();
    with_list["accessList"] = answer["accessList"].clone();
    let again = ask(&provider, "eth_createAccessList", json!([with_list, "latest"])).await;
    assert_eq!(again, answer);

    let confirm: Bytes = Federation::confirmCall { id: B256::ZERO }.abi_encode().into();
    let reverting = json!({"from": key(0).address(), "to": addresses.federation, "input": confirm});
    let answer = ask(&provider, "eth_createAccessList", json!([reverting])).await;
    assert!(
        answer["error"].as_str().unwrap().contains("execution reverted"),
        "{answer}"
    );
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_show_what_a_transaction_did_and_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    let addresses = genesis_addresses();
    // The second of a block, so that the first must be executed before it.
    let raw = [announce(0, 0, keccak256("a")), announce(0, 1, keccak256("b"))];
    chain
        .ledger
        .receive_transactions(raw.iter().map(|raw| raw.clone().into()).collect());
    let hash = send(&chain, &raw[1]).await;
    let receipt = provider.get_transaction_receipt(hash).await.unwrap().unwrap();
    let calls = json!({"tracer": "callTracer", "tracerConfig": {"withLog": true}});
    let trace = ask(&provider, "debug_traceTransaction", json!([hash, calls])).await;
    assert_eq!(trace["type"], "CALL");
    assert_eq!(trace["from"], json!(key(0).address()));
    assert_eq!(trace["to"], json!(addresses.federation));
    assert_eq!(trace["gas"], json!(U256::from(2_000_000)));
    assert_eq!(trace["gasUsed"], json!(U256::from(receipt.gas_used)));
    assert_eq!(trace["calls"][0]["to"], json!(addresses.consortium));
    assert_eq!(trace["calls"][0]["type"], "STATICCALL");
    assert_eq!(trace["logs"][0]["topics"], json!(receipt.logs()[0].topics()));

    let steps = ask(&provider, "debug_traceTransaction", json!([hash])).await;
    assert_eq!(
        (&steps["failed"], &steps["gas"]),
        (&json!(false), &json!(receipt.gas_used))
    );
    let steps = steps["structLogs"].as_array().unwrap();
    assert_eq!((&steps[0]["pc"], &steps[0]["depth"]), (&json!(0), &json!(1)));
    assert!(steps.iter().any(|step| step["op"] == "STATICCALL"));

    // A call that reverts says so, with its data.
    let id = B256::repeat_byte(9);
    let confirm = Federation::confirmCall { id }.abi_encode();
    let confirm = signed(&key(0), call(2, addresses.federation, confirm)).encoded_2718();
    let hash = send(&chain, &confirm).await;
    let trace = ask(
        &provider,
        "debug_traceTransaction",
        json!([hash, {"tracer": "callTracer"}]),
    )
    .await;
    assert_eq!(trace["error"], "execution reverted");
    assert_eq!(
        trace["output"],
        json!(Bytes::from(Federation::UnknownAgreement { id }.abi_encode()))
    );

    // JUMPDEST GAS POP PUSH0 JUMP: a step for three gas. Then a loop of calls of what has no code: a frame for some 120 gas.
    let endless = [
        ("5b5a505f56", json!({}), 5_000_000),
        ("5b5f5f5f5f5f305af1505f56", calls, 20_000_000),
    ];
    for (nonce, (code, tracer, gas)) in (3..).zip(endless) {
        let hash = send(&chain, &create(nonce, code, gas)).await;
        let (code, message) = error(&provider, "debug_traceTransaction", json!([hash, tracer])).await;
        assert!(code == -32005 && message.contains("limit is 64 MiB"), "{message}");
    }

    for (params, code, text) in [
        (json!([B256::ZERO]), -32001, "not found"),
        (
            json!([hash, {"tracer": "prestateTracer"}]),
            -32602,
            "prestateTracer is not supported",
        ),
        (json!([hash, {"tracer": "{result: () => {}}"}]), -32602, "not supported"),
        (
            json!([hash, {"tracer": "callTracer", "tracerConfig": {"withLog": 3}}]),
            -32602,
            "tracerConfig",
        ),
    ] {
        let (found, message) = error(&provider, "debug_traceTransaction", params).await;
        assert!(found == code && message.contains(text), "{found} {message}");
    }
    chain.stop().await;
}
