//! When a validator must not vote, because it may have forgotten what it voted for.
//!
//! The write-ahead log knows what this validator signed at the highest height at which it signed anything. The store may be
//! younger or older than the log: it was restored from a backup, or moved aside and fetched anew. Two cases, and
//! `docs/adr/0011-restored-validators.md` says why each is safe:
//!
//! - The log is there and is of a height above the next one. The validator follows until it comes to that height, and then
//!   votes with the log in its place. The log is not touched before.
//! - There is no log, and a marker says that there was one. The validator follows until it has seen others decide, without
//!   it, heights that lie above all at which it can have voted.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use malachitebft_wal::Log;

/// Folder of the write-ahead log within a node's data folder.
const FOLDER: &str = "consensus";
const LOG: &str = "consensus.wal";
/// What the engine writes while it has no vote.
const LOG_OF_A_FOLLOWER: &str = "following.wal";
const MARKER: &str = "abstains";

const MARKER_TEXT: &[u8] =
    b"This node was restored, or its store was moved aside, without the log of what it signed.\n\
    It follows the ledger without a vote until that can't matter any more, and removes this file then.\n\
    docs/adr/0011-restored-validators.md tells more.\n";

/// Connected to a quorum for this long, a node has heard how far each of them is: they tell it every second.
const SETTLE: Duration = Duration::from_secs(10);

/// Heights that others have to decide before the node's eyes. The newest that it may have voted at lies at most two above the
/// highest that any quorum knows of.
const LIVE_HEIGHTS: u32 = 3;

/// A validator that does not vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Abstention {
    /// Until the next height is that of the log.
    UntilLog(u64),
    /// Until enough heights were decided before its eyes.
    UntilLive {
        /// Since when it has been connected to a quorum of others.
        quorum_since: Option<Instant>,
        /// Heights in a row that were decided and not fetched.
        seen: u32,
    },
}

impl Abstention {
    /// Notes that the node of this data folder must not vote before that is safe, unless its log is there, which knows better.
    /// On disk when this returns.
    pub fn begin(data_dir: &Path) -> io::Result<()> {
        let folder = folder(data_dir);
        if folder.join(LOG).exists() {
            return Ok(());
        }
        Self::mark(data_dir)
    }

    fn mark(data_dir: &Path) -> io::Result<()> {
        let folder = folder(data_dir);
        std::fs::create_dir_all(&folder)?;
        let marker = folder.join(MARKER);
        std::fs::write(&marker, MARKER_TEXT)?;
        File::open(&marker)?.sync_all()?;
        File::open(&folder)?.sync_all()?;
        File::open(data_dir)?.sync_all()
    }

    /// Moves a log that can't be read aside, and returns its new name; `None` if there is none. The node does not vote before
    /// that is safe without it. On disk when this returns.
    pub fn begin_without_log(data_dir: &Path) -> io::Result<Option<PathBuf>> {
        let folder = folder(data_dir);
        // Before the log is gone: a node must never vote without it as if it had not voted before.
        Self::mark(data_dir)?;
        let log = folder.join(LOG);
        if !log.exists() {
            return Ok(None);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let aside = folder.join(format!("{LOG}.aside-{}", now.as_millis()));
        std::fs::rename(&log, &aside)?;
        File::open(&folder)?.sync_all()?;
        Ok(Some(aside))
    }

    /// Whether the node of this data folder abstains for want of its log.
    pub fn is_marked(data_dir: &Path) -> bool {
        folder(data_dir).join(MARKER).exists()
    }

    /// Removes the note. For the node itself, and for operators who know that nothing was signed that could matter.
    pub fn end(data_dir: &Path) -> io::Result<()> {
        Self::unmark(&folder(data_dir))
    }

    pub(super) fn unmark(folder: &Path) -> io::Result<()> {
        match std::fs::remove_file(folder.join(MARKER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        }
        File::open(folder)?.sync_all()
    }

    /// Whether a node abstains whose newest block has height `tip`.
    pub(super) fn at_start(folder: &Path, tip: u64) -> io::Result<Option<Self>> {
        if folder.join(MARKER).exists() {
            return Ok(Some(Self::UntilLive {
                quorum_since: None,
                seen: 0,
            }));
        }
        let log = folder.join(LOG);
        if !log.exists() {
            return Ok(None);
        }
        let log = Log::open(&log)?.sequence();
        Ok((log > tip + 1).then_some(Self::UntilLog(log)))
    }

    /// How many other validators are connected; `quorum` of the whole set is needed.
    pub(super) fn connected(&mut self, now: Instant, others: usize, quorum: usize) {
        if let Self::UntilLive { quorum_since, seen } = self {
            if others < quorum {
                (*quorum_since, *seen) = (None, 0);
            } else {
                quorum_since.get_or_insert(now);
            }
        }
    }

    /// A block was committed; `fetched` if another node had it already and this one asked for it.
    pub(super) fn committed(&mut self, now: Instant, fetched: bool) {
        if let Self::UntilLive { quorum_since, seen } = self {
            let settled = quorum_since.is_some_and(|since| now >= since + SETTLE);
            *seen = if settled && !fetched { *seen + 1 } else { 0 };
        }
    }

    /// Whether it may vote at height `tip + 1`, with `others` validators beside it.
    pub(super) fn is_over(&self, tip: u64, others: usize) -> bool {
        match self {
            Self::UntilLog(height) => tip + 1 >= *height,
            // Nobody is there whom it could contradict.
            Self::UntilLive { seen, .. } => *seen >= LIVE_HEIGHTS || others == 0,
        }
    }

    /// Why, for the operator.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::UntilLog(height) => format!(
                "the write-ahead log is of height {height}, and the store is below that; this validator votes again when it \
                 has caught up. If the ledger is nowhere near that height, the log is damaged: `hanse ledger resync --log`"
            ),
            Self::UntilLive { .. } => format!(
                "there is no log of what this validator signed before it was restored; it votes again when it has seen the \
                 other validators decide {LIVE_HEIGHTS} blocks. If they can't without it, see `hanse ledger vote --help`"
            ),
        }
    }
}

/// Folder of the log within a node's data folder. It is there once a node has run.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

/// The log of a node that votes, or of one that does not.
pub(super) fn log(folder: &Path, votes: bool) -> PathBuf {
    folder.join(if votes { LOG } else { LOG_OF_A_FOLLOWER })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn live() -> Abstention {
        Abstention::UntilLive {
            quorum_since: None,
            seen: 0,
        }
    }

    #[test]
    fn heights_count_only_if_decided_before_its_eyes_by_a_quorum_of_others() {
        let start = Instant::now();
        let settled = start + SETTLE;
        let mut abstention = live();
        abstention.committed(settled, false);
        abstention.connected(start, 2, 3);
        assert_eq!(abstention, live(), "no quorum without this node");
        abstention.connected(start, 3, 3);
        (0..9).for_each(|_| abstention.committed(start, false));
        assert!(!abstention.is_over(9, 3), "it has not heard yet how far the others are");
        (0..2).for_each(|_| abstention.committed(settled, false));
        abstention.committed(settled, true);
        (0..2).for_each(|_| abstention.committed(settled, false));
        assert!(!abstention.is_over(14, 3), "it was behind, so it begins anew");
        abstention.committed(settled, false);
        assert!(abstention.is_over(15, 3));
        abstention.connected(settled, 2, 3);
        assert_eq!(abstention, live(), "without a quorum it begins anew");
        assert!(abstention.is_over(0, 0), "alone");
    }

    #[test]
    fn with_its_log_a_node_votes_from_the_height_of_the_log_on_and_the_log_stays() {
        let data = tempfile::tempdir().unwrap();
        let folder = folder(data.path());
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(Abstention::at_start(&folder, 0).unwrap(), None, "a new node");
        let mut log = Log::open(folder.join(LOG)).unwrap();
        log.reset(7).unwrap();
        log.append(b"a vote").unwrap();
        drop(log);
        assert_eq!(Abstention::at_start(&folder, 6).unwrap(), None);
        assert_eq!(Abstention::at_start(&folder, 7).unwrap(), None);
        let behind = Abstention::at_start(&folder, 5).unwrap().unwrap();
        assert_eq!(behind, Abstention::UntilLog(7));
        assert!(!behind.is_over(5, 3) && behind.is_over(6, 3));
        Abstention::begin(data.path()).unwrap();
        assert!(!Abstention::is_marked(data.path()), "the log knows what was signed");
        assert_eq!(Log::open(folder.join(LOG)).unwrap().len(), 1, "it is as it was");
    }

    #[test]
    fn a_log_is_given_up_only_with_a_mark() {
        let data = tempfile::tempdir().unwrap();
        let folder = folder(data.path());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(LOG), b"rubbish").unwrap();
        let aside = Abstention::begin_without_log(data.path()).unwrap().unwrap();
        assert_eq!(std::fs::read(aside).unwrap(), b"rubbish", "nothing is deleted");
        assert!(!folder.join(LOG).exists());
        assert_eq!(Abstention::at_start(&folder, 9).unwrap(), Some(live()));
        assert_eq!(Abstention::begin_without_log(data.path()).unwrap(), None, "again");
        assert!(Abstention::is_marked(data.path()));
    }

    #[test]
    fn without_its_log_a_restored_node_is_marked_until_the_mark_is_removed() {
        let data = tempfile::tempdir().unwrap();
        Abstention::begin(data.path()).unwrap();
        Abstention::begin(data.path()).unwrap();
        assert_eq!(Abstention::at_start(&folder(data.path()), 9).unwrap(), Some(live()));
        Abstention::end(data.path()).unwrap();
        Abstention::end(data.path()).unwrap();
        assert_eq!(Abstention::at_start(&folder(data.path()), 9).unwrap(), None);
    }
}
