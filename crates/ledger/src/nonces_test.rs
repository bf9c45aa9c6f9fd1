//! The nonce ledger against a chain, a pool and a process that do everything they may do to it: transactions are
//! dropped, blocks replaced (never deeper than the confirmations), nonces used by a stranger, answers come from nodes
//! that lag, and the process is killed at any point.
#![allow(clippy::unwrap_used)]

use alloy::primitives::B256;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tx {
    nonce: u64,
    hash: TxHash,
    /// None: a stranger's.
    owner: Option<(IntentId, Purpose)>,
}

#[derive(Debug, Clone, Default)]
struct Chain {
    blocks: Vec<Vec<Tx>>,
}

impl Chain {
    fn count_below(&self, height: usize) -> u64 {
        self.blocks[..height].iter().map(|block| block.len() as u64).sum()
    }

    fn count(&self) -> u64 {
        self.count_below(self.blocks.len())
    }

    fn final_count(&self, confirmations: u64) -> u64 {
        self.count_below(self.blocks.len().saturating_sub(confirmations as usize))
    }
}

/// What the process has made durable about one intent.
#[derive(Debug, Clone, Default)]
struct Saved {
    nonce: Option<u64>,
    signed: Vec<(TxHash, Purpose)>,
    void: bool,
    ended: bool,
}

struct World {
    confirmations: u64,
    chain: Chain,
    /// Blocks up to here can no longer be replaced.
    solid: usize,
    past: Vec<Chain>,
    pool: Vec<Tx>,
    ledger: NonceLedger,
    saved: BTreeMap<IntentId, Saved>,
    unsaved: Vec<IntentId>,
    signed_ever: Vec<Tx>,
    next_id: IntentId,
    next_hash: u64,
    now: Moment,
    wanted: Vec<IntentId>,
}

#[derive(Debug, Clone)]
enum Act {
    Submit,
    Sign { crash_before_sending: bool },
    Send { lost: Vec<bool> },
    Mine { picks: Vec<usize> },
    Stranger,
    Replace { depth: usize, lost: bool },
    DropPool { keep: usize },
    Observe,
    ObserveLagging { back: usize },
    Withdraw { which: usize },
    Revive { which: usize },
    Crash,
    Wait { ms: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Submit),
        4 => any::<bool>().prop_map(|crash| Act::Sign { crash_before_sending: crash }),
        4 => prop::collection::vec(any::<bool>(), 4).prop_map(|lost| Act::Send { lost }),
        4 => prop::collection::vec(0..4usize, 0..4).prop_map(|picks| Act::Mine { picks }),
        2 => Just(Act::Stranger),
        2 => (1..4usize, any::<bool>()).prop_map(|(depth, lost)| Act::Replace { depth, lost }),
        1 => (0..3usize).prop_map(|keep| Act::DropPool { keep }),
        5 => Just(Act::Observe),
        2 => (1..6usize).prop_map(|back| Act::ObserveLagging { back }),
        1 => (0..8usize).prop_map(|which| Act::Withdraw { which }),
        1 => (0..8usize).prop_map(|which| Act::Revive { which }),
        1 => Just(Act::Crash),
        3 => (100..3000u64).prop_map(|ms| Act::Wait { ms }),
    ]
}

impl World {
    fn new(confirmations: u64) -> Self {
        Self {
            confirmations,
            chain: Chain::default(),
            solid: 0,
            past: Vec::new(),
            pool: Vec::new(),
            ledger: NonceLedger::new(confirmations),
            saved: BTreeMap::new(),
            unsaved: Vec::new(),
            signed_ever: Vec::new(),
            next_id: 0,
            next_hash: 0,
            now: Duration::from_secs(1),
            wanted: Vec::new(),
        }
    }

    fn fresh_hash(&mut self) -> TxHash {
        self.next_hash += 1;
        B256::left_padding_from(&self.next_hash.to_be_bytes())
    }

    fn fresh_id(&mut self) -> IntentId {
        self.next_id += 1;
        self.next_id
    }

    /// Signs one transaction, checking that it cannot make two intents, or one intent twice, take effect.
    fn sign(&mut self, id: IntentId, nonce: u64, purpose: Purpose) {
        let settled = self.chain.count_below(self.solid);
        for other in &self.signed_ever {
            let (owner, _) = other.owner.unwrap();
            if owner != id {
                assert!(
                    other.nonce != nonce || nonce < settled,
                    "nonce {nonce} signed for {owner} and {id} and may still land"
                );
            } else if other.nonce != nonce {
                assert!(
                    other.nonce < settled,
                    "{id} has another transaction that may land at {}",
                    other.nonce
                );
                let landed = self
                    .chain
                    .blocks
                    .iter()
                    .flatten()
                    .find(|tx| tx.nonce == other.nonce)
                    .unwrap();
                assert_ne!(
                    landed.owner,
                    Some((id, Purpose::Call)),
                    "{id} has taken effect and is signed again"
                );
            }
        }
        let hash = self.fresh_hash();
        self.signed_ever.push(Tx {
            nonce,
            hash,
            owner: Some((id, purpose)),
        });
        let saved = self.saved.entry(id).or_default();
        if saved.nonce != Some(nonce) {
            saved.nonce = Some(nonce);
            saved.signed.clear();
        }
        saved.signed.push((hash, purpose));
        saved.void |= purpose == Purpose::Void;
        self.unsaved.retain(|unsaved| *unsaved != id);
        self.ledger.signed(id, nonce, hash, purpose);
    }

    fn sign_all(&mut self) {
        while let Some((id, nonce)) = self.ledger.next_assignment() {
            self.sign(id, nonce, Purpose::Call);
        }
        for (id, nonce) in self.ledger.voids_to_sign() {
            self.sign(id, nonce, Purpose::Void);
        }
        while let Some(nonce) = self.ledger.gap() {
            let id = self.fresh_id();
            self.sign(id, nonce, Purpose::Void);
        }
    }

    fn send(&mut self, lost: &[bool]) {
        for (index, (_, hash)) in self.ledger.due(self.now).into_iter().enumerate() {
            let tx = *self.signed_ever.iter().find(|tx| tx.hash == hash).unwrap();
            if !lost.get(index).copied().unwrap_or(false) && !self.pool.contains(&tx) {
                self.pool.push(tx);
            }
        }
    }

    fn push_block(&mut self, block: Vec<Tx>) {
        self.past.push(self.chain.clone());
        self.chain.blocks.push(block);
        self.solid = self
            .solid
            .max(self.chain.blocks.len().saturating_sub(self.confirmations as usize));
        self.check_chain();
    }

    fn mine(&mut self, picks: &[usize]) {
        let mut block = Vec::new();
        for (nonce, pick) in (self.chain.count()..).zip(picks) {
            let candidates: Vec<Tx> = self.pool.iter().filter(|tx| tx.nonce == nonce).copied().collect();
            if candidates.is_empty() {
                break;
            }
            block.push(candidates[pick % candidates.len()]);
        }
        self.push_block(block);
    }

    fn check_chain(&self) {
        let mut effects: HashMap<IntentId, usize> = HashMap::new();
        for (index, tx) in self.chain.blocks.iter().flatten().enumerate() {
            assert_eq!(tx.nonce, index as u64);
            if let Some((id, Purpose::Call)) = tx.owner {
                *effects.entry(id).or_default() += 1;
            }
        }
        for (id, times) in effects {
            assert_eq!(times, 1, "{id} took effect {times} times");
        }
    }

    fn observe(&mut self, chain: &Chain) {
        let mut seen = Observation {
            head: chain.blocks.len() as u64,
            latest_count: chain.count(),
            final_count: chain.final_count(self.confirmations),
            ..Observation::default()
        };
        for (id, _, hashes) in self.ledger.seats() {
            seen.asked.insert(id);
            for hash in hashes {
                for (index, block) in chain.blocks.iter().enumerate() {
                    if block.iter().any(|tx| tx.hash == hash) {
                        let block = index as u64 + 1;
                        seen.landed.insert(hash, Landing { block, success: true });
                    }
                }
            }
        }
        for change in self.ledger.observe(self.now, &seen) {
            match change {
                Change::Ended(id, end) => {
                    let saved = self.saved.get_mut(&id).unwrap();
                    saved.ended = true;
                    if let End::Landed { hash, .. } = end {
                        let solid = self.chain.blocks[..self.solid].iter().flatten();
                        assert!(solid.copied().any(|tx| tx.hash == hash), "{id} called final but is not");
                    }
                }
                Change::Unseated(_) => {}
            }
        }
    }

    fn crash(&mut self) {
        self.ledger = NonceLedger::new(self.confirmations);
        for (id, saved) in &self.saved {
            if !saved.ended {
                self.ledger
                    .restore(*id, saved.nonce.unwrap(), saved.signed.clone(), saved.void);
            }
        }
        // An intent that was never signed was never promised either.
        let unsaved = std::mem::take(&mut self.unsaved);
        self.wanted.retain(|id| !unsaved.contains(id));
    }

    fn step(&mut self, act: &Act) {
        match act {
            Act::Submit => {
                let id = self.fresh_id();
                self.wanted.push(id);
                self.unsaved.push(id);
                self.ledger.submit(id);
            }
            Act::Sign { crash_before_sending } => {
                self.sign_all();
                if *crash_before_sending {
                    self.crash();
                }
            }
            Act::Send { lost } => self.send(lost),
            Act::Mine { picks } => self.mine(picks),
            Act::Stranger => {
                let tx = Tx {
                    nonce: self.chain.count(),
                    hash: self.fresh_hash(),
                    owner: None,
                };
                self.push_block(vec![tx]);
            }
            Act::Replace { depth, lost } => {
                let keep = self.chain.blocks.len().saturating_sub(*depth).max(self.solid);
                let undone: Vec<Tx> = self.chain.blocks.drain(keep..).flatten().collect();
                if !lost {
                    self.pool.extend(undone.into_iter().filter(|tx| tx.owner.is_some()));
                }
            }
            Act::DropPool { keep } => self.pool.truncate(*keep),
            Act::Observe => {
                let chain = self.chain.clone();
                self.observe(&chain);
            }
            Act::ObserveLagging { back } => {
                if let Some(index) = self.past.len().checked_sub(*back) {
                    let chain = self.past[index].clone();
                    self.observe(&chain);
                }
            }
            Act::Withdraw { which } => {
                if let Some(id) = self.wanted.get(*which).copied()
                    && self.ledger.void(id)
                {
                    self.saved.get_mut(&id).unwrap().void = true;
                }
            }
            Act::Revive { which } => {
                if let Some(id) = self.wanted.get(*which).copied()
                    && self.ledger.revive(id)
                {
                    self.saved.get_mut(&id).unwrap().void = false;
                }
            }
            Act::Crash => self.crash(),
            Act::Wait { ms } => self.now += Duration::from_millis(*ms),
        }
    }

    /// From now on everything works as it should: all that was promised must come about.
    fn calm(&mut self) {
        for _ in 0..80 {
            self.now += RESEND.1;
            let chain = self.chain.clone();
            self.observe(&chain);
            self.sign_all();
            self.send(&[]);
            self.mine(&[0; 8]);
        }
        for id in &self.wanted {
            let saved = &self.saved[id];
            let effects = self
                .chain
                .blocks
                .iter()
                .flatten()
                .filter(|tx| tx.owner == Some((*id, Purpose::Call)))
                .count();
            if !saved.void {
                assert!(saved.ended, "{id} never ended: {saved:?}");
                assert_eq!(effects, 1, "{id} took effect {effects} times");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_intent_takes_effect_exactly_once(confirmations in 0..4u64, acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new(confirmations);
        for act in &acts {
            world.step(act);
        }
        world.calm();
    }
}

#[test]
fn a_replaced_block_sends_the_transaction_again_at_once() {
    let mut ledger = NonceLedger::new(2);
    let hash = B256::repeat_byte(1);
    ledger.observe(Duration::ZERO, &Observation::default());
    ledger.submit(1);
    let (id, nonce) = ledger.next_assignment().unwrap();
    ledger.signed(id, nonce, hash, Purpose::Call);
    assert_eq!(ledger.due(Duration::ZERO), vec![(1, hash)]);
    assert!(ledger.due(Duration::ZERO).is_empty());
    let mut seen = Observation {
        head: 10,
        latest_count: 1,
        asked: HashSet::from([1]),
        ..Observation::default()
    };
    seen.landed.insert(
        hash,
        Landing {
            block: 10,
            success: true,
        },
    );
    assert!(
        ledger.observe(Duration::ZERO, &seen).is_empty(),
        "not deep enough to be final"
    );
    seen.landed.clear();
    seen.latest_count = 0;
    assert!(ledger.observe(Duration::ZERO, &seen).is_empty());
    assert_eq!(ledger.due(Duration::ZERO), vec![(1, hash)]);
}
