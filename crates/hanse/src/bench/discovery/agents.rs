//! Agents without a ledger, each a process of its own with a development cluster of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hanse_ports::free_address;
use hanse_swarm::SwarmKey;
use hanse_swarm::model::SwarmAddress;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::sight::Sight;
use crate::client::Client;
use crate::config::{ApiConfig, ClusterConfig, Config, DevelopmentCluster, SwarmConfig};
use crate::consortium::{consensus_address, kept};
use crate::discoverer::ReadyPage;

/// More of them would measure the machine.
pub const MOST: usize = 63;
const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The processes and the folder in which they live.
pub struct Agents {
    pub all: Vec<Agent>,
    key_file: PathBuf,
    folder: tempfile::TempDir,
}

/// One of them.
pub struct Agent {
    pub name: String,
    pub sight: Sight,
    address: SwarmAddress,
    process: Child,
}

impl Agents {
    /// None yet; they will share a swarm.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("there is no folder for temporary files")?;
        let key_file = folder.path().join("swarm.key");
        kept::write_bytes(&key_file, SwarmKey::generate().to_file().as_bytes())?;
        Ok(Self {
            all: Vec::new(),
            key_file,
            folder,
        })
    }

    /// Starts one more, which is told of the first one only. Its cluster has a SwarmPool when this returns.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let index = self.all.len();
        if index >= MOST {
            bail!("{MOST} agents fit on one machine");
        }
        let name = format!("domain-{}", index + 1);
        let folder = self.folder.path().join(&name);
        std::fs::create_dir_all(&folder)?;
        let (in_swarm, api) = (free_address()?, free_address()?);
        let config = Config {
            domain: name.clone(),
            data_dir: ".".into(),
            cluster: ClusterConfig {
                development: Some(DevelopmentCluster::on_free_addresses(Default::default())?),
                ..ClusterConfig::default()
            },
            api: ApiConfig {
                listen: api,
                ..ApiConfig::default()
            },
            swarm: SwarmConfig {
                key_file: Some(self.key_file.clone()),
                listen: in_swarm,
                bootstrap: self
                    .all
                    .first()
                    .map(|first| first.address.clone())
                    .into_iter()
                    .collect(),
                ..SwarmConfig::default()
            },
            ..Config::default()
        };
        let file = folder.join("hanse.yaml");
        let yaml = serde_saphyr::to_string(&config).context("the configuration could not be written as YAML")?;
        std::fs::write(&file, yaml)?;
        let mut process = spawn(&file, &folder.join("agent.log"))?;
        let client = Client::new(&format!("http://{api}"), None)?;
        let page = until_ready(&mut process, &client, &folder.join("agent.log")).await?;
        let address = format!("{}/p2p/{}", consensus_address(in_swarm), page.peer_id);
        let sight = Sight::open(&folder.join("kubeconfig")).await?;
        sight.apply_pool().await?;
        self.all.push(Agent {
            name,
            sight,
            address: SwarmAddress::parse(&address)?,
            process,
        });
        Ok(())
    }

    /// Asks all to stop, waits, and kills those that do not.
    pub async fn stop(self) {
        for agent in &self.all {
            if let Some(pid) = agent
                .process
                .id()
                .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP_WITHIN;
        for mut agent in self.all {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, agent.process.wait()).await.is_err() {
                let _ = agent.process.kill().await;
            }
        }
    }
}

impl Agent {
    /// Process id.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.process.id().context("the agent has ended")
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("could not kill an agent")
    }
}

fn spawn(config: &Path, log: &Path) -> anyhow::Result<Child> {
    let output = File::create(log)?;
    Command::new(std::env::current_exe().context("could not find the hanse program itself")?)
        .args(["agent", "--with-parent", "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        // As `hanse up` starts agents.
        .env("MALLOC_ARENA_MAX", "1")
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .context("could not start an agent")
}

async fn until_ready(process: &mut Child, client: &Client, log: &Path) -> anyhow::Result<ReadyPage> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if let Some(status) = process.try_wait()? {
            bail!("an agent stopped ({status}):\n{}", std::fs::read_to_string(log)?);
        }
        match client.get("api/v1/ready").await {
            Ok(page) => return Ok(page),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("an agent was not ready: {}", log.display()));
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}
