//! A running league: one agent process for each domain, stopped together.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use hanse_orchestrator::api::HealthPage;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::folder::Folder;
use crate::client::Client;
use crate::config::Layers;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(20);
const LISTENS_WITHIN: Duration = Duration::from_secs(3);

/// One domain of the league.
pub struct Domain {
    pub name: String,
    pub client: Client,
    /// Ledger account, known once the agent is ready.
    pub account: String,
    pub kubeconfig: PathBuf,
    log: PathBuf,
    process: Child,
}

impl Domain {
    /// Process id of the agent.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// The agent's health page.
    pub async fn health(&self) -> anyhow::Result<HealthPage> {
        self.client.get("api/v1/health").await
    }
}

/// All domains of a league.
pub struct League {
    pub domains: Vec<Domain>,
    pub ready_after: Duration,
}

impl League {
    /// Starts an agent for each domain and waits until all of them are ready. `progress` hears of each that is.
    pub async fn start(folder: &Folder, mut progress: impl FnMut(&str)) -> anyhow::Result<Self> {
        let started = Instant::now();
        let mut league = Self {
            domains: Vec::new(),
            ready_after: Duration::ZERO,
        };
        for config in &folder.configs {
            match spawn(config) {
                Ok((domain, in_swarm)) => {
                    // The others begin with the first; a call before it listens would cost them the pause before the next.
                    if league.domains.is_empty() {
                        listens(in_swarm).await;
                    }
                    league.domains.push(domain);
                }
                Err(error) => {
                    league.stop().await;
                    return Err(error);
                }
            }
        }
        match league.wait_ready(&mut progress).await {
            Ok(()) => {
                league.ready_after = started.elapsed();
                Ok(league)
            }
            Err(error) => {
                league.stop().await;
                Err(error)
            }
        }
    }

    async fn wait_ready(&mut self, progress: &mut impl FnMut(&str)) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        for domain in &mut self.domains {
            loop {
                if let Some(status) = domain.process.try_wait()? {
                    bail!(
                        "the agent of {} stopped ({status}):\n{}",
                        domain.name,
                        last_lines(&domain.log)
                    );
                }
                match domain.client.get::<HealthPage>("api/v1/ready").await {
                    Ok(page) => {
                        domain.account = page.account;
                        progress(&domain.name);
                        break;
                    }
                    Err(error) if Instant::now() > deadline => {
                        bail!(
                            "the agent of {} was not ready within {} s: {error:#}\n{}",
                            domain.name,
                            READY_WITHIN.as_secs(),
                            last_lines(&domain.log)
                        );
                    }
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        }
        Ok(())
    }

    /// Waits until one of the agents stops by itself, and says which.
    pub async fn first_to_stop(&mut self) -> anyhow::Error {
        loop {
            for domain in &mut self.domains {
                if let Ok(Some(status)) = domain.process.try_wait() {
                    return anyhow!(
                        "the agent of {} stopped ({status}):\n{}",
                        domain.name,
                        last_lines(&domain.log)
                    );
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asks all agents to stop, waits, and kills those that do not.
    pub async fn stop(mut self) {
        for domain in &self.domains {
            if let Some(pid) = domain.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP_WITHIN;
        for domain in &mut self.domains {
            let left = deadline.saturating_duration_since(Instant::now());
            if timeout(left, domain.process.wait()).await.is_err() {
                tracing::warn!(domain = domain.name, "the agent does not stop and is killed");
                let _ = domain.process.kill().await;
            }
        }
    }
}

/// Waits for a moment until somebody listens there. Nobody may: what keeps an agent from starting is told later.
async fn listens(address: SocketAddr) {
    let call = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(LISTENS_WITHIN, call).await;
}

/// Starts the agent of a domain; also returns where it listens in the swarm.
fn spawn(config: &std::path::Path) -> anyhow::Result<(Domain, SocketAddr)> {
    let layers = Layers::load(config, std::iter::empty(), &[])?;
    let folder = config.parent().context("a configuration file lies in a folder")?;
    let log = folder.join("agent.log");
    let output = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("{}", log.display()))?;
    let program = std::env::current_exe().context("could not find the hanse program itself")?;
    let process = Command::new(program)
        .args(["agent", "--with-parent", "--config"])
        .arg(config)
        // Its end tells the agent that this process is gone, however that came about.
        .stdin(Stdio::piped())
        // One heap a process (mallopt(3)): with one for each thread, an agent holds about half as much memory again.
        .env("MALLOC_ARENA_MAX", "1")
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true)
        // Ctrl-C goes to the whole process group of a terminal; agents are stopped in order instead.
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not start the agent of {}", layers.config.domain))?;
    let client = Client::new(&format!("http://{}", layers.config.api.listen), None)?;
    let domain = Domain {
        name: layers.config.domain,
        client,
        account: String::new(),
        kubeconfig: layers.config.data_dir.join("kubeconfig"),
        log,
        process,
    };
    Ok((domain, layers.config.swarm.listen))
}

/// The end of a log, where the reason of a stop is.
fn last_lines(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(15)..].join("\n");
    format!("{tail}\n(the whole log: {})", log.display())
}
