//! A fetch ends with the right bytes if any honest holder stays, whatever the others do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::LazyLock;
use std::time::Duration;

use libp2p::PeerId;
use zeroize::Zeroizing;

use super::*;
use crate::DomainKey;
use crate::model::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn peer(tag: u8) -> PeerId {
    DomainKey::from_secret(Zeroizing::new([tag; 32])).peer_id()
}

/// A blob of `blocks` full blocks and one that is not.
fn blob(blocks: usize) -> Layout {
    Layout::of(&content(blocks * MIB + 100)).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Honest,
    /// Sends something else.
    Liar,
    /// Has every other block.
    Half,
    /// Never answers.
    Mute,
    /// Answers that something went wrong.
    Broken,
}

/// The world around a fetch: holders, a disk, a clock.
struct World {
    blocks: BTreeMap<BlockId, Bytes>,
    order: Vec<BlockId>,
    disk: BTreeMap<BlockId, Vec<u8>>,
    kinds: BTreeMap<PeerId, Kind>,
    banned: BTreeSet<PeerId>,
    asked: VecDeque<(PeerId, BlockId)>,
    answered: BTreeMap<PeerId, usize>,
    now: UnixMillis,
    end: Option<Effect>,
}

impl World {
    fn new(layout: &Layout, kinds: &[Kind]) -> Self {
        let tags = 1..=u8::try_from(kinds.len()).unwrap();
        Self {
            blocks: layout.blocks().iter().cloned().collect(),
            order: layout.blocks().iter().map(|(id, _)| *id).collect(),
            disk: BTreeMap::new(),
            kinds: tags.map(peer).zip(kinds.iter().copied()).collect(),
            banned: BTreeSet::new(),
            asked: VecDeque::new(),
            answered: BTreeMap::new(),
            now: NOW,
            end: None,
        }
    }

    fn start(&mut self, root: BlockId, most: u64) -> Fetch {
        let (mut fetch, effects) = Fetch::new(root, most, |id| self.disk.get(id).cloned());
        self.carry_out(effects, None);
        if self.end.is_none() {
            let effects = fetch.found(self.kinds.keys().copied(), self.now);
            self.carry_out(effects, None);
        }
        fetch
    }

    fn carry_out(&mut self, effects: Vec<Effect>, arrived: Option<&[u8]>) {
        for effect in effects {
            match effect {
                Effect::Ask(holder, id) => {
                    assert!(!self.banned.contains(&holder), "a liar is asked again");
                    assert!(!self.asked.contains(&(holder, id)), "asked twice at a time");
                    self.asked.push_back((holder, id));
                    assert!(self.asked.len() <= 200);
                }
                Effect::Keep(id) => {
                    let bytes = arrived.expect("something arrived").to_vec();
                    assert!(id.matches(&bytes), "unchecked bytes are kept");
                    assert!(self.disk.insert(id, bytes).is_none(), "kept twice");
                }
                Effect::Ban(holder) => assert!(self.banned.insert(holder), "banned twice"),
                Effect::FindHolders => {}
                Effect::Done | Effect::Failed(_) => assert!(self.end.replace(effect).is_none(), "ended twice"),
            }
        }
    }

    /// One question is answered, as its holder does; or time passes.
    fn step(&mut self, fetch: &mut Fetch) {
        let Some((holder, id)) = self.asked.pop_front() else {
            self.now = self.now.plus(Duration::from_secs(31));
            let effects = fetch.passed(self.now);
            self.carry_out(effects, None);
            return;
        };
        if self.banned.contains(&holder) {
            return;
        }
        *self.answered.entry(holder).or_default() += 1;
        let odd = self.order.iter().position(|other| *other == id).unwrap() % 2 == 1;
        match self.kinds[&holder] {
            Kind::Liar => {
                let effects = fetch.arrived(holder, id, b"something else", self.now);
                self.carry_out(effects, Some(b"something else"));
            }
            Kind::Half if odd => {
                let effects = fetch.has_not(&holder, &id, self.now);
                self.carry_out(effects, None);
            }
            Kind::Honest | Kind::Half => {
                let bytes = self.blocks[&id].clone();
                let effects = fetch.arrived(holder, id, &bytes, self.now);
                self.carry_out(effects, Some(&bytes));
            }
            Kind::Mute => {}
            Kind::Broken => {
                let effects = fetch.failed(&holder, &id, self.now);
                self.carry_out(effects, None);
            }
        }
    }

    fn run(&mut self, fetch: &mut Fetch, steps: usize) {
        for _ in 0..steps {
            if self.end.is_some() {
                return;
            }
            self.step(fetch);
        }
    }

    fn whole(&self) -> bool {
        self.blocks
            .iter()
            .all(|(id, bytes)| self.disk.get(id).is_some_and(|kept| kept == bytes))
    }
}

#[test]
fn a_blob_comes_from_three_holders_and_the_one_that_lies_is_banned() {
    let layout = blob(10);
    let mut world = World::new(&layout, &[Kind::Honest, Kind::Liar, Kind::Honest]);
    let mut fetch = world.start(layout.root(), LARGEST_BLOB);
    world.run(&mut fetch, 1000);
    assert_eq!(world.end, Some(Effect::Done));
    assert!(world.whole());
    assert_eq!(world.banned, [peer(2)].into());
    assert!(
        world.answered[&peer(1)] > 1 && world.answered[&peer(3)] > 1,
        "{:?}",
        world.answered
    );
}

#[test]
fn a_fetch_that_was_killed_goes_on_with_what_is_on_the_disk() {
    let layout = blob(10);
    let mut world = World::new(&layout, &[Kind::Honest]);
    let mut fetch = world.start(layout.root(), LARGEST_BLOB);
    world.run(&mut fetch, 6);
    let had = world.disk.len();
    assert!(had > 2 && !world.whole());
    drop(fetch);
    world.asked.clear();
    // A block that was damaged on the disk does not count.
    let damaged = *world.disk.keys().find(|id| **id != layout.root()).unwrap();
    world.disk.insert(damaged, b"damaged".into());
    let (again, _) = Fetch::new(layout.root(), LARGEST_BLOB, |id| world.disk.get(id).cloned());
    assert_eq!(again.missing(), Some(layout.blocks().len() - had + 1));
    world.disk.remove(&damaged);
    let mut fetch = world.start(layout.root(), LARGEST_BLOB);
    world.run(&mut fetch, 1000);
    assert!(world.end == Some(Effect::Done) && world.whole());
    world.end = None;
    world.start(layout.root(), LARGEST_BLOB);
    assert_eq!(
        world.end,
        Some(Effect::Done),
        "all is there, and nobody needs to be asked"
    );
}

#[test]
fn nobody_is_waited_for_longer_than_his_time() {
    let layout = blob(3);
    let mut world = World::new(&layout, &[Kind::Mute, Kind::Mute]);
    let mut fetch = world.start(layout.root(), LARGEST_BLOB);
    world.run(&mut fetch, 100);
    assert_eq!(world.end, None);
    assert_eq!(fetch.passed(world.now), vec![], "others were asked for already");
    let effects = fetch.found([peer(9)], world.now);
    assert_eq!(effects, vec![Effect::Ask(peer(9), layout.root())]);
    assert_eq!(fetch.looked(world.now), vec![]);
    assert_eq!(fetch.lost(&peer(9), world.now), vec![Effect::FindHolders]);
}

#[test]
fn a_frozen_holder_delays_the_root_by_seconds_and_its_late_answer_counts() {
    let layout = blob(0);
    let root = layout.root();
    let (mut fetch, _) = Fetch::new(root, LARGEST_BLOB, |_| None);
    assert_eq!(fetch.found([peer(1)], NOW), vec![Effect::Ask(peer(1), root)]);
    assert_eq!(fetch.looked(NOW), vec![]);
    let later = |ms: u64| NOW.plus(Duration::from_millis(ms));
    assert_eq!(fetch.passed(later(1_000)), vec![]);
    assert_eq!(
        fetch.passed(later(2_000)),
        vec![Effect::FindHolders],
        "who else has it?"
    );
    assert_eq!(
        fetch.found([peer(1), peer(2)], later(2_100)),
        vec![Effect::Ask(peer(2), root)]
    );
    assert_eq!(
        fetch.failed(&peer(1), &root, later(2_200)),
        vec![],
        "the other is being asked"
    );
    let effects = fetch.arrived(peer(1), root, &content(100), later(2_300));
    assert_eq!(effects, vec![Effect::Keep(root), Effect::Done]);
}

#[test]
fn a_blob_that_is_too_large_or_not_well_made_is_given_up() {
    let fetch = |root: BlockId, bytes: &[u8], most: u64| {
        let (mut fetch, _) = Fetch::new(root, most, |_| None);
        fetch.found([peer(1)], NOW);
        fetch.arrived(peer(1), root, bytes, NOW)
    };
    let layout = blob(3);
    let (root, node) = layout.blocks()[0].clone();
    let size = 3 * MIB as u64 + 100;
    let large = FetchError::Large { size, most: size - 1 };
    assert_eq!(fetch(root, &node, size - 1), vec![Effect::Failed(large)]);
    assert!(fetch(root, &node, size).contains(&Effect::Keep(root)));
    let large = FetchError::Large { size: 6, most: 5 };
    assert_eq!(
        fetch(BlockId::of(Codec::Raw, b"raw..."), b"raw...", 5),
        vec![Effect::Failed(large)]
    );
    let nonsense = BlockId::of(Codec::DagPb, b"nonsense");
    let effects = fetch(nonsense, b"nonsense", size);
    assert!(
        matches!(effects.as_slice(), [Effect::Failed(FetchError::Node(_))]),
        "{effects:?}"
    );
}

#[test]
fn a_root_that_lies_about_sizes_is_its_authors_fault_and_nobody_elses() {
    let (small, last) = (BlockId::of(Codec::Raw, b"small"), BlockId::of(Codec::Raw, b"last"));
    let leaves = vec![
        Leaf {
            id: small,
            size: MIB as u64,
        },
        Leaf { id: last, size: 4 },
    ];
    let node = FileNode::new(leaves).unwrap().encode();
    let root = BlockId::of(Codec::DagPb, &node);
    let (mut fetch, _) = Fetch::new(root, LARGEST_BLOB, |_| None);
    fetch.found([peer(1)], NOW);
    fetch.arrived(peer(1), root, &node, NOW);
    let effects = fetch.arrived(peer(1), small, b"small", NOW);
    assert_eq!(effects, vec![Effect::Failed(FetchError::Size(small))]);
}

#[test]
fn blocks_of_the_same_content_are_fetched_once() {
    let layout = Layout::of(&Bytes::from(vec![0; 5 * MIB + 1])).unwrap();
    let mut world = World::new(&layout, &[Kind::Honest]);
    let mut fetch = world.start(layout.root(), LARGEST_BLOB);
    world.run(&mut fetch, 100);
    assert_eq!((world.end.clone(), world.answered[&peer(1)]), (Some(Effect::Done), 3));
}

/// Made once: it takes longer than a fetch.
static FOUR_BLOCKS: LazyLock<Layout> = LazyLock::new(|| blob(4));

fn any_kind() -> impl Strategy<Value = Kind> {
    use Kind::{Broken, Half, Honest, Liar, Mute};
    prop::sample::select(vec![Honest, Liar, Half, Mute, Broken])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn with_one_honest_holder_the_blob_arrives(mut kinds in prop::collection::vec(any_kind(), 0..7), at in any::<prop::sample::Index>()) {
        kinds.insert(at.index(kinds.len() + 1), Kind::Honest);
        let layout = &*FOUR_BLOCKS;
        let mut world = World::new(layout, &kinds);
        let mut fetch = world.start(layout.root(), LARGEST_BLOB);
        world.run(&mut fetch, 500);
        prop_assert_eq!(&world.end, &Some(Effect::Done));
        prop_assert!(world.whole());
        for (holder, kind) in &world.kinds {
            prop_assert!(!world.banned.contains(holder) || *kind == Kind::Liar, "{:?} was banned", kind);
        }
    }
}
