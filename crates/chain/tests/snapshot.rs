//! Joining by snapshot: from members that are honest, from members that lie, and killed in the middle.
#![allow(clippy::unwrap_used, missing_docs)]

mod founding;
mod sources;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use alloy::primitives::{B256, keccak256};
use founding::{Founders, lived};
use hanse_chain::application::{Application, Durability};
use hanse_chain::genesis::Genesis;
use hanse_chain::key::ValidatorKey;
use hanse_chain::ledger::Ledger;
use hanse_chain::snapshot::wire::{HeaderPage, MAX_ANSWER, Offer};
use hanse_chain::snapshot::{Outcome, Settings, Source, SourceError, SyncError, fetch};
use hanse_chain::store::{Rows, Store};
use rand::{Rng, SeedableRng};
use sources::Honest;
use sources::slow::{self, Slow};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Garbage,
    WrongChunk,
    WrongState,
    ForgedCertificate,
    HiddenChange,
    OtherHeader,
    EndlessHeaders,
    TooLong,
    LostChunk,
}

/// A member that lies in one way, and says that it is ahead of the others.
struct Liar {
    honest: Honest,
    lie: Lie,
    origin: B256,
    /// Of one former member.
    key: ValidatorKey,
}

impl Liar {
    /// The state with one slot changed.
    fn changed(&self, chunk: &[u8]) -> Vec<u8> {
        match borsh::from_slice(chunk).unwrap() {
            Rows::Storage(mut rows) if !rows.is_empty() => {
                rows[0].2[31] ^= 1;
                Rows::Storage(rows).encode().1
            }
            _ => chunk.to_vec(),
        }
    }
}

impl Source for Liar {
    fn name(&self) -> &str {
        "liar"
    }
    fn offer(&self) -> Result<Vec<u8>, SourceError> {
        let mut offer: Offer = borsh::from_slice(&self.honest.offer()?).unwrap();
        match self.lie {
            Lie::Garbage => return Ok(vec![0xff; 1000]),
            Lie::TooLong => return Ok(vec![0; MAX_ANSWER + 1]),
            Lie::WrongState => {
                for hash in &mut offer.chunks {
                    let chunk = self.honest.chunk((*hash).into())?;
                    *hash = keccak256(self.changed(&chunk)).0;
                }
            }
            Lie::EndlessHeaders | Lie::OtherHeader => {
                let block =
                    alloy::consensus::Block::<alloy::consensus::TxEnvelope>::decode_sealed(&mut &offer.block[..]);
                let mut block = block.unwrap().into_inner();
                if self.lie == Lie::EndlessHeaders {
                    block.header.number = 1 << 40;
                } else {
                    block.header.extra_data = b"mine".into();
                }
                offer.block = alloy::rlp::encode(&block);
            }
            _ => {}
        }
        Ok(borsh::to_vec(&offer).unwrap())
    }
    fn headers(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        let mut page: HeaderPage = borsh::from_slice(&self.honest.headers(from, to)?).unwrap();
        let last = from + page.headers.len() as u64 - 1;
        match self.lie {
            Lie::ForgedCertificate => {
                let hash = keccak256(page.headers.last().unwrap());
                let keys = std::slice::from_ref(&self.key);
                page.certificate = hanse_chain::consensus::certify(self.origin, last, hash, keys).to_vec();
            }
            Lie::HiddenChange => page.handovers.clear(),
            Lie::EndlessHeaders => {
                // Linked, well-formed, and decided by nobody.
                let mut header: alloy::consensus::Header = alloy::rlp::decode_exact(&page.headers[0]).unwrap();
                page.handovers.clear();
                page.headers.clear();
                for _ in 0..512 {
                    header.logs_bloom = Default::default();
                    page.headers.push(alloy::rlp::encode(&header));
                    header.parent_hash = header.hash_slow();
                    header.number += 1;
                }
            }
            _ => {}
        }
        Ok(borsh::to_vec(&page).unwrap())
    }
    fn blocks(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        self.honest.blocks(from, to)
    }
    fn chunk(&self, hash: B256) -> Result<Vec<u8>, SourceError> {
        match self.lie {
            Lie::WrongChunk => Ok(self.changed(&self.honest.chunk(hash)?)).map(|mut chunk| {
                chunk.push(0);
                chunk
            }),
            Lie::LostChunk => Err(SourceError::Nothing("lost".into())),
            Lie::WrongState => {
                // Found by trying, for what was asked is the hash of what was changed.
                let offer: Offer = borsh::from_slice(&self.honest.offer()?).unwrap();
                let chunks = offer
                    .chunks
                    .iter()
                    .map(|hash| self.changed(&self.honest.chunk((*hash).into()).unwrap()));
                Ok(chunks.into_iter().find(|chunk| keccak256(chunk) == hash).unwrap())
            }
            _ => self.honest.chunk(hash),
        }
    }
}

fn settings(folder: &Path, genesis: &Genesis) -> Settings {
    Settings {
        data_dir: folder.to_path_buf(),
        genesis: genesis.clone(),
        fill: false,
        least_blocks: 10,
        most_bytes: 1 << 30,
    }
}

fn join(folder: &Path, genesis: &Genesis, members: Vec<Box<dyn Source>>) -> Result<Outcome, SyncError> {
    fetch(&settings(folder, genesis), None, members, &|| false, &mut |_| {})
}

/// The newcomer's ledger is that of the others, and goes on with them.
fn is_whole(founders: &mut Founders, folder: &Path) -> Arc<Ledger> {
    let newcomer = Ledger::open(folder, &founders.genesis).unwrap();
    let (here, there) = (newcomer.head(), founders.ledger.head());
    assert_eq!((newcomer.tip(), here.rules()), (founders.ledger.tip(), there.rules()));
    assert_eq!(
        here.snapshot().header().state_root,
        there.snapshot().header().state_root
    );
    assert_eq!(newcomer.earliest(), newcomer.tip().height);
    for height in 0..=here.height() {
        assert_eq!(
            here.snapshot().header_at(height).unwrap(),
            there.snapshot().header_at(height).unwrap(),
            "BLOCKHASH and clients read headers"
        );
    }
    let tip = newcomer.tip().height;
    assert_eq!(newcomer.decided(tip).unwrap(), founders.ledger.decided(tip).unwrap());
    founders.announce(2, 2);
    founders.empty_blocks(2);
    for height in tip + 1..=founders.ledger.tip().height {
        let decided = founders.ledger.decided(height).unwrap().unwrap();
        newcomer
            .commit(&decided.block, &decided.certificate, Durability::Immediate)
            .unwrap();
    }
    assert_eq!(newcomer.tip(), founders.ledger.tip());
    newcomer
}

#[test]
fn a_newcomer_has_the_same_state_and_goes_on_and_can_be_joined_from_in_turn() {
    let folders: [tempfile::TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mut founders = lived(folders[0].path());
    // Pruned members serve as well.
    let floor = founders.ledger.tip().height - 20;
    while founders.ledger.prune(floor).unwrap() < floor {}
    founders.empty_blocks(1);
    let height = founders.ledger.tip().height;
    let genesis = founders.genesis.clone();
    let outcome = join(
        folders[1].path(),
        &genesis,
        vec![Box::new(Honest::new(&founders.ledger))],
    )
    .unwrap();
    assert_eq!(outcome, Outcome::Installed { height });
    let second = is_whole(&mut founders, folders[1].path());
    assert!(!folders[1].path().join("snapshot.redb").exists());

    let height = second.tip().height;
    let outcome = join(folders[2].path(), &genesis, vec![Box::new(Honest::new(&second))]).unwrap();
    assert_eq!(outcome, Outcome::Installed { height });
    drop(is_whole(&mut founders, folders[2].path()));
    let again = join(folders[2].path(), &genesis, vec![Box::new(Honest::new(&second))]).unwrap();
    assert_eq!(again, Outcome::NotNeeded, "who has a ledger keeps it");
}

#[test]
fn whoever_lies_is_found_and_the_honest_member_serves() {
    let folder = tempfile::tempdir().unwrap();
    let mut founders = lived(folder.path());
    for (lie, reason) in [
        (Lie::Garbage, "does not decode"),
        (Lie::WrongChunk, "a chunk that is not what it said"),
        (Lie::WrongState, "the chunks are not the state of the block"),
        (Lie::ForgedCertificate, "is not proven"),
        (Lie::HiddenChange, "the receipts of block"),
        (Lie::OtherHeader, "not the one that the validators decided"),
        (Lie::EndlessHeaders, "header page"),
        (Lie::TooLong, "too large"),
        (Lie::LostChunk, "nothing in all attempts"),
    ] {
        let liar = || Liar {
            honest: Honest::new(&founders.ledger),
            lie,
            origin: founders.origin(),
            key: founders.key_of(0),
        };
        let target = tempfile::tempdir().unwrap();
        match join(target.path(), &founders.genesis, vec![Box::new(liar())]).unwrap() {
            Outcome::Unavailable(reasons) => assert!(reasons.contains(reason), "{lie:?}: {reasons}"),
            other => panic!("{lie:?}: {other:?}"),
        }
        assert!(
            Store::is_new(target.path()),
            "{lie:?} left something that looks like a ledger"
        );
        // The same folder, with what the liar left in it.
        let members: Vec<Box<dyn Source>> = vec![Box::new(liar()), Box::new(Honest::new(&founders.ledger))];
        let outcome = join(target.path(), &founders.genesis, members).unwrap();
        let height = founders.ledger.tip().height;
        assert_eq!(outcome, Outcome::Installed { height }, "{lie:?}");
        drop(is_whole(&mut founders, target.path()));
    }
}

#[test]
fn the_newest_state_is_taken_and_a_stale_one_only_if_there_is_no_other() {
    let folders: [tempfile::TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let founders = lived(folders[0].path());
    let genesis = founders.genesis.clone();
    let stale = Honest::new(&founders.ledger);
    stale.offer().unwrap();
    let height = founders.ledger.tip().height;
    founders.empty_blocks(30);
    let outcome = join(
        folders[1].path(),
        &genesis,
        vec![Box::new(stale), Box::new(Honest::new(&founders.ledger))],
    );
    assert_eq!(outcome.unwrap(), Outcome::Installed { height: height + 30 });

    let stale = Honest::new(&founders.ledger);
    stale.offer().unwrap();
    founders.empty_blocks(30);
    let outcome = join(folders[2].path(), &genesis, vec![Box::new(stale)]);
    assert_eq!(outcome.unwrap(), Outcome::Installed { height: height + 30 });
}

#[test]
fn a_short_ledger_is_replayed() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let founders = Founders::start(folders[0].path(), 4);
    founders.empty_blocks(9);
    let members: Vec<Box<dyn Source>> = vec![Box::new(Honest::new(&founders.ledger))];
    assert_eq!(
        join(folders[1].path(), &founders.genesis, members).unwrap(),
        Outcome::NotNeeded
    );
    assert!(Store::is_new(folders[1].path()));
}

/// Not a test of its own: what the killed process runs.
#[test]
fn child_joins_until_it_is_killed() {
    let Some([source, target]) = slow::folders_of_child() else {
        return;
    };
    let genesis = Genesis::load(&source.join("genesis.json")).unwrap();
    let ledger = Ledger::open(&source, &genesis).unwrap();
    let outcome = join(&target, &genesis, vec![Box::new(Slow::new(&ledger))]).unwrap();
    assert!(matches!(outcome, Outcome::Installed { .. }), "{outcome:?}");
    slow::done();
}

#[test]
fn a_newcomer_killed_at_any_moment_goes_on_with_what_it_has() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut founders = Founders::start(folders[0].path(), 4);
    founders.announce(0, 1200);
    founders.empty_blocks(1100);
    let genesis = founders.genesis.clone();
    std::fs::write(
        folders[0].path().join("genesis.json"),
        serde_json::to_vec(&genesis).unwrap(),
    )
    .unwrap();
    let (tip, root) = (
        founders.ledger.tip(),
        founders.ledger.head().snapshot().header().state_root,
    );
    drop(founders);

    let mut asked: Vec<String> = Vec::new();
    let mut kills = 0;
    loop {
        let limit = if kills < 6 {
            random.random_range(1..4)
        } else {
            usize::MAX
        };
        let child = "child_joins_until_it_is_killed";
        let (heard, installed) = slow::killed_after(limit, child, folders[0].path(), folders[1].path());
        asked.extend(heard);
        if installed || !Store::is_new(folders[1].path()) {
            break;
        }
        kills += 1;
        assert!(kills < 20, "it never ends");
    }
    assert!(kills >= 2, "killed {kills} times only; asked {asked:?}");
    let mut distinct = asked.clone();
    distinct.sort();
    distinct.dedup();
    // Of each killed process at most the last request was in vain.
    assert!(asked.len() <= distinct.len() + kills, "{kills} kills: {asked:?}");
    let ledger = Ledger::open(folders[1].path(), &genesis).unwrap();
    assert_eq!(
        (ledger.tip(), ledger.head().snapshot().header().state_root),
        (tip, root)
    );
}

/// `cargo test --workspace --test snapshot -- --ignored --nocapture ten_thousand`
#[test]
#[ignore = "a measurement, for the documentation"]
fn joining_at_ten_thousand_blocks_takes() {
    let folders: [tempfile::TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mut founders = Founders::start(folders[0].path(), 4);
    for _ in 0..500 {
        founders.announce(0, 10);
        founders.empty_blocks(19);
    }
    let started = Instant::now();
    join(
        folders[1].path(),
        &founders.genesis,
        vec![Box::new(Honest::new(&founders.ledger))],
    )
    .unwrap();
    let newcomer = Ledger::open(folders[1].path(), &founders.genesis).unwrap();
    println!("{} blocks by snapshot: {:?}", newcomer.tip().height, started.elapsed());
    let started = Instant::now();
    let replaying = Ledger::open(folders[2].path(), &founders.genesis).unwrap();
    for height in 1..=founders.ledger.tip().height {
        let decided = founders.ledger.decided(height).unwrap().unwrap();
        replaying
            .commit(&decided.block, &decided.certificate, Durability::Immediate)
            .unwrap();
    }
    println!(
        "{} blocks by replay, without network and votes: {:?}",
        replaying.tip().height,
        started.elapsed()
    );
    assert_eq!(newcomer.tip(), replaying.tip());
}
