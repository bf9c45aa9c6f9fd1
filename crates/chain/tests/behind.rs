//! A node that was away for long takes the state of a later block, and fetches afterwards the blocks that it passed by: from
//! members that are honest, from members that lie, and killed in the middle.
#![allow(clippy::unwrap_used, missing_docs)]

mod founding;
mod sources;
mod support;

use std::path::Path;
use std::sync::Arc;

use alloy::primitives::B256;
use founding::Founders;
use hanse_chain::application::{Application, Durability};
use hanse_chain::consensus::certify;
use hanse_chain::genesis::Genesis;
use hanse_chain::key::ValidatorKey;
use hanse_chain::ledger::Ledger;
use hanse_chain::snapshot::wire::{BlockPage, HeaderPage};
use hanse_chain::snapshot::{Outcome, Settings, Source, SourceError, Standing, fetch, fill};
use hanse_chain::store::{LogQuery, LogQueryError, StoreError};
use rand::{Rng, SeedableRng};
use sources::Honest;
use sources::slow::{self, Slow};

/// Executes blocks that others decided.
fn follow(from: &Ledger, to: &Ledger) {
    for height in to.tip().height + 1..=from.tip().height {
        let decided = from.decided(height).unwrap().unwrap();
        to.commit(&decided.block, &decided.certificate, Durability::Immediate)
            .unwrap();
    }
}

fn bring_up(folder: &Path, genesis: &Genesis, members: Vec<Box<dyn Source>>) -> Outcome {
    let settings = Settings {
        data_dir: folder.to_path_buf(),
        genesis: genesis.clone(),
        fill: true,
        least_blocks: 10,
        most_bytes: 1 << 30,
    };
    let standing = Standing::read(folder, genesis).unwrap();
    fetch(&settings, standing.as_ref(), members, &|| false, &mut |_| {}).unwrap()
}

fn fill_from(ledger: &Arc<Ledger>, members: Vec<Box<dyn Source>>) {
    fill(&Arc::downgrade(ledger), &members, &|| false).unwrap();
}

/// Four founders and a node that stopped when they had eight blocks; then the membership changed, and they have some 80.
fn left_behind(folder: &Path, late: &Path) -> Founders {
    let mut founders = Founders::start(folder, 4);
    founders.announce(0, 3);
    founders.empty_blocks(7);
    follow(&founders.ledger, &Ledger::open(late, &founders.genesis).unwrap());
    founders.announce(0, 3);
    founders.live();
    founders
}

fn logs(ledger: &Ledger, from: u64, to: u64) -> Result<usize, LogQueryError> {
    let query = LogQuery {
        from,
        to,
        ..LogQuery::default()
    };
    query.run(ledger.head().snapshot()).map(|logs| logs.len())
}

/// This ledger has everything that the founders' has.
fn has_everything(founders: &Founders, ledger: &Ledger) {
    founders.empty_blocks(1);
    follow(&founders.ledger, ledger);
    let (here, there) = (ledger.head(), founders.ledger.head());
    assert_eq!((ledger.tip(), here.rules()), (founders.ledger.tip(), there.rules()));
    assert_eq!(ledger.earliest(), 1);
    let (here, there) = (here.snapshot(), there.snapshot());
    for height in 1..=here.height() {
        assert_eq!(
            ledger.decided(height).unwrap(),
            founders.ledger.decided(height).unwrap()
        );
        let block = here.block_at(height).unwrap();
        assert_eq!(block, there.block_at(height).unwrap());
        assert_eq!(here.receipts_at(height).unwrap(), there.receipts_at(height).unwrap());
        for transaction in &block.unwrap().body.transactions {
            let hash = *transaction.tx_hash();
            assert_eq!(
                here.transaction_position(hash).unwrap(),
                there.transaction_position(hash).unwrap()
            );
        }
    }
    let all = |ledger: &Ledger| logs(ledger, 0, u64::MAX).unwrap();
    assert_eq!(all(ledger), all(&founders.ledger));
}

#[test]
fn who_was_away_for_long_has_the_state_at_once_and_then_all_that_it_missed() {
    let folders: [tempfile::TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mut founders = left_behind(folders[0].path(), folders[1].path());
    let genesis = founders.genesis.clone();
    let (height, before) = (founders.ledger.tip().height, 8);
    let outcome = bring_up(
        folders[1].path(),
        &genesis,
        vec![Box::new(Honest::new(&founders.ledger))],
    );
    assert_eq!(outcome, Outcome::Installed { height });
    let late = Ledger::open(folders[1].path(), &genesis).unwrap();
    assert_eq!(late.tip(), founders.ledger.tip());
    let state = late.head().snapshot().header().state_root;
    assert_eq!(state, founders.ledger.head().snapshot().header().state_root);

    // What it had it still has, and what it missed is not denied but awaited.
    assert_eq!(logs(&late, 0, before).unwrap(), 3);
    let awaited = |height: u64| StoreError::Awaited {
        height,
        next: before + 1,
        floor: late.tip().height,
    };
    assert_eq!(
        logs(&late, before, before + 5),
        Err(LogQueryError::Store(awaited(before + 1)))
    );
    let missed = founders.ledger.head().snapshot().block_at(before + 1).unwrap().unwrap();
    let snapshot = late.head().snapshot().clone();
    assert_eq!(snapshot.block_at(before + 1), Err(awaited(before + 1)));
    let hash = *missed.body.transactions[0].tx_hash();
    assert_eq!(snapshot.transaction_position(hash), Err(awaited(before + 1)));
    assert_eq!(late.earliest(), late.tip().height, "others don't catch up from it now");
    assert_eq!(
        late.prune(before).unwrap(),
        late.tip().height,
        "nothing is forgotten meanwhile"
    );
    drop(snapshot);

    // It goes on, and is away once more before it has fetched anything.
    founders.announce(2, 4);
    follow(&founders.ledger, &late);
    drop(late);
    founders.empty_blocks(30);
    bring_up(
        folders[1].path(),
        &genesis,
        vec![Box::new(Honest::new(&founders.ledger))],
    );
    let late = Ledger::open(folders[1].path(), &genesis).unwrap();
    assert_eq!(late.gap().unwrap().unwrap().next, before + 1);
    fill_from(&late, vec![Box::new(Honest::new(&founders.ledger))]);
    assert_eq!(late.gap().unwrap(), None);
    has_everything(&founders, &late);

    // A founder that has lost its store gets the same, from who got it this way.
    bring_up(folders[2].path(), &genesis, vec![Box::new(Honest::new(&late))]);
    let lost = Ledger::open(folders[2].path(), &genesis).unwrap();
    assert_eq!((lost.tip(), lost.gap().unwrap().unwrap().next), (late.tip(), 1));
    fill_from(&lost, vec![Box::new(Honest::new(&late))]);
    has_everything(&founders, &lost);
}

#[test]
fn what_nobody_has_any_more_is_given_up() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let founders = left_behind(folders[0].path(), folders[1].path());
    let height = founders.ledger.tip().height;
    while founders.ledger.prune(30).unwrap() < 30 {}
    founders.empty_blocks(1);
    bring_up(
        folders[1].path(),
        &founders.genesis,
        vec![Box::new(Honest::new(&founders.ledger))],
    );
    let late = Ledger::open(folders[1].path(), &founders.genesis).unwrap();
    fill_from(&late, vec![Box::new(Honest::new(&founders.ledger))]);
    assert_eq!(late.gap().unwrap(), None);
    founders.empty_blocks(1);
    follow(&founders.ledger, &late);
    let floor = height + 1;
    assert_eq!(late.earliest(), floor);
    let pruned = StoreError::Pruned { height: 20, floor };
    assert_eq!(logs(&late, 20, 25), Err(LogQueryError::Store(pruned)));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    HiddenChange,
    ForgedHeaders,
    Garbage,
    OtherBlocks,
    NoReceipts,
    ForgedCertificate,
}

struct Liar {
    honest: Honest,
    lie: Lie,
    origin: B256,
    /// Of one founder.
    key: ValidatorKey,
}

impl Source for Liar {
    fn name(&self) -> &str {
        "liar"
    }
    fn offer(&self) -> Result<Vec<u8>, SourceError> {
        self.honest.offer()
    }
    fn headers(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        let mut page: HeaderPage = borsh::from_slice(&self.honest.headers(from, to)?).unwrap();
        match self.lie {
            Lie::HiddenChange => page.handovers.clear(),
            Lie::ForgedHeaders => page.certificate = vec![0; 100],
            _ => {}
        }
        Ok(borsh::to_vec(&page).unwrap())
    }
    fn chunk(&self, hash: B256) -> Result<Vec<u8>, SourceError> {
        self.honest.chunk(hash)
    }
    fn blocks(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        let mut page: BlockPage = borsh::from_slice(&self.honest.blocks(from, to)?).unwrap();
        match self.lie {
            Lie::Garbage => return Ok(vec![0xff; 1000]),
            Lie::OtherBlocks => drop(page.blocks.remove(0)),
            Lie::NoReceipts => page.blocks.iter_mut().for_each(|block| block.receipts = vec![0xc0]),
            Lie::ForgedCertificate => {
                let keys = std::slice::from_ref(&self.key);
                page.blocks[0].certificate = certify(self.origin, from, B256::ZERO, keys).to_vec();
            }
            _ => {}
        }
        Ok(borsh::to_vec(&page).unwrap())
    }
}

#[test]
fn whoever_lies_changes_nothing_and_the_honest_member_serves() {
    for lie in [
        Lie::HiddenChange,
        Lie::ForgedHeaders,
        Lie::Garbage,
        Lie::OtherBlocks,
        Lie::NoReceipts,
        Lie::ForgedCertificate,
    ] {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let founders = left_behind(folders[0].path(), folders[1].path());
        let (late, genesis) = (folders[1].path(), &founders.genesis);
        let liar = || {
            Box::new(Liar {
                honest: Honest::new(&founders.ledger),
                lie,
                origin: founders.origin(),
                key: founders.key_of(0),
            })
        };
        let honest = || Box::new(Honest::new(&founders.ledger));
        let outcome = bring_up(late, genesis, vec![liar()]);
        if matches!(lie, Lie::HiddenChange | Lie::ForgedHeaders) {
            assert!(matches!(outcome, Outcome::Unavailable(_)), "{lie:?}: {outcome:?}");
            let ledger = Ledger::open(late, genesis).unwrap();
            assert_eq!((ledger.tip().height, ledger.gap().unwrap()), (8, None), "{lie:?}");
            drop(ledger);
            bring_up(late, genesis, vec![liar(), honest()]);
        }
        let ledger = Ledger::open(late, genesis).unwrap();
        assert_eq!(ledger.tip(), founders.ledger.tip(), "{lie:?}");
        if !matches!(lie, Lie::HiddenChange | Lie::ForgedHeaders) {
            fill_from(&ledger, vec![liar()]);
            let gap = ledger.gap().unwrap().expect("a liar does not make one give up");
            assert_eq!(gap.next, 9, "{lie:?}");
        }
        fill_from(&ledger, vec![liar(), honest()]);
        has_everything(&founders, &ledger);
    }
}

/// Not a test of its own: what the killed process runs.
#[test]
fn child_catches_up_until_it_is_killed() {
    let Some([source, target]) = slow::folders_of_child() else {
        return;
    };
    let genesis = Genesis::load(&source.join("genesis.json")).unwrap();
    let ledger = Ledger::open(&source, &genesis).unwrap();
    let slow = || -> Vec<Box<dyn Source>> {
        vec![Box::new(Slow {
            headers: 21,
            blocks: 5,
            ..Slow::new(&ledger)
        })]
    };
    bring_up(&target, &genesis, slow());
    let late = Ledger::open(&target, &genesis).unwrap();
    fill_from(&late, slow());
    slow::done();
}

#[test]
fn a_node_killed_while_it_catches_up_has_what_it_had_and_goes_on() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let folders: [tempfile::TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let founders = left_behind(folders[0].path(), folders[1].path());
    let genesis = founders.genesis.clone();
    let document = serde_json::to_vec(&genesis).unwrap();
    std::fs::write(folders[0].path().join("genesis.json"), document).unwrap();
    let tip = founders.ledger.tip();
    // The child opens the founders' store.
    drop(founders);
    let (mut kills, mut reached) = (0, 9);
    loop {
        let limit = if kills < 8 {
            random.random_range(1..5)
        } else {
            usize::MAX
        };
        let child = "child_catches_up_until_it_is_killed";
        let (_, filled) = slow::killed_after(limit, child, folders[0].path(), folders[1].path());
        let late = Ledger::open(folders[1].path(), &genesis).unwrap();
        assert_eq!(logs(&late, 0, 8).unwrap(), 3, "what it had is there");
        let next = match (late.gap().unwrap(), late.tip().height) {
            (None, 8) => 9,
            (Some(gap), _) => gap.next,
            (None, height) => height + 1,
        };
        assert!(next >= reached, "{next} {reached}: what was fetched is kept");
        assert!(late.tip().height == 8 || late.tip() == tip);
        reached = next;
        if filled {
            break;
        }
        kills += 1;
        assert!(kills < 20, "it never ends");
    }
    assert!(kills >= 2, "killed {kills} times only");
    let founders_ledger = Ledger::open(folders[0].path(), &genesis).unwrap();
    let late = Ledger::open(folders[1].path(), &genesis).unwrap();
    assert_eq!((late.tip(), late.earliest(), late.gap().unwrap()), (tip, 1, None));
    for height in 1..=tip.height {
        assert_eq!(late.decided(height).unwrap(), founders_ledger.decided(height).unwrap());
    }
}
