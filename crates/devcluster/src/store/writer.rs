//! The one thread that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::disk::Disk;
use super::state::{State, Transaction};
use super::{Event, Published};

/// Called when the change is durable.
pub(super) type Acknowledge = Box<dyn FnOnce() + Send>;
/// Decides; says whether to keep the changes, and how to answer.
pub(super) type Job = Box<dyn FnOnce(&mut Transaction<'_>) -> (bool, Acknowledge) + Send>;

/// Writes that share one flush at most.
const BATCH_LIMIT: usize = 256;

/// Starts the thread; it ends when the last handle of the store is gone.
pub(super) fn spawn(
    disk: Disk,
    state: State,
    published: Arc<RwLock<Published>>,
    notify: watch::Sender<u64>,
    queue: mpsc::Receiver<Job>,
) {
    let name = "devcluster-store".to_string();
    let thread = std::thread::Builder::new().name(name);
    // Without its writer the store answers every write with an error, which is what the caller then sees.
    if let Err(error) = thread.spawn(move || run(&disk, state, &published, &notify, queue)) {
        tracing::error!(%error, "cannot start the store's thread");
    }
}

fn run(
    disk: &Disk,
    mut state: State,
    published: &RwLock<Published>,
    notify: &watch::Sender<u64>,
    mut queue: mpsc::Receiver<Job>,
) {
    while let Some(first) = queue.blocking_recv() {
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut acknowledgements: Vec<Acknowledge> = Vec::new();
        let mut next = Some(first);
        let mut decided = 0;
        while let Some(job) = next.take() {
            if let Some(acknowledge) = decide(&mut state, job, &mut events) {
                acknowledgements.push(acknowledge);
            }
            decided += 1;
            if decided < BATCH_LIMIT {
                next = queue.try_recv().ok();
            }
        }
        if let Err(error) = disk.commit(&events) {
            tracing::error!(%error, "a write did not reach the disk");
            state = published.read().unwrap_or_else(PoisonError::into_inner).state.clone();
            continue; // dropped acknowledgements tell the callers
        }
        if let Some(last) = events.last() {
            let revision = last.revision;
            publish(published, events);
            notify.send_replace(revision);
        }
        acknowledgements.into_iter().for_each(|acknowledge| acknowledge());
    }
}

/// Runs one decision. A decision that panics is a bug of this program; it must not take the cluster with it: its
/// changes are taken back, and its caller is told.
fn decide(state: &mut State, job: Job, events: &mut Vec<Arc<Event>>) -> Option<Acknowledge> {
    let mut transaction = Transaction::new(state, Timestamp::now());
    match catch_unwind(AssertUnwindSafe(|| job(&mut transaction))) {
        Ok((keep, acknowledge)) => {
            events.extend(transaction.finish(keep));
            Some(acknowledge)
        }
        Err(_) => {
            transaction.finish(false);
            tracing::error!("a write panicked; nothing of it is kept");
            None
        }
    }
}

fn publish(published: &RwLock<Published>, events: Vec<Arc<Event>>) {
    let mut published = published.write().unwrap_or_else(PoisonError::into_inner);
    for event in events {
        published.state.follow(&event);
        published.history.push(event);
    }
}
