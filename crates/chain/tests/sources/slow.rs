//! A process that fetches from a slow member, and is killed in the middle of it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::B256;
use hanse_chain::ledger::Ledger;
use hanse_chain::snapshot::{Source, SourceError};

use super::Honest;

const SOURCE: &str = "HANSE_FETCHING_TEST_SOURCE";
const TARGET: &str = "HANSE_FETCHING_TEST_TARGET";

/// What the child writes when it has all.
const DONE: &str = "has all";

/// Says what it is asked for, and gives little at a time.
pub struct Slow {
    pub honest: Honest,
    /// Headers in an answer, at most.
    pub headers: u64,
    /// Blocks in an answer, at most.
    pub blocks: u64,
}

impl Slow {
    pub fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            honest: Honest::new(ledger),
            headers: u64::MAX,
            blocks: u64::MAX,
        }
    }

    fn tell(what: &str) {
        println!("\nasked {what}");
        let _ = std::io::stdout().flush();
        std::thread::park_timeout(Duration::from_millis(4));
    }
}

impl Source for Slow {
    fn name(&self) -> &str {
        "slow"
    }
    fn offer(&self) -> Result<Vec<u8>, SourceError> {
        self.honest.offer()
    }
    fn headers(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        Self::tell(&format!("headers {from}"));
        self.honest.headers(from, to.min(from.saturating_add(self.headers) - 1))
    }
    fn chunk(&self, hash: B256) -> Result<Vec<u8>, SourceError> {
        Self::tell(&format!("chunk {hash}"));
        self.honest.chunk(hash)
    }
    fn blocks(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        Self::tell(&format!("blocks {from}"));
        self.honest.blocks(from, to.min(from.saturating_add(self.blocks) - 1))
    }
}

/// The folder to fetch from, and the one to fetch into, in a process that is there to be killed; `None` elsewhere.
pub fn folders_of_child() -> Option<[PathBuf; 2]> {
    Some([std::env::var_os(SOURCE)?.into(), std::env::var_os(TARGET)?.into()])
}

/// The child has all.
pub fn done() {
    println!("\n{DONE}");
}

/// Runs the test `child` of this program and kills it as soon as it has asked so often. Returns what it asked for, and
/// whether it had all before.
pub fn killed_after(asking: usize, child: &str, source: &Path, target: &Path) -> (Vec<String>, bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(SOURCE, source)
        .env(TARGET, target)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut asked, mut has_all) = (Vec::new(), false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        has_all |= line == DONE;
        asked.extend(line.strip_prefix("asked ").map(str::to_owned));
        if asked.len() == asking {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    (asked, has_all)
}
