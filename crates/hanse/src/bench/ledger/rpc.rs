//! The few JSON-RPC calls of the bench, over HTTP with batches, and new heads over WebSocket.

use std::net::SocketAddr;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64};
use alloy::providers::{Provider, ProviderBuilder, WsConnect};
use alloy::rpc::types::Header;
use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Heads that wait for their reader.
const HEADS: usize = 1024;

/// A client of one node.
#[derive(Clone)]
pub struct Rpc {
    http: reqwest::Client,
    address: SocketAddr,
}

/// What the bench reads of a block.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockPage {
    pub state_root: B256,
}

/// What the bench reads of a receipt.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptPage {
    pub transaction_hash: B256,
    pub status: U64,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    id: usize,
    result: Option<Value>,
    error: Option<Value>,
}

impl Rpc {
    pub fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .context("no HTTP client")?;
        Ok(Self { http, address })
    }

    async fn post<T: DeserializeOwned>(&self, body: &Value) -> anyhow::Result<T> {
        let answer = self.http.post(format!("http://{}", self.address)).json(body).send();
        Ok(answer.await?.json().await?)
    }

    /// One request.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> anyhow::Result<T> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Answer = self.post(&body).await?;
        if let Some(error) = answer.error {
            return Err(anyhow!("{method}: {error}"));
        }
        serde_json::from_value(answer.result.unwrap_or_default()).with_context(|| method.to_owned())
    }

    pub async fn height(&self) -> anyhow::Result<u64> {
        Ok(self.call::<U64>("eth_blockNumber", json!([])).await?.to())
    }

    pub async fn block(&self, height: u64) -> anyhow::Result<BlockPage> {
        let page: Option<BlockPage> = self
            .call("eth_getBlockByNumber", json!([U64::from(height), false]))
            .await?;
        page.with_context(|| format!("there is no block {height}"))
    }

    pub async fn receipts(&self, height: u64) -> anyhow::Result<Vec<ReceiptPage>> {
        self.call("eth_getBlockReceipts", json!([U64::from(height)])).await
    }

    pub async fn nonce(&self, account: Address) -> anyhow::Result<u64> {
        let nonce: U64 = self.call("eth_getTransactionCount", json!([account, "latest"])).await?;
        Ok(nonce.to())
    }

    pub async fn eth_call(&self, to: Address, input: Bytes) -> anyhow::Result<Bytes> {
        self.call("eth_call", json!([{ "to": to, "input": input }, "latest"]))
            .await
    }

    /// Sends signed transactions as one JSON-RPC batch. Returns how many of the first were taken; a refusal ends the count,
    /// since what follows in nonce order can't be used before it.
    pub async fn send(&self, raw: &[Bytes]) -> anyhow::Result<Sent> {
        let batch: Vec<Value> = raw
            .iter()
            .enumerate()
            .map(|(id, raw)| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_sendRawTransaction", "params": [raw] }))
            .collect();
        let mut answers: Vec<Answer> = self.post(&Value::from(batch)).await?;
        answers.sort_by_key(|answer| answer.id);
        let taken = answers.iter().take_while(|answer| answer.error.is_none()).count();
        let refusal = answers.get(taken).and_then(|answer| answer.error.as_ref());
        Ok(Sent {
            taken,
            refusal: refusal.map(Value::to_string),
        })
    }

    /// Heights of new blocks as the node tells them. The subscription stands when this returns.
    pub async fn heads(&self) -> anyhow::Result<mpsc::Receiver<u64>> {
        let provider = ProviderBuilder::new()
            .connect_ws(WsConnect::new(format!("ws://{}", self.address)))
            .await?;
        let mut subscription = provider.subscribe_blocks().await?;
        let (sender, receiver) = mpsc::channel(HEADS);
        tokio::spawn(async move {
            // The subscription lives as long as its provider.
            let _provider = provider;
            while let Ok(Header { inner, .. }) = subscription.recv().await {
                if sender.send(inner.number).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

/// What became of a batch of transactions.
pub struct Sent {
    /// How many of the first were taken.
    pub taken: usize,
    /// Why the next one was not.
    pub refusal: Option<String>,
}
