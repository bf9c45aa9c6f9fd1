//! The latency while one of the validators is dead, and the time that a node needs to catch up.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};

use super::latency::{self, Measured, Offer};
use super::network::{Consortium, LAN, Network, Process};
use super::offline;

const REJOIN_WITHIN: Duration = Duration::from_secs(600);

/// Kills the last node and offers load to the others at once: what the dead member's missed turns cost is in it.
pub async fn one_dead(
    consortium: &Consortium,
    mut network: Network,
    rate: f64,
    seconds: u64,
) -> anyhow::Result<Measured> {
    network.nodes.pop().context("there is a node to kill")?.kill().await?;
    let measured = latency::measure(offer(consortium, &network, rate, seconds)).await;
    network.stop().await?;
    measured
}

/// Load on all running nodes, each member sending through its own.
pub fn offer<'a>(consortium: &'a Consortium, network: &Network, rate: f64, seconds: u64) -> Offer<'a> {
    let senders = consortium.members.iter().zip(&network.nodes);
    Offer {
        target: offline::target(consortium),
        senders: senders
            .map(|(member, node)| (&member.signer, node.rpc.clone()))
            .collect(),
        nodes: network.rpcs(),
        rate,
        seconds,
    }
}

/// Starts a node that is `blocks` behind the three others, and returns how long it takes from its start until it has
/// the newest block and state that they have, in milliseconds.
pub async fn rejoin(blocks: u64, progress: impl Fn(&str)) -> anyhow::Result<u64> {
    let consortium = Consortium::create(4, LAN)?;
    progress(&format!("building {blocks} blocks"));
    offline::build(&consortium, blocks, 1, |_| {}).await?;
    let [first, others @ .., last] = consortium.members.as_slice() else {
        anyhow::bail!("a consortium of four has a first and a last member");
    };
    for member in others {
        copy(&first.data(), &member.data())?;
    }
    progress("starting the three others");
    let mut network = Network { nodes: Vec::new() };
    for member in consortium.members.iter().take(3) {
        network.nodes.push(Process::spawn(member)?);
    }
    for node in &mut network.nodes {
        node.wait_for_block(blocks + 1).await?;
    }
    progress("a node catches up");
    let started = Instant::now();
    let node = Process::spawn(last)?;
    let took = loop {
        ensure!(
            started.elapsed() < REJOIN_WITHIN,
            "the node did not catch up within {} s; it has block {:?}",
            REJOIN_WITHIN.as_secs(),
            node.rpc.height().await
        );
        // In sync is who has the newest block of the others.
        let newest = network.nodes[0].rpc.height().await?;
        if node.rpc.height().await.is_ok_and(|height| height >= newest) {
            break started.elapsed();
        }
        sleep(Duration::from_millis(20)).await;
    };
    // Transactions that it passed by come afterwards, oldest first.
    while node.rpc.receipts(blocks).await.is_err() {
        ensure!(
            started.elapsed() < REJOIN_WITHIN,
            "the node has not all blocks within {} s",
            REJOIN_WITHIN.as_secs()
        );
        sleep(Duration::from_millis(20)).await;
    }
    progress(&format!(
        "in sync after {} ms, with the transactions of all blocks after {} ms",
        took.as_millis(),
        started.elapsed().as_millis()
    ));
    network.nodes.push(node);
    network.common_root().await?;
    network.stop().await?;
    Ok(u64::try_from(took.as_millis())?)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
