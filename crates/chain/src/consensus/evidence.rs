//! What validators did that none may do, as this node saw it; kept in a file, so that it is there after a restart.
//!
//! Counts are kept for good, the newest cases with their proof. A case is on disk before anybody is told of it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy::primitives::{Address, Bytes};
use serde::{Deserialize, Serialize};

/// Name of the file in the folder of consensus.
const FILE: &str = "evidence.json";

/// Cases that are kept of one validator, the newest.
const KEPT_OF_EACH: usize = 16;

/// What a validator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Misbehaviour {
    /// It signed two different votes for one round. Provable to everybody.
    DoubleVote,
    /// It signed two different proposals for one round. Provable to everybody.
    DoubleProposal,
    /// It proposed a block that this node refused.
    InvalidBlock,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Ledger account of the validator.
    pub validator: Address,
    /// What it did.
    pub kind: Misbehaviour,
    /// At which height.
    pub height: u64,
    /// In which round.
    pub round: u32,
    /// When this node learnt of it, in Unix seconds.
    pub seen_at: u64,
    /// What is to know beside that: why the block was refused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The two signed messages, borsh-encoded as they travel between nodes; none for an invalid block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Bytes>,
}

impl Evidence {
    fn is_same_case(&self, other: &Self) -> bool {
        (self.validator, self.kind, self.height, self.round) == (other.validator, other.kind, other.height, other.round)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    counts: Vec<(Address, Misbehaviour, u64)>,
    newest: VecDeque<Evidence>,
}

impl Kept {
    /// Adds a case; `false` if it is known.
    fn add(&mut self, case: Evidence) -> bool {
        if self.newest.iter().any(|known| known.is_same_case(&case)) {
            return false;
        }
        let count = self
            .counts
            .iter_mut()
            .find(|(validator, kind, _)| (*validator, *kind) == (case.validator, case.kind));
        match count {
            Some((_, _, count)) => *count += 1,
            None => self.counts.push((case.validator, case.kind, 1)),
        }
        let validator = case.validator;
        self.newest.push_back(case);
        let of_validator = self.newest.iter().filter(|it| it.validator == validator).count();
        if of_validator > KEPT_OF_EACH
            && let Some(oldest) = self.newest.iter().position(|it| it.validator == validator)
        {
            self.newest.remove(oldest);
        }
        true
    }
}

/// The record of misbehaviour; clones share it.
#[derive(Debug, Clone)]
pub struct EvidenceBook(Arc<Mutex<Book>>);

#[derive(Debug)]
struct Book {
    path: PathBuf,
    kept: Kept,
}

impl EvidenceBook {
    /// Reads what was recorded in `folder`. A file that can't be read is moved aside, since it must not keep the node from
    /// taking part.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let kept = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                let aside = path.with_extension("damaged");
                let moved = std::fs::rename(&path, &aside);
                tracing::error!(path = %path.display(), %error, ?moved, "the record of misbehaviour is damaged; it was moved \
                                aside and a new one begins");
                Kept::default()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the record of misbehaviour can't be read");
                Kept::default()
            }
        };
        Self(Arc::new(Mutex::new(Book { path, kept })))
    }

    /// Records a case durably. `false` if it was known. Blocks on the disk.
    ///
    /// # Errors
    /// When it could not be written; it is remembered until the node stops.
    pub fn record(&self, case: Evidence) -> io::Result<bool> {
        let mut book = self.book();
        if !book.kept.add(case) {
            return Ok(false);
        }
        let text = serde_json::to_vec_pretty(&book.kept).map_err(io::Error::other)?;
        write_durably(&book.path, &text).map(|()| true)
    }

    /// How often each validator did what.
    pub fn counts(&self) -> BTreeMap<(Address, Misbehaviour), u64> {
        let book = self.book();
        let counts = book.kept.counts.iter();
        counts
            .map(|(validator, kind, count)| ((*validator, *kind), *count))
            .collect()
    }

    /// The newest cases, oldest first.
    pub fn newest(&self) -> Vec<Evidence> {
        self.book().kept.newest.iter().cloned().collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A crash leaves the old file or the new one.
fn write_durably(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let draft = path.with_extension("new");
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn case(validator: u8, kind: Misbehaviour, height: u64) -> Evidence {
        Evidence {
            validator: Address::repeat_byte(validator),
            kind,
            height,
            round: 0,
            seen_at: 1_800_000_000,
            detail: String::new(),
            proof: Some(Bytes::from_static(b"two votes")),
        }
    }

    #[test]
    fn a_case_is_there_after_a_restart_and_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let book = EvidenceBook::open(folder.path());
        assert!(book.record(case(1, Misbehaviour::DoubleVote, 5)).unwrap());
        assert!(!book.record(case(1, Misbehaviour::DoubleVote, 5)).unwrap());
        assert!(book.record(case(1, Misbehaviour::DoubleVote, 6)).unwrap());
        assert!(book.record(case(1, Misbehaviour::InvalidBlock, 6)).unwrap());
        let again = EvidenceBook::open(folder.path());
        assert_eq!(again.counts(), book.counts());
        assert_eq!(again.newest(), book.newest());
        assert_eq!(again.counts()[&(Address::repeat_byte(1), Misbehaviour::DoubleVote)], 2);
    }

    #[test]
    fn the_file_stays_small_and_the_count_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let book = EvidenceBook::open(folder.path());
        book.record(case(2, Misbehaviour::InvalidBlock, 1)).unwrap();
        for height in 0..100 {
            book.record(case(1, Misbehaviour::DoubleVote, height)).unwrap();
        }
        assert_eq!(
            book.newest().len(),
            KEPT_OF_EACH + 1,
            "another's cases are not driven out"
        );
        assert_eq!(book.counts()[&(Address::repeat_byte(1), Misbehaviour::DoubleVote)], 100);
    }

    #[test]
    fn a_damaged_file_is_kept_aside_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let book = EvidenceBook::open(folder.path());
        assert!(book.newest().is_empty());
        assert!(book.record(case(1, Misbehaviour::DoubleVote, 5)).unwrap());
        assert_eq!(std::fs::read(folder.path().join("evidence.damaged")).unwrap(), b"{");
    }
}
