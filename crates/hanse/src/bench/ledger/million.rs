//! What a store of many agreements costs, against one of few.

use alloy::primitives::{B256, Bytes};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use anyhow::{Context, ensure};
use hanse_chain::genesis::ConsensusParameters;
use hanse_contracts::{Federation, genesis_addresses};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::faults::offer;
use super::network::{Consortium, LAN};
use super::rpc::Rpc;
use super::{latency, load, offline};

/// Announcements in each block that is built.
const EACH: usize = 700;
/// Agreements in the store that the large one is compared with.
const FEW: u64 = 700;
/// How often each request is made.
const SAMPLES: u64 = 300;

/// Medians of one store.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Costs {
    pub agreements: u64,
    pub get_logs_us: u64,
    pub eth_call_us: u64,
    /// Sent → receipt, one announcement at a time.
    pub block_ms: f64,
    pub file_bytes: u64,
}

/// Both stores.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Comparison {
    pub few: Costs,
    pub many: Costs,
}

impl Comparison {
    /// How much dearer the large store is, by the worst of the three.
    pub fn ratio(&self) -> f64 {
        let ratio = |many: f64, few: f64| many / few.max(f64::MIN_POSITIVE);
        [
            ratio(self.many.get_logs_us as f64, self.few.get_logs_us as f64),
            ratio(self.many.eth_call_us as f64, self.few.eth_call_us as f64),
            ratio(self.many.block_ms, self.few.block_ms),
        ]
        .into_iter()
        .fold(0.0, f64::max)
    }
}

/// Builds and measures a store of few and one of `agreements`.
pub async fn compare(agreements: u64, progress: impl Fn(&str) + Sync) -> anyhow::Result<Comparison> {
    let few = costs(FEW.min(agreements), &progress).await?;
    let many = costs(agreements, &progress).await?;
    Ok(Comparison { few, many })
}

async fn costs(agreements: u64, progress: &(impl Fn(&str) + Sync)) -> anyhow::Result<Costs> {
    // One validator, since one copy is large enough; blocks are built with all the time they need.
    let patient = ConsensusParameters {
        propose_ms: 20_000,
        ..LAN
    };
    let consortium = Consortium::create(1, patient)?;
    let blocks = agreements.div_ceil(EACH as u64);
    let agreements = blocks * EACH as u64;
    offline::build(&consortium, blocks, EACH, |height| {
        progress(&format!("built {height} of {blocks} blocks of {EACH} agreements"));
    })
    .await?;
    let file_bytes = super::disk::used(&consortium.members[0].data())?;
    let network = consortium.start().await?;
    let rpc = network.nodes[0].rpc.clone();
    let signer = &consortium.members[0].signer;
    progress(&format!("measuring with {agreements} agreements"));
    let get_logs_us = median(agreements, |nonce| get_logs(&rpc, signer, nonce)).await?;
    let eth_call_us = median(agreements, |nonce| eth_call(&rpc, signer, nonce)).await?;
    let measured = latency::measure(offer(&consortium, &network, 10.0, SAMPLES / 20)).await?;
    ensure!(measured.lost == 0, "{} announcements were lost", measured.lost);
    network.stop().await?;
    Ok(Costs {
        agreements,
        get_logs_us,
        eth_call_us,
        block_ms: measured.quantiles()?.p50 as f64,
        file_bytes,
    })
}

/// The median time of a request about agreements spread over the whole store, in microseconds.
async fn median<F: Future<Output = anyhow::Result<()>>>(
    agreements: u64,
    request: impl Fn(u64) -> F,
) -> anyhow::Result<u64> {
    let mut micros = Vec::new();
    for sample in 0..SAMPLES {
        let started = Instant::now();
        request(sample * agreements / SAMPLES).await?;
        micros.push(u64::try_from(started.elapsed().as_micros())?);
    }
    let quantiles = crate::bench::quantiles::Quantiles::of(&micros);
    Ok(quantiles.context("there were requests")?.p50)
}

async fn get_logs(rpc: &Rpc, signer: &PrivateKeySigner, nonce: u64) -> anyhow::Result<()> {
    let id = load::id(signer.address(), nonce);
    let filter = json!([{
        "fromBlock": "earliest", "toBlock": "latest", "address": genesis_addresses().federation,
        "topics": [Federation::Announced::SIGNATURE_HASH, id],
    }]);
    let logs: Vec<Value> = rpc.call("eth_getLogs", filter).await?;
    ensure!(
        logs.len() == 1,
        "{} logs announce agreement {nonce}, one should",
        logs.len()
    );
    Ok(())
}

async fn eth_call(rpc: &Rpc, signer: &PrivateKeySigner, nonce: u64) -> anyhow::Result<()> {
    let id: B256 = load::id(signer.address(), nonce);
    let input: Bytes = Federation::agreementCall { id }.abi_encode().into();
    let output = rpc.eth_call(genesis_addresses().federation, input).await?;
    let agreement = Federation::agreementCall::abi_decode_returns(&output)?;
    ensure!(
        agreement.announcement.id == id,
        "the node answers with another agreement"
    );
    Ok(())
}
