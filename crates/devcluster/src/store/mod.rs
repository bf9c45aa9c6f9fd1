//! The store: objects under one global revision, durable before they are visible, with a bounded history.
//!
//! **Promise.** A write is answered after it has been flushed to disk (fsync); until then nobody sees it.
//! Writes are decided one after the other, each on the result of the one before, by a function of the state;
//! those that wait while the disk is busy share one flush. Revisions grow by one with each change of an object.
//! The history holds the last changes; who asks for older ones is told so (`410 Expired`).
//!
//! **Callers** give [`Store::write`] a function that decides and must not block: it runs on the writer's thread.

mod disk;
mod history;
mod state;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard};

use tokio::sync::{mpsc, oneshot, watch};

pub use history::{Event, EventKind, History};
pub use state::{Key, Object, State, Transaction};

use crate::status::{Outcome, Status};
use writer::Job;

/// Events kept for watchers that come back.
pub const HISTORY_LIMIT: usize = 256;
/// Writes that may wait for their turn.
const QUEUE_LIMIT: usize = 1024;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made.
    #[error("cannot make the folder {path}: {source}; choose another data folder or mend its permissions")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process: stop it, or choose another data folder")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what it should be.
    #[error(
        "cannot read {path}: {message}; it is not a store of this program or is damaged: move it away to start anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Details.
        message: String,
    },
}

/// What readers see: everything that is durable.
#[derive(Debug, Default)]
pub struct Published {
    /// The objects.
    pub state: State,
    /// The last changes.
    pub history: History,
}

/// A handle; clones share the store.
#[derive(Clone)]
pub struct Store {
    published: Arc<RwLock<Published>>,
    revision: watch::Receiver<u64>,
    jobs: mpsc::Sender<Job>,
    secret: Arc<[u8; 32]>,
}

impl Store {
    /// Opens or makes the store in a folder.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed then.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let (disk, state, secret) = disk::Disk::open(folder)?;
        let (notify, revision) = watch::channel(state.revision());
        let history = History::starting_at(state.revision(), HISTORY_LIMIT);
        let published = Arc::new(RwLock::new(Published {
            state: state.clone(),
            history,
        }));
        let (jobs, queue) = mpsc::channel(QUEUE_LIMIT);
        writer::spawn(disk, state, published.clone(), notify, queue);
        Ok(Self {
            published,
            revision,
            jobs,
            secret: Arc::new(secret),
        })
    }

    /// The random key made with the store; tokens are signed with it.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Reads. Keep it short: it holds a lock.
    pub fn read(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Decides and writes; the answer comes when it is on disk. An `Err` changes nothing.
    ///
    /// # Errors
    /// What `decide` refused, or 500 if the disk did.
    pub async fn write<T, F>(&self, decide: F) -> Outcome<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> Outcome<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |transaction| {
            let outcome = decide(transaction);
            let keep = outcome.is_ok();
            (keep, Box::new(move || drop(answer.send(outcome))))
        });
        self.jobs
            .send(job)
            .await
            .map_err(|_| Status::internal("the server is shutting down"))?;
        answered
            .await
            .map_err(|_| Status::internal("the write did not reach the disk"))?
    }

    /// Follows the revision that readers see.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// Forgets the history.
    pub fn compact(&self) {
        let mut published = self
            .published
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let revision = published.state.revision();
        published.history = History::starting_at(revision, HISTORY_LIMIT);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn put(name: &str) -> impl FnOnce(&mut Transaction<'_>) -> Outcome<Object> + Send + 'static {
        let key = Key::core("configmaps", "n", name);
        move |tx| Ok(tx.put(key, json!({ "metadata": {} })))
    }

    #[tokio::test]
    async fn a_write_that_panics_is_taken_back_and_the_next_one_works() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.write(put("a")).await.unwrap();
        let broken = store
            .write(|tx| -> Outcome<()> {
                tx.put(Key::core("configmaps", "n", "half"), json!({ "metadata": {} }));
                panic!("a bug")
            })
            .await;
        assert_eq!(broken.unwrap_err().code, 500);
        let after = store.write(put("b")).await.unwrap();
        assert_eq!(after["metadata"]["resourceVersion"], "2");
        assert!(store.read().state.get(&Key::core("configmaps", "n", "half")).is_none());
    }

    #[tokio::test]
    async fn writes_at_once_each_get_a_revision_and_all_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let writes = (0..100).map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.write(put(&format!("c{n}"))).await.unwrap() })
        });
        let mut revisions = Vec::new();
        for write in writes.collect::<Vec<_>>() {
            let object = write.await.unwrap();
            revisions.push(
                object["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap()
                    .parse::<u64>()
                    .unwrap(),
            );
        }
        revisions.sort_unstable();
        assert_eq!(revisions, (1..=100).collect::<Vec<u64>>());
        drop(store);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let again = loop {
            match Store::open(folder.path()) {
                Ok(store) => break store,
                // The writer of the first one closes the file when its queue is gone.
                Err(OpenError::InUse { .. }) if std::time::Instant::now() < deadline => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(again.read().state.revision(), 100);
        assert_eq!(again.read().state.list("/configmaps", Some("n")).count(), 100);
        let refused = again.read().history.since(50).err().unwrap();
        assert_eq!(refused.code, 410, "history does not survive: watchers list again");
    }
}
