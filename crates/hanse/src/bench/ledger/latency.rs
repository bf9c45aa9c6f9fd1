//! From sending a transaction to its receipt on every node, at a fixed rate whatever the answers (open loop).

use std::collections::HashMap;
use std::time::Duration;

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::load::{self, Target};
use super::rpc::Rpc;
use crate::bench::quantiles::Quantiles;

/// How long the last transactions may take.
const GRACE: Duration = Duration::from_secs(20);

/// What one measurement gives.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Milliseconds of each transaction that became final on all nodes.
    pub millis: Vec<u64>,
    /// Transactions that were sent but had no receipt on all nodes in time.
    pub lost: usize,
}

impl Measured {
    pub fn quantiles(&self) -> anyhow::Result<Quantiles> {
        Quantiles::of(&self.millis).context("no transaction became final")
    }
}

/// What is offered, to whom.
pub struct Offer<'a> {
    pub target: Target,
    /// Each sender with the node that takes its transactions.
    pub senders: Vec<(&'a PrivateKeySigner, Rpc)>,
    /// All nodes that must have the receipt.
    pub nodes: Vec<Rpc>,
    /// Transactions a second, of all senders together.
    pub rate: f64,
    pub seconds: u64,
}

/// A node that has a block with these transactions.
struct Sighting {
    hashes: Vec<B256>,
    at: Instant,
}

/// Offers transactions and waits for their receipts.
pub async fn measure(offer: Offer<'_>) -> anyhow::Result<Measured> {
    let total = (offer.rate * offer.seconds as f64).ceil() as usize;
    let each = total.div_ceil(offer.senders.len());
    let mut signers = Vec::new();
    for (signer, rpc) in &offer.senders {
        signers.push(((*signer).clone(), rpc.nonce(signer.address()).await?));
    }
    let signed = load::sign(offer.target, signers, each).await?;

    let (sightings, mut seen) = mpsc::channel(1024);
    let mut watchers = JoinSet::new();
    for node in &offer.nodes {
        watchers.spawn(watch(node.clone(), node.heads().await?, sightings.clone()));
    }
    drop(sightings);

    let wanted = offer.nodes.len();
    let mut outstanding: HashMap<B256, (Instant, usize)> = HashMap::new();
    let mut millis = Vec::with_capacity(total);
    let mut sends = JoinSet::new();
    let mut tick = interval(Duration::from_secs_f64(1.0 / offer.rate));
    // Late ticks are made up for: the load is offered whatever the nodes do.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut next = 0;
    let mut deadline = Instant::now() + Duration::from_secs(offer.seconds) + GRACE;
    while next < total || !outstanding.is_empty() {
        tokio::select! {
            due = tick.tick(), if next < total => {
                let sender = next % offer.senders.len();
                let announcement = signed[sender][next / offer.senders.len()].clone();
                outstanding.insert(announcement.hash, (due, 0));
                let rpc = offer.senders[sender].1.clone();
                sends.spawn(async move { rpc.send(&[announcement.raw]).await });
                next += 1;
                if next == total {
                    deadline = Instant::now() + GRACE;
                }
            }
            Some(sent) = sends.join_next() => {
                if let Some(refusal) = sent??.refusal {
                    bail!("a transaction was refused: {refusal}");
                }
            }
            sighting = timeout_at(deadline, seen.recv()) => {
                let Ok(sighting) = sighting else { break };
                let Sighting { hashes, at } = sighting.context("no node tells of its blocks any more")?;
                for hash in hashes {
                    let Some((sent, nodes)) = outstanding.get_mut(&hash) else { continue };
                    *nodes += 1;
                    if *nodes == wanted {
                        millis.push(u64::try_from((at - *sent).as_millis())?);
                        outstanding.remove(&hash);
                    }
                }
            }
            Some(watched) = watchers.join_next() => watched??,
        }
    }
    Ok(Measured {
        millis,
        lost: outstanding.len(),
    })
}

/// Fetches the receipts of each new block; they are final when the answer is there.
async fn watch(rpc: Rpc, mut heads: mpsc::Receiver<u64>, sightings: mpsc::Sender<Sighting>) -> anyhow::Result<()> {
    while let Some(height) = heads.recv().await {
        let receipts = rpc.receipts(height).await?;
        let at = Instant::now();
        if receipts.iter().any(|receipt| receipt.status.is_zero()) {
            bail!("an announcement was reverted");
        }
        let hashes = receipts.into_iter().map(|receipt| receipt.transaction_hash).collect();
        if sightings.send(Sighting { hashes, at }).await.is_err() {
            return Ok(());
        }
    }
    bail!("a node ended its subscription")
}
