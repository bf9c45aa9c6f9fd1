//! The smallest real ledger: each block lists the transactions it counts. It checks blocks as strictly as the EVM ledger
//! does, so consensus can be tested to its limits without paying for execution.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, Bytes, keccak256};
use futures::future::join_all;
use hanse_chain::application::{
    Application, Decided, Durability, Halt, HeightRules, InvalidBlock, Refused, Tip, Validator,
};
use hanse_chain::consensus::{Consensus, ConsensusConfig, ConsensusStartError, ConsensusStatus};
use hanse_chain::genesis::ConsensusParameters;
use hanse_chain::key::ValidatorKey;
use hanse_chain::turns::Standings;
use hanse_ports::free_address;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Block {
    pub height: u64,
    pub parent: B256,
    pub proposer: Address,
    pub time_ms: u64,
    pub transactions: Vec<Bytes>,
}

/// Which validators decide a height: the same function on every node.
pub type Rules = Arc<dyn Fn(u64) -> HeightRules + Send + Sync>;

struct State {
    chain: Vec<(Block, Decided)>,
    mempool: VecDeque<Bytes>,
    seen: HashSet<B256>,
    committed_at: Vec<Instant>,
}

/// What is wrong with a ledger, for the tests of what consensus makes of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Refuses every proposed block.
    RefusesBlocks,
    /// Builds blocks that no other node accepts.
    BuildsBadBlocks,
    /// Its state comes out different: the next commit fails.
    Diverges,
}

pub struct Counter {
    rules: Rules,
    fault: Mutex<Fault>,
    state: Mutex<State>,
    waiting: watch::Sender<usize>,
    outgoing: mpsc::Sender<Bytes>,
    outgoing_receiver: Mutex<Option<mpsc::Receiver<Bytes>>>,
}

pub const GENESIS: B256 = B256::repeat_byte(0x11);

impl Counter {
    pub fn new(rules: Rules) -> Arc<Self> {
        let (outgoing, receiver) = mpsc::channel(1024);
        Arc::new(Self {
            rules,
            fault: Mutex::default(),
            state: Mutex::new(State {
                chain: Vec::new(),
                mempool: VecDeque::new(),
                seen: HashSet::new(),
                committed_at: Vec::new(),
            }),
            waiting: watch::channel(0).0,
            outgoing,
            outgoing_receiver: Mutex::new(Some(receiver)),
        })
    }

    pub fn set_fault(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn has(&self, fault: Fault) -> bool {
        *self.fault.lock().unwrap() == fault
    }

    pub fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A transaction from a user of this node.
    pub fn submit(&self, transaction: Bytes) {
        if self.take(transaction.clone()) {
            let _ = self.outgoing.try_send(transaction);
        }
    }

    fn take(&self, transaction: Bytes) -> bool {
        let mut state = self.lock();
        let new = state.seen.insert(keccak256(&transaction));
        if new {
            state.mempool.push_back(transaction);
            self.waiting.send_replace(state.mempool.len());
        }
        new
    }

    pub fn height(&self) -> u64 {
        self.lock().chain.len() as u64
    }

    pub fn hashes(&self) -> Vec<B256> {
        self.lock()
            .chain
            .iter()
            .map(|(_, decided)| keccak256(&decided.block))
            .collect()
    }

    pub fn blocks(&self) -> Vec<Block> {
        self.lock().chain.iter().map(|(block, _)| block.clone()).collect()
    }

    pub fn committed_at(&self, height: u64) -> Instant {
        self.lock().committed_at[height as usize - 1]
    }

    /// The height of the block that holds this transaction.
    pub fn height_of(&self, transaction: &Bytes) -> Option<u64> {
        let state = self.lock();
        state
            .chain
            .iter()
            .find(|(block, _)| block.transactions.contains(transaction))
            .map(|(block, _)| block.height)
    }

    fn tip_of(state: &State) -> Tip {
        let height = state.chain.len() as u64;
        let hash = state
            .chain
            .last()
            .map_or(GENESIS, |(_, decided)| keccak256(&decided.block));
        Tip { height, hash }
    }

    fn decode(bytes: &[u8]) -> Result<Block, InvalidBlock> {
        serde_json::from_slice(bytes).map_err(|error| InvalidBlock(error.to_string()))
    }
}

impl Application for Counter {
    fn tip(&self) -> Tip {
        Self::tip_of(&self.lock())
    }

    fn rules(&self) -> Result<HeightRules, Halt> {
        Ok((self.rules)(self.height() + 1))
    }

    fn build(&self, proposer: Address, now_ms: u64) -> Result<Bytes, Halt> {
        let state = self.lock();
        let tip = Self::tip_of(&state);
        let parent = if self.has(Fault::BuildsBadBlocks) {
            B256::ZERO
        } else {
            tip.hash
        };
        let transactions = state.mempool.iter().take(100).cloned().collect();
        let block = Block {
            height: tip.height + 1,
            parent,
            proposer,
            time_ms: now_ms,
            transactions,
        };
        Ok(serde_json::to_vec(&block).unwrap().into())
    }

    fn validate(&self, proposer: Address, block: &[u8], _: u64) -> Result<(), Refused> {
        let block = Self::decode(block)?;
        if self.has(Fault::RefusesBlocks) {
            return Err(Refused::Here("this ledger refuses blocks".into()));
        }
        let tip = self.tip();
        if block.height != tip.height + 1 || block.parent != tip.hash {
            return Err(InvalidBlock(format!("block {} does not follow {tip:?}", block.height)).into());
        }
        if block.proposer != proposer {
            return Err(InvalidBlock(format!("proposed by {}, not {proposer}", block.proposer)).into());
        }
        Ok(())
    }

    fn block_id(&self, block: &[u8]) -> Result<B256, InvalidBlock> {
        Self::decode(block).map(|_| keccak256(block))
    }

    fn commit(&self, bytes: &[u8], certificate: &[u8], _: Durability) -> Result<Tip, Halt> {
        let block = Self::decode(bytes).map_err(|error| Halt(error.0))?;
        if self.has(Fault::Diverges) {
            return Err(Halt("the state root differs".into()));
        }
        let mut state = self.lock();
        if block.height != state.chain.len() as u64 + 1 {
            return Err(Halt(format!("commit of {} on {}", block.height, state.chain.len())));
        }
        for transaction in &block.transactions {
            state.seen.insert(keccak256(transaction));
        }
        state
            .mempool
            .retain(|transaction| !block.transactions.contains(transaction));
        self.waiting.send_replace(state.mempool.len());
        let decided = Decided {
            block: bytes.to_vec().into(),
            certificate: certificate.to_vec().into(),
        };
        state.chain.push((block, decided));
        state.committed_at.push(Instant::now());
        Ok(Self::tip_of(&state))
    }

    fn flush(&self) -> Result<(), Halt> {
        Ok(())
    }

    fn decided(&self, height: u64) -> Result<Option<Decided>, Halt> {
        let index = height.checked_sub(1).map(|index| index as usize);
        Ok(index.and_then(|index| self.lock().chain.get(index).map(|(_, decided)| decided.clone())))
    }

    fn earliest(&self) -> u64 {
        1
    }

    fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    fn receive_transactions(&self, transactions: Vec<Bytes>) {
        for transaction in transactions {
            self.take(transaction);
        }
    }

    fn outgoing_transactions(&self) -> Option<mpsc::Receiver<Bytes>> {
        self.outgoing_receiver.lock().unwrap().take()
    }
}

pub const PARAMETERS: ConsensusParameters = ConsensusParameters {
    propose_ms: 1000,
    propose_delta_ms: 500,
    vote_ms: 500,
    vote_delta_ms: 300,
    heartbeat_ms: 1000,
};

/// A validator that may be running or not.
pub struct Member {
    pub key: ValidatorKey,
    pub listen: SocketAddr,
    pub folder: tempfile::TempDir,
    pub ledger: Arc<Counter>,
    pub consensus: Option<Consensus>,
}

impl Member {
    pub fn config(&self) -> ConsensusConfig {
        ConsensusConfig {
            ledger: GENESIS,
            keys: self.key.clone().into(),
            listen: self.listen,
            folder: self.folder.path().into(),
            bootstrap: Vec::new(),
            wishes: tokio::sync::watch::Sender::default().subscribe(),
        }
    }

    pub async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    pub async fn try_start(&mut self) -> Result<(), ConsensusStartError> {
        let rules = self.ledger.rules.clone();
        // The channel of outgoing transactions is handed out once for each start.
        if self.ledger.outgoing_receiver.lock().unwrap().is_none() {
            let fresh = Counter::new(rules);
            std::mem::swap(&mut *fresh.lock(), &mut *self.ledger.lock());
            self.ledger = fresh;
        }
        self.consensus = Some(Consensus::start(self.config(), self.ledger.clone()).await?);
        Ok(())
    }

    pub async fn stop(&mut self) {
        if let Some(consensus) = self.consensus.take() {
            tokio::time::timeout(Duration::from_secs(30), consensus.shutdown())
                .await
                .expect("consensus stops");
        }
    }

    pub fn status(&self) -> ConsensusStatus {
        self.consensus.as_ref().unwrap().status().borrow().clone()
    }
}

/// Who validates a height, by index.
pub type Schedule = fn(u64) -> Vec<usize>;

pub fn league(size: usize, parameters: ConsensusParameters, schedule: Schedule) -> Vec<Member> {
    let identities: Vec<_> = (0..size)
        .map(|_| (ValidatorKey::generate(), free_address().unwrap()))
        .collect();
    let validators: Vec<_> = identities
        .iter()
        .enumerate()
        .map(|(index, (key, listen))| Validator {
            account: Address::repeat_byte(index as u8 + 1),
            key: key.public_key(),
            consensus_address: format!("/ip4/{}/tcp/{}", listen.ip(), listen.port()),
        })
        .collect();
    let rules: Rules = Arc::new(move |height| {
        let validators: Vec<Validator> = schedule(height)
            .into_iter()
            .map(|index| validators[index].clone())
            .collect();
        let accounts: Vec<Address> = validators.iter().map(|validator| validator.account).collect();
        HeightRules {
            proposers: Standings::default().order(&accounts, height, 0),
            validators,
            parameters,
        }
    });
    identities
        .into_iter()
        .map(|(key, listen)| Member {
            key,
            listen,
            folder: tempfile::tempdir().unwrap(),
            ledger: Counter::new(rules.clone()),
            consensus: None,
        })
        .collect()
}

/// Polls until the condition holds.
pub async fn eventually(what: &str, seconds: u64, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// All given chains agree up to the shortest.
pub fn assert_same_chain(members: &[&Member]) {
    let chains: Vec<_> = members.iter().map(|member| member.ledger.hashes()).collect();
    let shortest = chains.iter().map(Vec::len).min().unwrap();
    for chain in &chains {
        assert_eq!(chain[..shortest], chains[0][..shortest]);
    }
}

pub const ALL_FOUR: Schedule = |_| vec![0, 1, 2, 3];

pub async fn start_all(members: &mut [Member]) {
    join_all(members.iter_mut().map(Member::start)).await;
}

pub async fn stop_all(members: &mut [Member]) {
    join_all(members.iter_mut().map(Member::stop)).await;
}

pub async fn all_reach(members: &[&Member], height: u64, seconds: u64) {
    let all_there = || members.iter().all(|member| member.ledger.height() >= height);
    eventually(&format!("height {height}"), seconds, all_there).await;
}
