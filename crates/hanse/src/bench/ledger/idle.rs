//! What an idle consortium costs its disks.

use std::time::Duration;

use anyhow::ensure;
use hanse_chain::genesis::ConsensusParameters;
use tokio::time::{Instant, sleep};

use super::disk;
use super::network::{Consortium, LAN};

/// Heartbeats are this much faster while they are watched, so that an hour's worth takes a minute or two.
const HASTE: u32 = 50;

/// Bytes that one node's data folder grows by in an hour of heartbeats of the usual period, from `heartbeats` of them.
pub async fn bytes_per_hour(heartbeats: u64) -> anyhow::Result<u64> {
    let hasty = ConsensusParameters {
        heartbeat_ms: LAN.heartbeat_ms / HASTE,
        ..LAN
    };
    let consortium = Consortium::create(4, hasty)?;
    let mut network = consortium.start().await?;
    // What a start costs is no growth.
    network.nodes[0].wait_for_block(10).await?;
    let used = || -> anyhow::Result<u64> {
        let folders = consortium.members.iter().map(|member| disk::used(&member.data()));
        Ok(folders.sum::<anyhow::Result<u64>>()? / consortium.members.len() as u64)
    };
    let rpc = network.nodes[0].rpc.clone();
    let (before, first) = (used()?, rpc.height().await?);
    let deadline =
        Instant::now() + Duration::from_millis(u64::from(hasty.heartbeat_ms)) * 20 * u32::try_from(heartbeats)?;
    let blocks = loop {
        let blocks = rpc.height().await? - first;
        if blocks >= heartbeats {
            break blocks;
        }
        ensure!(
            Instant::now() < deadline,
            "only {blocks} of {heartbeats} heartbeats came in time"
        );
        sleep(Duration::from_millis(100)).await;
    };
    let grown = used()?.saturating_sub(before);
    network.stop().await?;
    let beats_per_hour = 3_600_000 / u64::from(LAN.heartbeat_ms);
    Ok(grown * beats_per_hour / blocks)
}
