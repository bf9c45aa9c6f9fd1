//! Ledger nodes as processes of their own, so that they can be killed: the test program starts itself again to be one.
//!
//! A test file that uses this has a test named `node_process`, ignored, which calls [`serve`].
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use alloy::consensus::BlockHeader;
use alloy::primitives::B256;
use hanse_chain::genesis::Genesis;
use hanse_chain::key::ValidatorKey;
use hanse_chain::ledger::Ledger;
use hanse_chain::node::{Node, NodeConfig};
use hanse_ports::free_address;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

const SETTINGS: &str = "HANSE_TEST_NODE";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    pub folder: PathBuf,
    pub listen: SocketAddr,
    /// Words before the program's name: in which namespace it runs, with which clock.
    pub prefix: Vec<String>,
}

impl Settings {
    pub fn config(&self) -> NodeConfig {
        NodeConfig {
            data_dir: self.folder.clone(),
            genesis: Genesis::load(&self.folder.join("genesis.json")).unwrap(),
            keys: ValidatorKey::load(&self.folder.join("validator.key")).unwrap().into(),
            consensus_listen: self.listen,
            rpc_listen: "127.0.0.1:0".parse().unwrap(),
            bootstrap: Vec::new(),
        }
    }
}

/// Folders, keys and a genesis document for as many nodes as it has members, all on loopback.
pub fn prepare(genesis: Genesis, folder: &Path) -> Vec<Settings> {
    let addresses: Vec<_> = genesis.members.iter().map(|_| free_address().unwrap()).collect();
    prepare_at(genesis, folder, &addresses)
}

/// [`prepare`] with an address for each member.
pub fn prepare_at(mut genesis: Genesis, folder: &Path, addresses: &[SocketAddr]) -> Vec<Settings> {
    let mut settings = Vec::new();
    for (member, listen) in genesis.members.iter_mut().zip(addresses) {
        let folder = folder.join(&member.name);
        std::fs::create_dir_all(&folder).unwrap();
        let key = ValidatorKey::load_or_generate(&folder.join("validator.key")).unwrap();
        member.validator_key = B256::from(key.public_key());
        member.consensus_address = format!("/ip4/{}/tcp/{}", listen.ip(), listen.port());
        settings.push(Settings {
            folder,
            listen: *listen,
            prefix: Vec::new(),
        });
    }
    for node in &settings {
        std::fs::write(node.folder.join("genesis.json"), serde_json::to_vec(&genesis).unwrap()).unwrap();
    }
    settings
}

/// What a node process says of itself whenever it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub height: u64,
    pub hash: B256,
    pub connected: usize,
    pub engine_restarts: u32,
    pub halted: Option<String>,
    pub rpc: String,
    /// Transactions of all members in the ledger.
    pub transactions: u64,
    /// The same of each member, in the order of the genesis document.
    pub nonces: Vec<u64>,
    /// Why it did not start.
    pub refused: Option<String>,
}

/// The body of the process: reports on its output, takes transactions in hexadecimal from its input.
pub fn serve() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "\n@{line}");
        let _ = out.flush();
    };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let node = match Node::start(settings.config()).await {
            Ok(node) => node,
            Err(error) => {
                let refused = Some(error.to_string());
                let report = Report {
                    refused,
                    ..Report::default()
                };
                return say(serde_json::to_string(&report).unwrap());
            }
        };
        let (ledger, reader) = (node.ledger().clone(), node.ledger().clone());
        let members = settings.config().genesis.members;
        let nonces = || -> Vec<u64> {
            let head = reader.head();
            let nonce = |account| {
                head.snapshot()
                    .account(account)
                    .unwrap()
                    .map_or(0, |account| account.nonce)
            };
            members.iter().map(|member| nonce(member.account)).collect()
        };
        let (orphaned, mut abandoned) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                // What was sent before is refused, and that is all right.
                let _ = ledger.submit(&hex::decode(line.trim()).unwrap());
            }
            // The test program is gone, whatever ended it; nobody else would stop this process.
            let _ = orphaned.send(());
        });
        let mut status = node.watch_status();
        loop {
            let now = status.borrow_and_update().clone();
            let nonces = nonces();
            let report = Report {
                height: now.height,
                hash: now.hash,
                connected: now.connected,
                engine_restarts: now.engine_restarts,
                halted: now.halted,
                rpc: format!("http://{}", node.rpc_addr()),
                transactions: nonces.iter().sum(),
                nonces,
                refused: None,
            };
            say(serde_json::to_string(&report).unwrap());
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return },
                _ = &mut abandoned => return,
            }
        }
    });
}

/// A running node process. Dropping it kills it.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    pub report: watch::Receiver<Report>,
}

impl Process {
    pub fn start(settings: &Settings) -> Self {
        let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        let mut words = settings.prefix.iter().chain([&program]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .args([
                "node_process",
                "--exact",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(SETTINGS, serde_json::to_string(settings).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, report) = watch::channel(Report::default());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(report) = line.strip_prefix('@') {
                    sender.send_replace(serde_json::from_str(report).unwrap());
                }
            }
        });
        Self { child, stdin, report }
    }

    pub async fn submit(&mut self, transaction: &[u8]) {
        let line = format!("{}\n", hex::encode(transaction));
        // A killed process takes nothing; what it loses was never acknowledged.
        let _ = self.stdin.write_all(line.as_bytes()).await;
    }

    pub fn height(&self) -> u64 {
        self.report.borrow().height
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Resident memory in bytes: all of it, and what is not the program file's.
    pub fn resident(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        (field("VmRSS:"), field("RssAnon:"))
    }

    /// Processor time used so far.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }
}

/// What the stores of killed nodes hold: the same blocks, and each of so many transactions once. One that was catching up
/// when it was killed may have fewer blocks on disk than it had.
pub fn assert_same_ledgers(settings: &[Settings], transactions: usize) {
    let genesis = Genesis::load(&settings[0].folder.join("genesis.json")).unwrap();
    let ledgers: Vec<_> = settings
        .iter()
        .map(|node| Ledger::open(&node.folder, &genesis).unwrap())
        .collect();
    let longest = ledgers.iter().max_by_key(|ledger| ledger.head().height()).unwrap();
    let mut decided = 0;
    for height in 0..=longest.head().height() {
        let block = longest.head().snapshot().block_at(height).unwrap().unwrap();
        for ledger in ledgers.iter().filter(|ledger| ledger.head().height() >= height) {
            let theirs = ledger.head().snapshot().block_at(height).unwrap().unwrap();
            assert_eq!(theirs.header, block.header, "block {height} differs");
        }
        decided += block.body.transactions.len();
    }
    assert_eq!(decided, transactions, "every transaction is in the ledger once");
    let head = longest.head();
    let (height, root) = (head.height(), head.snapshot().header().state_root());
    println!("{height} blocks, {decided} transactions, state root {root}");
}

/// Waits until every process reports what is wanted.
pub async fn all(processes: &[&Process], what: &str, seconds: u64, wanted: impl Fn(&Report) -> bool) {
    for (index, process) in processes.iter().enumerate() {
        let mut report = process.report.clone();
        let waited = tokio::time::timeout(Duration::from_secs(seconds), report.wait_for(|report| wanted(report))).await;
        assert!(
            matches!(waited, Ok(Ok(_))),
            "node {index} not within {seconds} s: {what}: {:?}",
            *process.report.borrow()
        );
    }
}
