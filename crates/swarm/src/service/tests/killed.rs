//! The process is killed at random moments (SIGKILL). It is this test's own program, started anew to run one of its tests.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use bytes::Bytes;
use rand::{Rng, SeedableRng};

use super::*;
use crate::blob::LARGEST_BLOCK;
use crate::record::IpnsRecord;
use crate::store::Store;

const FOLDER: &str = "HANSE_SWARM_TEST_FOLDER";
const KEY: &str = "HANSE_SWARM_TEST_KEY";
const BOOTSTRAP: &str = "HANSE_SWARM_TEST_BOOTSTRAP";
pub(super) const BLOB: &str = "HANSE_SWARM_TEST_BLOB";
/// The tag of the domain that is killed.
const KILLED: u8 = 9;
const BLOCKS: usize = 24;

/// The folder, the swarm's key and the bootstrap address, if this process is one that is to be killed.
pub(super) fn task() -> Option<SwarmConfig> {
    let folder = std::env::var_os(FOLDER)?;
    let swarm_key: SwarmKey = std::env::var(KEY).unwrap().parse().unwrap();
    let bootstrap = SwarmAddress::parse(&std::env::var(BOOTSTRAP).unwrap()).unwrap();
    let mut config = SwarmConfig::new(swarm_key, key(KILLED), sealing(KILLED), folder.into());
    config.listen = vec![SwarmAddress::parse("/ip4/127.0.0.1/tcp/0").unwrap()];
    config.bootstrap = vec![bootstrap];
    Some(config)
}

/// Starts `test` in a process of its own. It is killed when this is dropped.
pub(super) struct Victim {
    pub process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Victim {
    pub fn start(test: &str, folder: &TempDir, swarm_key: &SwarmKey, bootstrap: &SwarmAddress, blob: &str) -> Self {
        let mut program = Command::new(std::env::current_exe().unwrap());
        Self::start_by(&mut program, test, folder, swarm_key, bootstrap, blob)
    }

    /// The same by a command whose last word is this program.
    pub fn start_by(
        program: &mut Command,
        test: &str,
        folder: &TempDir,
        swarm_key: &SwarmKey,
        bootstrap: &SwarmAddress,
        blob: &str,
    ) -> Self {
        let mut process = program
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, folder.path())
            .env(KEY, swarm_key.to_file().as_str())
            .env(BOOTSTRAP, bootstrap.to_string())
            .env(BLOB, blob)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Reads until a line that begins with `word`; what follows the word.
    pub async fn until(mut self, word: &'static str) -> (Self, String) {
        let read = move || {
            let mut lines = self.lines.by_ref().map_while(Result::ok);
            let rest = lines.find_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()));
            (self, rest.expect("it says so before it ends"))
        };
        off_thread(read).await
    }

    /// Kills it, and reads what it had said before.
    fn kill(mut self, word: &str) -> Option<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| Some(line.strip_prefix(word)?.trim().to_owned()))
            .last()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It has ended, if it was killed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test of its own: what is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_says_something_new_until_it_is_killed() {
    let Some(config) = task() else { return };
    let swarm = Swarm::start(config).await.unwrap();
    for number in 0_u64.. {
        swarm.publish(statement(KILLED, &number.to_string())).await.unwrap();
        println!("\nsaid {number}");
    }
}

/// Not a test of its own: what is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_fetches_a_blob_until_it_is_killed() {
    let Some(config) = task() else { return };
    let swarm = Swarm::start(config).await.unwrap();
    let root = std::env::var(BLOB).unwrap().parse().unwrap();
    println!("\nfetches");
    let blob = swarm.blob(root, u64::MAX, SOON).await.unwrap();
    println!("\nhas {}", blob.len());
}

fn seeded() -> rand::rngs::StdRng {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    rand::rngs::StdRng::seed_from_u64(seed)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_domain_said_it_goes_on_saying_and_its_number_does_not_go_back() {
    let mut random = seeded();
    let swarm_key = SwarmKey::generate();
    let witness = Domain::start(&swarm_key, 1, &[]).await;
    let bootstrap = witness.address().await;
    let mut folder = tempfile::tempdir().unwrap();
    let name = key(KILLED).peer_id();
    let mut last = 0;
    for _ in 0..4 {
        let pause = Duration::from_millis(random.random_range(0..400));
        let test = "service::tests::killed::child_says_something_new_until_it_is_killed";
        let victim = Victim::start(test, &folder, &swarm_key, &bootstrap, "");
        let (victim, first) = victim.until("said").await;
        tokio::time::sleep(pause).await;
        let said: u64 = victim.kill("said").unwrap_or(first).parse().unwrap();
        let kept = open_store(&folder).await.own_record().unwrap().unwrap();
        let sequence = IpnsRecord::check(&name, &kept, now()).unwrap().sequence();
        assert!(sequence > last, "{sequence} after {last}");
        last = sequence;

        // A newcomer that knows nothing hears it from the domain itself, which was given nothing to say.
        let domain = Domain::start_in(&swarm_key, KILLED, &[], folder).await;
        let newcomer = Domain::start(&swarm_key, 2, &[domain.address().await]).await;
        newcomer.until_online(name).await;
        let seen = newcomer.sees(name).await.unwrap();
        let says: u64 = seen.identity.description().as_str().parse().unwrap();
        assert!(says == said || says == said + 1, "acknowledged {said}, but says {says}");
        newcomer.swarm.stop().await;
        folder = domain.folder;
        domain.swarm.stop().await;
    }
}

/// Which blocks are on the disk.
async fn kept(folder: &TempDir, layout: &Layout) -> BTreeSet<BlockId> {
    let store = open_store(folder).await;
    let ids = layout.blocks().iter().map(|(id, _)| *id);
    ids.filter(|id| store.block(id).unwrap().is_some_and(|bytes| id.matches(&bytes)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_killed_goes_on_with_the_blocks_that_arrived() {
    let mut random = seeded();
    let swarm_key = SwarmKey::generate();
    let blob: Bytes = (0..BLOCKS * LARGEST_BLOCK).map(|_| random.random::<u8>()).collect();
    let layout = Layout::of(&blob).unwrap();
    let holder = Domain::start(&swarm_key, 1, &[]).await;
    holder.swarm.add_blob(blob.clone()).await.unwrap();
    holder.swarm.publish(statement(1, "I have a blob")).await.unwrap();
    let bootstrap = holder.address().await;

    let mut folder = tempfile::tempdir().unwrap();
    let (mut had, mut longest) = (BTreeSet::new(), 3000);
    for round in 0.. {
        assert!(round < 100, "it was never killed in between");
        let pause = Duration::from_millis(random.random_range(0..longest));
        let test = "service::tests::killed::child_fetches_a_blob_until_it_is_killed";
        let victim = Victim::start(test, &folder, &swarm_key, &bootstrap, &layout.root().to_string());
        let (victim, _) = victim.until("fetches").await;
        tokio::time::sleep(pause).await;
        if victim.kill("has").is_some() {
            // The machine is fast.
            (folder, had, longest) = (tempfile::tempdir().unwrap(), BTreeSet::new(), longest / 2 + 1);
            continue;
        }
        let has = kept(&folder, &layout).await;
        assert!(has.is_superset(&had), "a block that was kept is lost");
        had = has;
        if had.len() > 1 && had.len() < layout.blocks().len() {
            break;
        }
    }
    println!("killed with {} of {} blocks", had.len(), layout.blocks().len());
    holder.swarm.stop().await;

    // Nobody has more than what is missing: the rest has to come from the disk.
    let missing = layout.blocks().iter().filter(|(id, _)| !had.contains(id));
    let missing: Vec<_> = missing.cloned().collect();
    let others = tempfile::tempdir().unwrap();
    Store::open(others.path()).unwrap().keep_blocks(&missing).unwrap();
    let holder = Domain::start_in(&swarm_key, 2, &[], others).await;
    holder.swarm.publish(statement(2, "I have some of it")).await.unwrap();
    let reader = Domain::start_in(&swarm_key, KILLED, &[holder.address().await], folder).await;
    reader.until_online(holder.swarm.name()).await;
    assert!(reader.swarm.blob(layout.root(), u64::MAX, SOON).await.unwrap() == blob);
}
