//! A consortium of validators on this machine, each in a process of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy::primitives::{B256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context, bail};
use hanse_chain::genesis::{ConsensusParameters, Genesis, MemberInfo};
use hanse_chain::key::ValidatorKey;
use hanse_ports::free_address;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::node::{ACCOUNT_FILE, DATA_FOLDER, GENESIS_FILE, KEY_FILE};
use super::rpc::Rpc;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Timeouts for validators on one network.
pub const LAN: ConsensusParameters = ConsensusParameters {
    propose_ms: 400,
    propose_delta_ms: 300,
    vote_ms: 200,
    vote_delta_ms: 150,
    heartbeat_ms: 5_000,
};

/// One member of the consortium.
pub struct Member {
    pub folder: PathBuf,
    /// Signs its transactions.
    pub signer: PrivateKeySigner,
    consensus: SocketAddr,
    rpc: SocketAddr,
    api: SocketAddr,
}

impl Member {
    /// Where the store of its node lies.
    pub fn data(&self) -> PathBuf {
        self.folder.join(DATA_FOLDER)
    }
}

/// Folders, keys and genesis of a consortium. Removed when dropped.
pub struct Consortium {
    pub members: Vec<Member>,
    pub genesis: Genesis,
    _folder: tempfile::TempDir,
}

impl Consortium {
    /// Makes a consortium of `members` in a folder of its own.
    pub fn create(members: usize, parameters: ConsensusParameters) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("there is no folder for temporary files")?;
        let mut made = Vec::new();
        let mut infos = Vec::new();
        for index in 0..members {
            let folder = folder.path().join(format!("member-{index}"));
            std::fs::create_dir_all(&folder)?;
            let key = ValidatorKey::load_or_generate(&folder.join(KEY_FILE))?;
            let member = Member {
                folder,
                signer: PrivateKeySigner::random(),
                consensus: free_address()?,
                rpc: free_address()?,
                api: free_address()?,
            };
            let account = hex::encode(member.signer.to_bytes());
            std::fs::write(member.folder.join(ACCOUNT_FILE), account)?;
            infos.push(MemberInfo {
                account: member.signer.address(),
                validator_key: key.public_key().into(),
                sealing_key: keccak256(format!("sealing {index}")),
                name: format!("member-{index}"),
                consensus_address: format!("/ip4/127.0.0.1/tcp/{}", member.consensus.port()),
                peer_id: String::new(),
                url: format!("http://{}/", member.api),
            });
            made.push(member);
        }
        let genesis = Genesis {
            chain_id: rand::random_range(100_000..1_000_000),
            timestamp: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
            gas_limit: hanse_chain::genesis::DEFAULT_GAS_LIMIT,
            members: infos,
            consensus_parameters: parameters,
            balances: BTreeMap::new(),
        };
        genesis.validate()?;
        std::fs::write(folder.path().join(GENESIS_FILE), serde_json::to_vec(&genesis)?)?;
        Ok(Self {
            members: made,
            genesis,
            _folder: folder,
        })
    }

    /// Starts a process for each member, and waits until all have decided a block.
    pub async fn start(&self) -> anyhow::Result<Network> {
        let mut network = Network { nodes: Vec::new() };
        for member in &self.members {
            network.nodes.push(Process::spawn(member)?);
        }
        for node in &mut network.nodes {
            node.wait_for_block(1).await?;
        }
        Ok(network)
    }
}

/// The node process of one member.
pub struct Process {
    pub rpc: Rpc,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts the process of a member; it need not have peers yet.
    pub fn spawn(member: &Member) -> anyhow::Result<Self> {
        let log = member.folder.join("node.log");
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(std::env::current_exe().context("could not find the hanse program itself")?)
            .args(["bench", "node", "--folder"])
            .arg(&member.folder)
            .args(["--consensus", &member.consensus.to_string()])
            .args(["--rpc", &member.rpc.to_string()])
            .args(["--api", &member.api.to_string()])
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            // Ctrl-C goes to the whole process group of a terminal; nodes are stopped in order instead.
            .process_group(0)
            .spawn()
            .context("could not start a node process")?;
        Ok(Self {
            rpc: Rpc::new(member.rpc)?,
            log,
            child,
        })
    }

    /// Waits until the node answers and has a block of this height.
    pub async fn wait_for_block(&mut self, height: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("a node stopped ({status}):\n{}", last_lines(&self.log));
            }
            match self.rpc.height().await {
                Ok(reached) if reached >= height => return Ok(()),
                _ if Instant::now() > deadline => bail!(
                    "a node had no block {height} within {} s:\n{}",
                    READY_WITHIN.as_secs(),
                    last_lines(&self.log)
                ),
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Process id.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the node process has ended")
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("could not kill a node")
    }

    /// SIGTERM, then SIGKILL for one that does not stop.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            kill_process(pid, Signal::TERM)?;
        }
        if timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            tracing::warn!("a node does not stop and is killed");
            self.child.kill().await?;
        }
        Ok(())
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// The running nodes.
pub struct Network {
    pub nodes: Vec<Process>,
}

impl Network {
    /// Where the nodes serve JSON-RPC.
    pub fn rpcs(&self) -> Vec<Rpc> {
        self.nodes.iter().map(|node| node.rpc.clone()).collect()
    }

    /// The nodes' state root at the lowest of their heights; fails if they differ.
    pub async fn common_root(&self) -> anyhow::Result<B256> {
        let mut lowest = u64::MAX;
        for node in &self.nodes {
            lowest = lowest.min(node.rpc.height().await?);
        }
        let mut roots = Vec::new();
        for node in &self.nodes {
            roots.push(node.rpc.block(lowest).await?.state_root);
        }
        if roots.windows(2).any(|pair| pair[0] != pair[1]) {
            bail!("the state roots of block {lowest} differ: {roots:?}");
        }
        roots.first().copied().context("there is a node")
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        for node in self.nodes {
            node.stop().await?;
        }
        Ok(())
    }
}
