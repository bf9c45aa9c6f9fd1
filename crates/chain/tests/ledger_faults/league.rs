//! The nodes of a consortium and the transactions that they were given.

use std::path::Path;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use hanse_chain::genesis::{ConsensusParameters, Genesis};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::processes::{Process, Report, Settings, all, assert_same_ledgers, prepare, prepare_at};
use crate::support;
use crate::switch::Switch;

/// Short timeouts, since these tests wait for them.
pub const QUICK: ConsensusParameters = ConsensusParameters {
    propose_ms: 400,
    propose_delta_ms: 300,
    vote_ms: 200,
    vote_delta_ms: 150,
    heartbeat_ms: 500,
};

pub fn genesis(members: u8, consensus_parameters: ConsensusParameters) -> Genesis {
    Genesis {
        consensus_parameters,
        ..support::genesis(members)
    }
}

/// The random choices of a test, repeatable by its seed.
pub fn seeded() -> (u64, StdRng) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("SEED={seed}");
    (seed, StdRng::seed_from_u64(seed))
}

/// How often to do what is done in rounds.
pub fn rounds(few: u64) -> u64 {
    let rounds = std::env::var("HANSE_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    rounds.unwrap_or(few)
}

pub struct League {
    pub settings: Vec<Settings>,
    /// The process of each member, if it runs.
    pub nodes: Vec<Option<Process>>,
    sent: Vec<Vec<Vec<u8>>>,
    _folder: tempfile::TempDir,
}

impl League {
    /// A consortium on loopback, not yet started.
    pub fn on_loopback(members: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = prepare(genesis(members, QUICK), folder.path());
        Self::of(settings, folder)
    }

    /// A consortium whose members are at the first ports of a switch, not yet started.
    pub fn on(switch: &Switch, members: u8, parameters: ConsensusParameters) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let addresses: Vec<_> = (0..usize::from(members)).map(|port| switch.address(port)).collect();
        let mut settings = prepare_at(genesis(members, parameters), folder.path(), &addresses);
        for (port, node) in settings.iter_mut().enumerate() {
            node.prefix = switch.prefix(port);
        }
        Self::of(settings, folder)
    }

    /// Four members on loopback that have decided a block.
    pub async fn of_four() -> Self {
        Self::on_loopback(4).begun().await
    }

    /// The same, four at the first ports of a switch.
    pub async fn of_four_on(switch: &Switch, parameters: ConsensusParameters) -> Self {
        Self::on(switch, 4, parameters).begun().await
    }

    async fn begun(mut self) -> Self {
        self.start_all();
        let all: Vec<usize> = (0..self.settings.len()).collect();
        self.reach(&all, 1, "first block").await;
        self
    }

    fn of(settings: Vec<Settings>, folder: tempfile::TempDir) -> Self {
        Self {
            nodes: settings.iter().map(|_| None).collect(),
            sent: settings.iter().map(|_| Vec::new()).collect(),
            settings,
            _folder: folder,
        }
    }

    pub fn start(&mut self, member: usize) {
        self.nodes[member] = Some(Process::start(&self.settings[member]));
    }

    pub fn start_all(&mut self) {
        (0..self.settings.len()).for_each(|member| self.start(member));
    }

    /// SIGKILL. Returns what the node last said.
    pub async fn kill(&mut self, member: usize) -> Report {
        let node = self.nodes[member].take().unwrap();
        let report = node.report.clone();
        node.kill().await;
        report.borrow().clone()
    }

    pub fn report(&self, member: usize) -> Report {
        self.nodes[member].as_ref().unwrap().report.borrow().clone()
    }

    pub fn running(&self) -> Vec<&Process> {
        self.nodes.iter().flatten().collect()
    }

    pub fn folder(&self, member: usize) -> &Path {
        &self.settings[member].folder
    }

    /// The greatest height that any running node has.
    pub fn height(&self) -> u64 {
        self.running().into_iter().map(Process::height).max().unwrap()
    }

    /// Gives a node a new transaction of a member.
    pub async fn submit(&mut self, member: usize, via: usize) {
        let nonce = self.sent[member].len() as u64;
        let author = u8::try_from(member).unwrap();
        let id = B256::from_slice(&[&[author; 24][..], &nonce.to_be_bytes()].concat());
        let transaction = support::announce(author, nonce, id);
        if let Some(node) = &mut self.nodes[via] {
            node.submit(&transaction).await;
        }
        self.sent[member].push(transaction);
    }

    /// A new transaction of each member through its own node.
    pub async fn submit_all(&mut self) {
        for member in 0..self.settings.len() {
            self.submit(member, member).await;
        }
    }

    pub fn sent(&self) -> usize {
        self.sent.iter().map(Vec::len).sum()
    }

    /// Gives these nodes again what they have not got on their ledger: a mempool is not on disk, and whoever has seen no
    /// receipt sends again.
    pub async fn send_again(&mut self, via: &[usize]) {
        for via in via {
            let Some(node) = &mut self.nodes[*via] else { continue };
            let nonces = node.report.borrow().nonces.clone();
            for (sent, nonce) in self.sent.iter().zip(nonces) {
                for transaction in sent.iter().skip(usize::try_from(nonce).unwrap()).take(32) {
                    node.submit(transaction).await;
                }
            }
        }
    }

    /// Waits until these nodes have reached a height.
    pub async fn reach(&self, members: &[usize], height: u64, what: &str) {
        let nodes: Vec<_> = members
            .iter()
            .map(|member| self.nodes[*member].as_ref().unwrap())
            .collect();
        all(&nodes, what, 120, |report| report.height >= height).await;
    }

    /// Waits until every running node has every transaction, which are sent again as often as it takes.
    pub async fn all_decided(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(180);
        let complete = self.sent() as u64;
        let running: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].is_some())
            .collect();
        while running.iter().any(|node| self.report(*node).transactions != complete) {
            assert!(
                Instant::now() < deadline,
                "not decided everywhere: {:#?}",
                running.iter().map(|node| self.report(*node)).collect::<Vec<_>>()
            );
            self.send_again(&running).await;
            let mut first = self.nodes[running[0]].as_ref().unwrap().report.clone();
            first.mark_unchanged();
            let _ = tokio::time::timeout(Duration::from_secs(1), first.changed()).await;
        }
    }

    /// Ends well: every node has every transaction and none has halted; stopped, their stores hold the same.
    pub async fn finish(mut self) {
        self.all_decided().await;
        for node in self.running() {
            let report = node.report.borrow().clone();
            assert_eq!(report.halted, None);
        }
        for member in 0..self.nodes.len() {
            if self.nodes[member].is_some() {
                self.kill(member).await;
            }
        }
        assert_same_ledgers(&self.settings, self.sent());
    }
}

/// Waits until these nodes have made no block for four heartbeats: votes that were under way when a network parted or a node died
/// may still decide one.
pub async fn comes_to_rest(league: &League, members: &[usize]) {
    let heights = || -> Vec<u64> { members.iter().map(|member| league.report(*member).height).collect() };
    let quiet = 4 * Duration::from_millis(u64::from(QUICK.heartbeat_ms));
    let deadline = Instant::now() + Duration::from_secs(60);
    let (mut before, mut since) = (heights(), Instant::now());
    while since.elapsed() < quiet {
        assert!(
            Instant::now() < deadline,
            "blocks are made without a quorum: {before:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = heights();
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
}

/// Watches for so long that these nodes make no block.
pub async fn stands_still(league: &League, members: &[usize], how_long: Duration) {
    let heights = || -> Vec<u64> { members.iter().map(|member| league.report(*member).height).collect() };
    let before = heights();
    let until = Instant::now() + how_long;
    while Instant::now() < until {
        assert_eq!(heights(), before, "a block was made without a quorum");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
