//! How many announcements a second the consortium keeps up, each member sending as fast as its node takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy::primitives::Bytes;
use alloy::sol_types::SolCall;
use anyhow::{Context, bail, ensure};
use hanse_contracts::{Federation, genesis_addresses};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::load::{self, Announcement, Target};
use super::network::{Consortium, Network};
use super::rpc::Rpc;

/// Transactions in one JSON-RPC batch.
const BATCH: usize = 50;
/// Transactions of one member that wait at most: less than its node would keep.
const AHEAD: u64 = 1_000;
/// Before this, caches and pools fill.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long the rest may take to be committed.
const DRAIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);

/// What was kept up.
#[derive(Debug, Clone, Copy)]
pub struct Sustained {
    /// Committed transactions per second while they were offered.
    pub tps: f64,
    /// Sent and acknowledged, but not in the ledger.
    pub lost: u64,
}

/// Offers announcements for `seconds`, at most `fastest` a second in all.
pub async fn measure(
    consortium: &Consortium,
    network: &Network,
    seconds: u64,
    fastest: usize,
) -> anyhow::Result<Sustained> {
    let target = Target {
        chain_id: consortium.genesis.chain_id,
        federation: genesis_addresses().federation,
    };
    let each = ((seconds + WARM_UP.as_secs()) as usize * fastest).div_ceil(consortium.members.len());
    let mut signers = Vec::new();
    for (member, node) in consortium.members.iter().zip(&network.nodes) {
        let nonce = node.rpc.nonce(member.signer.address()).await?;
        signers.push((member.signer.clone(), nonce));
    }
    let first_nonces: u64 = signers.iter().map(|(_, nonce)| nonce).sum();
    let before = agreements(&network.nodes[0].rpc).await?;
    let signed = load::sign(target, signers.clone(), each).await?;

    let end = Instant::now() + WARM_UP + Duration::from_secs(seconds);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for (((signer, nonce), node), announcements) in signers.iter().zip(&network.nodes).zip(signed) {
        let (rpc, account, nonce) = (node.rpc.clone(), signer.address(), *nonce);
        let acknowledged = acknowledged.clone();
        senders.spawn(async move {
            let committed = || async { Ok::<_, anyhow::Error>(rpc.nonce(account).await? - nonce) };
            push(&rpc, &announcements, committed, &acknowledged, end).await
        });
    }
    let accounts: Vec<_> = signers.iter().map(|(signer, _)| signer.address()).collect();
    let committed = || async {
        let mut sum = 0;
        for account in &accounts {
            sum += network.nodes[0].rpc.nonce(*account).await?;
        }
        Ok::<u64, anyhow::Error>(sum - first_nonces)
    };
    sleep(WARM_UP).await;
    let (started, at_start) = (Instant::now(), committed().await?);
    tokio::time::sleep_until(end).await;
    let at_end = committed().await?;
    let tps = (at_end - at_start) as f64 / started.elapsed().as_secs_f64();

    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    let deadline = Instant::now() + DRAIN;
    while committed().await? < acknowledged && Instant::now() < deadline {
        sleep(POLL).await;
    }
    let lost = acknowledged - committed().await?;
    // What counts is in the contract, on every node, with one state root.
    let height = network.nodes[0].rpc.height().await?;
    for node in &network.nodes {
        while node.rpc.height().await? < height {
            ensure!(Instant::now() < deadline, "a node did not reach height {height}");
            sleep(POLL).await;
        }
        let counted = agreements(&node.rpc).await? - before;
        if counted + lost != acknowledged {
            bail!("{acknowledged} announcements were taken, {lost} lost, but a node counts {counted} agreements");
        }
    }
    network.common_root().await?;
    Ok(Sustained { tps, lost })
}

/// Sends one member's transactions until the end, with a bounded number under way.
async fn push<F: Future<Output = anyhow::Result<u64>>>(
    rpc: &Rpc,
    announcements: &[Announcement],
    committed: impl Fn() -> F,
    acknowledged: &AtomicU64,
    end: Instant,
) -> anyhow::Result<()> {
    let (mut sent, mut done) = (0, 0);
    while Instant::now() < end {
        let rest = &announcements[usize::try_from(sent)?..];
        if rest.is_empty() {
            bail!("all prepared transactions were sent before the end: raise --fastest");
        }
        if sent - done >= AHEAD {
            done = committed().await?;
            if sent - done >= AHEAD {
                sleep(POLL).await;
            }
            continue;
        }
        let batch: Vec<Bytes> = rest.iter().take(BATCH).map(|one| one.raw.clone()).collect();
        let outcome = rpc.send(&batch).await?;
        sent += outcome.taken as u64;
        acknowledged.fetch_add(outcome.taken as u64, Ordering::Relaxed);
        if let Some(refusal) = outcome.refusal {
            tracing::debug!(refusal, "the node sheds load");
            sleep(POLL).await;
        }
    }
    Ok(())
}

/// How many agreements the federation knows.
pub async fn agreements(rpc: &Rpc) -> anyhow::Result<u64> {
    let input = Federation::agreementCountCall {}.abi_encode();
    let output = rpc.eth_call(genesis_addresses().federation, input.into()).await?;
    let count = Federation::agreementCountCall::abi_decode_returns(&output)?;
    count.try_into().ok().context("more agreements than fit")
}
