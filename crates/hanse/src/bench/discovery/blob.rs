//! Ten megabytes from three holders, one of whom lies, over the loopback interface.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use hanse_swarm::model::{Identity, SealingKey, Statement, SwarmAddress};
use hanse_swarm::simulation::write_lies;
use hanse_swarm::{DomainKey, SealingSecret, Swarm, SwarmConfig, SwarmKey};
use rand::RngCore;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::bench::quantiles::rounded;

/// A bundle of manifests.
const SIZE: usize = 10_000_000;
/// How often it is fetched, each time by a newcomer.
const RUNS: usize = 5;
/// For every wait.
const WITHIN: Duration = Duration::from_secs(60);

/// A domain in this process, without an agent around it.
struct Node {
    swarm: Swarm,
    _folder: TempDir,
}

impl Node {
    async fn start(key: &SwarmKey, bootstrap: &[SwarmAddress], folder: TempDir) -> anyhow::Result<Self> {
        let secret = || Zeroizing::new(rand::random());
        let sealing = SealingSecret::from_bytes(secret());
        let public = sealing.public();
        let domain = DomainKey::from_secret(secret());
        let mut config = SwarmConfig::new(key.clone(), domain, sealing, folder.path().to_owned());
        config.listen = vec![SwarmAddress::parse("/ip4/127.0.0.1/tcp/0")?];
        config.bootstrap = bootstrap.to_vec();
        let swarm = Swarm::start(config).await?;
        swarm.publish(statement(public)?).await?;
        Ok(Self { swarm, _folder: folder })
    }

    async fn address(&self) -> anyhow::Result<SwarmAddress> {
        let addresses = self.swarm.status().await?.addresses;
        addresses.into_iter().next().context("a swarm that has started listens")
    }

    /// Waits until a connection with this peer is there, or is not.
    async fn until_connected(&self, other: &Self, connected: bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let peers = self.swarm.peers().await?;
            let seen = peers.iter().find(|peer| peer.name == other.swarm.name());
            if seen.is_some_and(|peer| peer.connected()) == connected {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{} is not as it should be: {seen:?}",
                other.swarm.name()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn statement(sealing_key: SealingKey) -> anyhow::Result<Statement> {
    let identity = Identity::new(
        "holder".to_owned().try_into()?,
        String::new().try_into()?,
        "https://holder.example".to_owned().try_into()?,
        Vec::new(),
        sealing_key,
    );
    Ok(Statement::Present(Box::new(identity?)))
}

/// Megabits per second from the first question to the last byte on the disk: the median.
pub async fn mbit_per_second() -> anyhow::Result<f64> {
    let mut bytes = vec![0; SIZE];
    rand::rng().fill_bytes(&mut bytes);
    let blob = Bytes::from(bytes);
    let key = SwarmKey::generate();
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        rates.push(run(&key, &blob).await?);
    }
    rates.sort_by(f64::total_cmp);
    Ok(rounded(rates[RUNS / 2]))
}

async fn run(key: &SwarmKey, blob: &Bytes) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let root = write_lies(folder.path(), blob)?.context("the bundle is too large for a blob")?;
    let liar = Node::start(key, &[], folder).await?;
    let bootstrap = [liar.address().await?];
    let one = Node::start(key, &bootstrap, tempfile::tempdir()?).await?;
    let other = Node::start(key, &bootstrap, tempfile::tempdir()?).await?;
    for honest in [&one, &other] {
        ensure!(
            honest.swarm.add_blob(blob.clone()).await? == root,
            "the blob has two names"
        );
    }
    let reader = Node::start(key, &bootstrap, tempfile::tempdir()?).await?;
    for holder in [&liar, &one, &other] {
        reader.until_connected(holder, true).await?;
    }
    let started = Instant::now();
    let fetched = reader.swarm.blob(root, SIZE as u64, WITHIN).await?;
    let took = started.elapsed();
    ensure!(fetched == *blob, "what was fetched is not what was asked for");
    reader
        .until_connected(&liar, false)
        .await
        .context("the liar was not banned")?;
    for node in [liar, one, other, reader] {
        node.swarm.stop().await;
    }
    Ok(SIZE as f64 * 8.0 / 1e6 / took.as_secs_f64())
}
