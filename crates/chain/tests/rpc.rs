//! JSON-RPC as clients meet it: answers, errors with their codes, and bounds.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/chain.rs"]
mod chain;
mod support;

use alloy::consensus::Transaction as _;
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder, RootProvider};
use alloy::rpc::types::{Filter, TransactionRequest};
use alloy::sol_types::{SolCall, SolError};
use chain::{Chain, DEADLINE, eventually};
use hanse_chain::application::Application;
use hanse_chain::ledger::RECENT_STATES;
use hanse_contracts::{Federation, genesis_addresses};
use serde_json::{Value, json};
use support::*;

async fn provider(chain: &Chain) -> DynProvider {
    ProviderBuilder::default()
        .connect(&chain.http())
        .await
        .unwrap()
        .erased()
}

/// The code and message of the error that a method answers with.
async fn error(provider: &DynProvider, method: &'static str, params: Value) -> (i64, String) {
    let error = provider
        .raw_request::<Value, Value>(method.into(), params)
        .await
        .unwrap_err();
    let payload = error.as_error_resp().unwrap_or_else(|| panic!("{error}"));
    (payload.code, payload.message.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_tells_about_itself() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    assert_eq!(provider.get_chain_id().await.unwrap(), CHAIN_ID);
    assert_eq!(provider.get_net_version().await.unwrap(), CHAIN_ID);
    assert!(provider.get_client_version().await.unwrap().starts_with("hanse/v"));
    assert_eq!(provider.get_gas_price().await.unwrap(), 0);
    assert_eq!(provider.get_max_priority_fee_per_gas().await.unwrap(), 0);
    assert!(provider.get_accounts().await.unwrap().is_empty());
    assert_eq!(provider.get_block_number().await.unwrap(), 0);
    let syncing = provider.syncing().await.unwrap();
    assert_eq!(syncing, alloy::rpc::types::SyncStatus::None);
    assert_eq!(provider.get_sha3(b"hanse").await.unwrap(), keccak256("hanse"));
    assert_eq!(error(&provider, "eth_mining", json!([])).await.0, -32601);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_transactions_and_receipts_are_found_by_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    // Three transactions in one block: submitted together, while the pool is not looked at.
    let raw: Vec<Bytes> = (0..3)
        .map(|nonce| announce(0, nonce, keccak256([nonce as u8])).into())
        .collect();
    chain.ledger.receive_transactions(raw.clone());
    let hashes: Vec<B256> = raw.iter().map(keccak256).collect();
    let receipt = eventually("the receipt", async || {
        provider.get_transaction_receipt(hashes[2]).await.unwrap()
    })
    .await;
    let number = receipt.block_number.unwrap();
    let block = provider.get_block_by_number(number.into()).await.unwrap().unwrap();
    let full = provider
        .get_block(BlockId::from(block.header.hash))
        .full()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(block.header.hash_slow(), block.header.hash);
    assert_eq!(block.header, full.header);
    let genesis = provider
        .get_block_by_number(BlockNumberOrTag::Earliest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(genesis.header.hash, support::genesis(2).hash().unwrap());
    for tag in ["latest", "safe", "finalized", "pending"] {
        let tag: BlockNumberOrTag = tag.parse().unwrap();
        let newest = provider.get_block_by_number(tag).await.unwrap().unwrap();
        assert_eq!(newest.header.number, chain.ledger.tip().height);
    }

    let receipts = provider.get_block_receipts(number.into()).await.unwrap().unwrap();
    let count = provider
        .get_block_transaction_count_by_number(number.into())
        .await
        .unwrap();
    assert_eq!(count, Some(receipts.len() as u64));
    let by_hash = provider
        .get_block_transaction_count_by_hash(block.header.hash)
        .await
        .unwrap();
    assert_eq!(by_hash, count);
    let mut gas = 0;
    let mut log_index = 0;
    for (index, receipt) in receipts.iter().enumerate() {
        let hash = block.transactions.as_hashes().unwrap()[index];
        assert_eq!(receipt.transaction_hash, hash);
        assert_eq!(
            provider.get_transaction_receipt(hash).await.unwrap().as_ref(),
            Some(receipt)
        );
        let transaction = provider.get_transaction_by_hash(hash).await.unwrap().unwrap();
        assert_eq!(transaction, full.transactions.as_transactions().unwrap()[index]);
        let by_number = provider
            .get_transaction_by_block_number_and_index(number.into(), index)
            .await
            .unwrap();
        assert_eq!(by_number.as_ref(), Some(&transaction));
        let by_hash = provider
            .get_transaction_by_block_hash_and_index(block.header.hash, index)
            .await
            .unwrap();
        assert_eq!(by_hash.as_ref(), Some(&transaction));
        assert_eq!(transaction.inner.signer(), key(0).address());
        assert_eq!(receipt.effective_gas_price, 0);
        gas += receipt.gas_used;
        for log in receipt.logs() {
            assert_eq!(log.log_index, Some(log_index));
            assert_eq!(log.transaction_hash, Some(hash));
            log_index += 1;
        }
    }
    assert_eq!(gas, block.header.gas_used);
    assert_eq!(provider.get_transaction_receipt(B256::ZERO).await.unwrap(), None);
    assert_eq!(provider.get_transaction_by_hash(B256::ZERO).await.unwrap(), None);
    assert!(provider.get_block_by_hash(B256::ZERO).await.unwrap().is_none());
    assert!(provider.get_block_by_number(1_000_000.into()).await.unwrap().is_none());
    let history = provider
        .get_fee_history(100, BlockNumberOrTag::Latest, &[50.0])
        .await
        .unwrap();
    assert_eq!(history.oldest_block, 0);
    assert_eq!(history.base_fee_per_gas, vec![0; history.gas_used_ratio.len() + 1]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_read_at_the_newest_blocks_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    let member = key(0).address();
    let last = RECENT_STATES as u64 + 2;
    for nonce in 0..last {
        chain
            .ledger
            .submit(&announce(0, nonce, keccak256([nonce as u8])))
            .unwrap();
        eventually("the block", async || {
            (chain.ledger.tip().height == nonce + 1).then_some(())
        })
        .await;
    }
    assert_eq!(provider.get_transaction_count(member).await.unwrap(), last);
    let previous = BlockId::number(last - 1);
    assert_eq!(
        provider.get_transaction_count(member).block_id(previous).await.unwrap(),
        last - 1
    );
    let hash = provider.get_block(previous).await.unwrap().unwrap().header.hash;
    assert_eq!(
        provider
            .get_transaction_count(member)
            .block_id(hash.into())
            .await
            .unwrap(),
        last - 1
    );
    let (code, message) = error(&provider, "eth_getBalance", json!([member, "0x1"])).await;
    assert_eq!(code, -32000);
    assert!(message.contains("state of block 1 is not kept"), "{message}");
    let (code, _) = error(&provider, "eth_getBalance", json!([member, "0x1000"])).await;
    assert_eq!(code, -32001);

    let contract = genesis_addresses().federation;
    let code = provider.get_code_at(contract).await.unwrap();
    assert_eq!(code.len(), Federation::DEPLOYED_BYTECODE.len());
    assert_eq!(
        provider.get_balance(member).await.unwrap(),
        U256::from(10).pow(U256::from(18))
    );
    let slot = provider.get_storage_at(contract, U256::MAX).await.unwrap();
    assert_eq!(slot, U256::ZERO);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_estimates_tell_why_they_fail() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    let contract = genesis_addresses().federation;
    let id = B256::repeat_byte(4);
    let confirm: Bytes = Federation::confirmCall { id }.abi_encode().into();
    let request = json!({"from": key(0).address(), "to": contract, "input": confirm});
    let expected = Federation::UnknownAgreement { id }.abi_encode();
    for method in ["eth_call", "eth_estimateGas"] {
        let failure = provider
            .raw_request::<Value, Value>(method.into(), json!([request, "latest"]))
            .await
            .unwrap_err();
        let payload = failure.as_error_resp().unwrap();
        assert_eq!((payload.code, payload.message.as_ref()), (3, "execution reverted"));
        assert_eq!(payload.as_revert_data().unwrap(), expected);
    }
    let with = |extra: Value| {
        let mut request = json!({"from": key(0).address(), "to": contract, "input": confirm});
        request
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        json!([request, "latest"])
    };
    let refused = async |params: Value, code: i64, text: &str| {
        let (found, message) = error(&provider, "eth_call", params).await;
        assert!(found == code && message.contains(text), "{found} {message}");
    };
    refused(with(json!({"gas": "0x100"})), -32000, "gas").await;
    refused(
        with(json!({"value": "0xffffffffffffffffffffffff"})),
        -32000,
        "lack of funds",
    )
    .await;
    refused(with(json!({"chainId": "0x1"})), -32602, "chainId 1").await;
    refused(with(json!({"data": "0x01"})), -32602, "differ").await;
    refused(
        json!([{"to": contract}, "latest", {contract.to_string(): {"balance": "0x1"}}]),
        -32602,
        "overrides",
    )
    .await;

    // The estimate is enough, and not much more than enough.
    let input: Bytes = Federation::announceCall {
        announcement: announcement(id),
    }
    .abi_encode()
    .into();
    let announce = TransactionRequest::default()
        .from(key(0).address())
        .to(contract)
        .input(input.clone().into());
    let gas = provider.estimate_gas(announce).await.unwrap();
    let with_gas = |gas_limit| {
        let transaction = alloy::consensus::TxEip1559 {
            gas_limit,
            ..call(0, contract, input.clone())
        };
        signed(&key(0), transaction).encoded_2718()
    };
    let sent = provider.send_raw_transaction(&with_gas(gas)).await.unwrap();
    let receipt = sent.with_timeout(Some(DEADLINE)).get_receipt().await.unwrap();
    assert!(receipt.status());
    assert!(
        gas <= receipt.gas_used + receipt.gas_used / 2,
        "{gas} for {}",
        receipt.gas_used
    );
    let transfer = TransactionRequest::default()
        .from(key(0).address())
        .to(Address::repeat_byte(1));
    assert_eq!(provider.estimate_gas(transfer).await.unwrap(), 21_000);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_deployed_and_refused_transactions_tell_why() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    let mut deploy = call(
        0,
        Address::ZERO,
        hanse_contracts::federation_init_code(genesis_addresses().consortium),
    );
    (deploy.to, deploy.gas_limit) = (TxKind::Create, 20_000_000);
    let sent = provider
        .send_raw_transaction(&signed(&key(0), deploy).encoded_2718())
        .await
        .unwrap();
    let receipt = sent.with_timeout(Some(DEADLINE)).get_receipt().await.unwrap();
    let address = receipt.contract_address.unwrap();
    assert_eq!(address, key(0).address().create(0));
    let federation = Federation::new(address, provider.clone());
    assert_eq!(
        federation.consortium().call().await.unwrap(),
        genesis_addresses().consortium
    );

    let stranger = signed(&key(9), call(0, Address::ZERO, vec![])).encoded_2718();
    let (code, message) = error(&provider, "eth_sendRawTransaction", json!([Bytes::from(stranger)])).await;
    assert_eq!(code, -32000);
    assert!(message.contains("not a member of the consortium"), "{message}");
    assert_eq!(
        error(&provider, "eth_sendRawTransaction", json!(["0x00"])).await.0,
        -32602
    );

    // What waits behind a gap is seen, and counts for nothing yet.
    let waiting = signed(&key(0), call(2, Address::ZERO, vec![]));
    chain.ledger.submit(&waiting.encoded_2718()).unwrap();
    let found = provider
        .get_transaction_by_hash(*waiting.tx_hash())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.block_number, found.nonce()), (None, 2));
    assert_eq!(
        provider
            .get_transaction_count(key(0).address())
            .pending()
            .await
            .unwrap(),
        1
    );
    chain
        .ledger
        .submit(&signed(&key(0), call(1, Address::ZERO, vec![])).encoded_2718())
        .unwrap();
    let count = async || provider.get_transaction_count(key(0).address()).await.unwrap();
    eventually("both in a block", async || (count().await == 3).then_some(())).await;
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_filtered_polled_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let provider = provider(&chain).await;
    let filter = Filter::new().address(genesis_addresses().federation);
    let polled = provider.new_filter(&filter).await.unwrap();
    let blocks = provider.new_block_filter().await.unwrap();
    let mut ids = Vec::new();
    for nonce in 0..4 {
        let id = keccak256([nonce as u8]);
        ids.push(id);
        chain.ledger.submit(&announce(0, nonce, id)).unwrap();
        eventually("the block", async || {
            (chain.ledger.tip().height == nonce + 1).then_some(())
        })
        .await;
    }
    let all = provider.get_logs(&filter.clone().from_block(0)).await.unwrap();
    assert_eq!(all.iter().map(|log| log.topics()[1]).collect::<Vec<_>>(), ids);
    assert_eq!(
        provider
            .get_filter_changes::<alloy::rpc::types::Log>(polled)
            .await
            .unwrap(),
        all
    );
    assert!(
        provider
            .get_filter_changes::<alloy::rpc::types::Log>(polled)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(provider.get_filter_changes::<B256>(blocks).await.unwrap().len(), 4);
    assert!(provider.uninstall_filter(polled).await.unwrap());
    assert_eq!(
        error(&provider, "eth_getFilterChanges", json!([polled])).await.0,
        -32001
    );

    let one = provider
        .get_logs(&filter.clone().from_block(0).topic1(ids[2]))
        .await
        .unwrap();
    assert_eq!(one, all[2..3]);
    let by_hash = Filter::new().at_block_hash(all[1].block_hash.unwrap());
    assert_eq!(provider.get_logs(&by_hash).await.unwrap(), all[1..2]);
    let latest_only = provider.get_logs(&filter).await.unwrap();
    assert_eq!(latest_only, all[3..]);
    let (code, message) = error(
        &provider,
        "eth_getLogs",
        json!([{"fromBlock": "0x3", "toBlock": "0x1"}]),
    )
    .await;
    assert!(
        code == -32602 && message.contains("fromBlock 3 is after toBlock 1"),
        "{message}"
    );
    let (code, _) = error(&provider, "eth_getLogs", json!([{"blockHash": B256::ZERO}])).await;
    assert_eq!(code, -32001);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_batches_and_subscriptions_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::start(folder.path(), 2).await;
    let client = alloy::transports::http::reqwest::Client::new();
    let post = async |body: String| {
        let request = client
            .post(chain.http())
            .header("content-type", "application/json")
            .body(body);
        let response = request.timeout(DEADLINE).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}"#;
    let (_, answer) = post(format!("[{}]", vec![one; 100].join(","))).await;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&answer).unwrap().len(), 100);
    let (_, answer) = post(format!("[{}]", vec![one; 101].join(","))).await;
    assert!(answer.contains("-32010") && answer.contains("100"), "{answer}");
    // The server answers before it has read it all, and may hang up on a client that still writes.
    let large = client.post(chain.http()).header("content-type", "application/json");
    let large = large.body(" ".repeat(3 * 1024 * 1024));
    if let Ok(answer) = large.timeout(DEADLINE).send().await {
        assert_eq!(answer.status(), 413);
    }
    let (_, answer) = post("{".into()).await;
    assert!(answer.contains("-32700"), "{answer}");

    let socket: RootProvider = ProviderBuilder::default().connect(&chain.ws()).await.unwrap();
    let mut subscriptions = Vec::new();
    let refused = loop {
        // Different filters, since alloy shares one subscription among equal ones.
        let filter = Filter::new().topic1(B256::with_last_byte(subscriptions.len() as u8));
        match socket.subscribe_logs(&filter).await {
            Ok(subscription) => subscriptions.push(subscription),
            Err(refused) => break refused,
        }
    };
    assert_eq!(subscriptions.len(), 32);
    assert_eq!(refused.as_error_resp().unwrap().code, -32006, "{refused}");
    chain.stop().await;
}
