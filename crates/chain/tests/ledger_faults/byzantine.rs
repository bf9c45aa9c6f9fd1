//! Validators that lie: one that signs two things for one height, one whose blocks claim a wrong state root.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::consensus::{Block, Header, TxEnvelope};
use alloy::primitives::{Address, B256, Bytes};
use alloy::rlp::Decodable;
use hanse_chain::application::{Application, Decided, Durability, Halt, HeightRules, InvalidBlock, Refused, Tip};
use hanse_chain::consensus::{Consensus, ConsensusConfig, Wishes};
use hanse_chain::ledger::Ledger;
use tokio::sync::{mpsc, watch};

use crate::league::{League, QUICK, seeded};
use crate::processes::Process;
use crate::support::key;
use crate::switch::{Switch, Weather};

/// Whether a node has recorded something of this kind about a member.
fn has_recorded(folder: &Path, kinds: &[&str], member: u8) -> bool {
    let Ok(text) = std::fs::read_to_string(folder.join("consensus/evidence.json")) else {
        return false;
    };
    let account = format!("{:?}", key(member).address()).to_lowercase();
    text.to_lowercase().contains(&account) && kinds.iter().any(|kind| text.contains(kind))
}

/// The ledger of a validator that claims another state root than its blocks make.
struct Liar(Arc<Ledger>);

impl Application for Liar {
    fn build(&self, proposer: Address, now_ms: u64) -> Result<Bytes, Halt> {
        let honest = self.0.build(proposer, now_ms)?;
        let mut block = Block::<TxEnvelope, Header>::decode(&mut &honest[..]).unwrap();
        block.header.state_root = B256::repeat_byte(0x66);
        Ok(alloy::rlp::encode(&block).into())
    }

    fn tip(&self) -> Tip {
        self.0.tip()
    }
    fn rules(&self) -> Result<HeightRules, Halt> {
        self.0.rules()
    }
    fn validate(&self, proposer: Address, block: &[u8], now_ms: u64) -> Result<(), Refused> {
        self.0.validate(proposer, block, now_ms)
    }
    fn block_id(&self, block: &[u8]) -> Result<B256, InvalidBlock> {
        self.0.block_id(block)
    }
    fn commit(&self, block: &[u8], certificate: &[u8], durability: Durability) -> Result<Tip, Halt> {
        self.0.commit(block, certificate, durability)
    }
    fn flush(&self) -> Result<(), Halt> {
        self.0.flush()
    }
    fn decided(&self, height: u64) -> Result<Option<Decided>, Halt> {
        self.0.decided(height)
    }
    fn earliest(&self) -> u64 {
        self.0.earliest()
    }
    fn waiting(&self) -> watch::Receiver<usize> {
        self.0.waiting()
    }
    fn receive_transactions(&self, transactions: Vec<Bytes>) {
        self.0.receive_transactions(transactions);
    }
    fn outgoing_transactions(&self) -> Option<mpsc::Receiver<Bytes>> {
        self.0.outgoing_transactions()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_with_a_wrong_state_root_are_refused_and_recorded_and_the_others_go_on() {
    let mut league = League::on_loopback(4);
    (0..3).for_each(|member| league.start(member));
    let own = league.settings[3].config();
    let ledger = Ledger::open(&own.data_dir, &own.genesis).unwrap();
    let genesis = ledger.tip().hash;
    let liar = ConsensusConfig {
        ledger: genesis,
        keys: own.keys,
        listen: own.consensus_listen,
        folder: own.data_dir.join("consensus"),
        bootstrap: Vec::new(),
        wishes: watch::Sender::new(Wishes::default()).subscribe(),
    };
    std::fs::create_dir_all(&liar.folder).unwrap();
    let liar = Consensus::start(liar, Arc::new(Liar(ledger.clone()))).await.unwrap();
    let honest = [0, 1, 2];
    league.reach(&honest, 1, "first block").await;
    // One of them refused its proposal, said why, and kept that.
    let recorded = |league: &League| {
        honest.iter().any(|node| {
            let text = std::fs::read_to_string(league.folder(*node).join("consensus/evidence.json"));
            has_recorded(league.folder(*node), &["invalid-block"], 3) && text.unwrap().contains("state root")
        })
    };
    let deadline = Instant::now() + Duration::from_secs(180);
    let mut rounds = 0;
    while rounds < 6 || !recorded(&league) {
        assert!(Instant::now() < deadline, "nobody recorded what the liar proposed");
        for member in honest {
            league.submit(member, member).await;
        }
        let height = league.height();
        league.reach(&honest, height + 2, "blocks in spite of the liar").await;
        rounds += 1;
    }
    league.all_decided().await;
    liar.shutdown().await;
    drop(ledger);
    // What the liar's engine still has under way holds the store open, and its folder is for one process at a time.
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = Ledger::open(&own.data_dir, &own.genesis) {
        assert!(Instant::now() < deadline, "the liar's store is still open: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("TALLY wrong_state_roots=1");
    league.start(3);
    league.finish().await;
}

#[test]
fn a_validator_that_signs_two_things_is_recorded_and_stopped_and_the_others_go_on() {
    hanse_sandbox::run(
        "byzantine::a_validator_that_signs_two_things_is_recorded_and_stopped_and_the_others_go_on",
        async || {
            let (seed, _) = seeded();
            // The third member's key is in use at a fifth place. The two nodes can't see each other, and nobody sees both: a
            // node sends gossip over one connection of a peer only, so one of two twins beside each other would hear nothing
            // and sign nothing in time. The fourth member is away, so that nothing is decided without the twins.
            let switch = Switch::new(5, seed);
            switch.link(|from, to| !matches!((from.min(to), from.max(to)), (1, 2) | (0, 4) | (2, 4)));
            // What is late for one of the twins is in time for the other, and their votes come before the height is over.
            switch.set_weather(Weather {
                delay_ms: (20, 400),
                ..Weather::default()
            });
            let mut league = League::on(&switch, 4, QUICK);
            let mut second = league.settings[2].clone();
            second.folder = second.folder.with_extension("second");
            second.listen = switch.address(4);
            second.prefix = switch.prefix(4);
            std::fs::create_dir_all(&second.folder).unwrap();
            for name in ["genesis.json", "validator.key"] {
                std::fs::copy(league.folder(2).join(name), second.folder.join(name)).unwrap();
            }
            (0..3).for_each(|member| league.start(member));
            let twin = Process::start(&second);
            let honest = [0, 1];
            league.reach(&honest, 1, "first block").await;
            let deadline = Instant::now() + Duration::from_secs(240);
            let halted = |league: &League| {
                let theirs = [league.report(2).halted, twin.report.borrow().halted.clone()];
                theirs.into_iter().flatten().next()
            };
            while halted(&league).is_none() {
                assert!(Instant::now() < deadline, "neither twin was told");
                league.submit(0, 0).await;
                let height = league.height();
                let next = league.reach(&honest, height + 1, "a block in spite of the twins");
                let _ = tokio::time::timeout(Duration::from_secs(5), next).await;
            }
            let reason = halted(&league).unwrap();
            assert!(reason.contains("another node runs with the same key"), "{reason}");
            switch.set_weather(Weather::default());
            league.start(3);
            let height = league.height();
            league.reach(&[0, 1, 3], height + 2, "blocks without the twins").await;
            let recorded = honest
                .iter()
                .any(|node| has_recorded(league.folder(*node), &["double-vote", "double-proposal"], 2));
            assert!(recorded, "nobody recorded what was signed twice");
            println!("TALLY equivocations=1");
            // The fault is over: one node with the key, which is told to go on.
            twin.kill().await;
            league.kill(2).await;
            league.start(2);
            league.finish().await;
        },
    );
}
