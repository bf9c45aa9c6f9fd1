//! The running swarm: one task that owns the network, and a handle to it.

mod addresses;
mod admit;
mod announce;
mod ask;
mod blobs;
mod command;
mod compare;
mod fetch;
mod hear;
mod holding;
mod keep;
mod lan;
mod lists;
mod look;
mod messages;
mod rates;
mod relays;
mod run;
mod status;
mod traffic;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use ask::{AskError, Asked};
pub use command::{BlobError, LookUpError, PublishError, StartError, Stopped};
pub use status::{PeerView, Status, Unreachable};

use crate::blob::{BlockId, LARGEST_BLOB, Layout};
use crate::config::SwarmConfig;
use crate::model::{Identity, SealingKey, Statement, SwarmAddress, UnixMillis};
use crate::peers::Change;
use crate::record::Announcement;
use crate::store::{Store, StoreError};
use ask::Answerers;
use command::{Command, Commands};
use traffic::AllCounters;
pub use traffic::{Flow, Traffic};

/// How many changes a slow reader may be behind before it misses some; it is told so, and reads [`Swarm::peers`] then.
const CHANGES: usize = 1024;
/// How many commands wait for the network.
const COMMANDS: usize = 64;

/// A domain in a swarm. It leaves when this is dropped.
pub struct Swarm {
    name: PeerId,
    commands: Commands,
    answerers: Answerers,
    sealing_key: SealingKey,
    changes: broadcast::Sender<Change>,
    store: Store,
    traffic: Arc<AllCounters>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// The wall clock, read here only. 0 for a clock before 1970.
fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

/// Runs what may wait for the disk away from the threads of the network.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is being shut down, and whoever waits here with it.
        Err(_) => std::future::pending().await,
    }
}

impl Swarm {
    /// Joins the swarm: listens, calls the bootstrap members and those who were known before, and goes on doing so.
    ///
    /// # Errors
    /// Says what is wrong with the folder or with the addresses. That nobody answers is no error: it is tried again, and
    /// [`Swarm::status`] says so.
    pub async fn start(config: SwarmConfig) -> Result<Self, StartError> {
        let name = config.domain.peer_id();
        let sealing_key = config.sealing.public();
        let answerers = Answerers::default();
        let folder = config.folder.clone();
        let store = off_thread(move || Store::open(&folder))
            .await?
            .bounded(config.most_blob_bytes);
        let (changes, _) = broadcast::channel(CHANGES);
        let (sender, receiver) = mpsc::channel(COMMANDS);
        let stop = CancellationToken::new();
        let traffic = Arc::new(AllCounters::default());
        let run = run::Run::new(
            config,
            store.clone(),
            changes.clone(),
            answerers.clone(),
            traffic.clone(),
        )
        .await?;
        let task = tokio::spawn(run.run(receiver, stop.clone()));
        Ok(Self {
            name,
            commands: Commands(sender),
            answerers,
            sealing_key,
            changes,
            store,
            traffic,
            stop,
            task: Mutex::new(Some(task)),
        })
    }

    /// The domain's name in the swarm.
    pub fn name(&self) -> PeerId {
        self.name
    }

    /// What others seal messages for this domain to; it belongs into the identity that is published.
    pub fn sealing_key(&self) -> SealingKey {
        self.sealing_key
    }

    /// Says `statement` of this domain from now on. Returns when the record is signed and on the disk; it is told to the
    /// connected peers at once, and given to holders as soon as there are any.
    ///
    /// # Errors
    /// If the statement is too long or has another sealing key than [`Self::sealing_key`], the store fails, or the swarm has stopped.
    pub async fn publish(&self, statement: Statement) -> Result<(), PublishError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Publish(statement, done)).await?;
        answer.await.map_err(|_| Stopped)?
    }

    /// Where others can reach the domain beside what the configuration says: addresses that became known since, such as a load
    /// balancer's. They take the place of those that were given here before, and go into the domain's record.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn set_external(&self, addresses: Vec<SwarmAddress>) -> Result<(), Stopped> {
        self.commands.send(Command::SetExternal(addresses)).await
    }

    /// Changes of the table of peers, from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// All other domains.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerView>, Stopped> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Peers(done)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// What was sent and received since the swarm was joined.
    pub fn traffic(&self) -> Traffic {
        self.traffic.read()
    }

    /// How the network is doing.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn status(&self) -> Result<Status, Stopped> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Status(done)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Asks the holders for the record of `name`, whether or not its author is there.
    ///
    /// # Errors
    /// If nobody has a valid one.
    pub async fn look_up(&self, name: PeerId) -> Result<Announcement, LookUpError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::LookUp(name, done)).await?;
        answer.await.map_err(|_| Stopped)?
    }

    /// Keeps a blob and offers it to the others. Returns its CID when it is on the disk.
    ///
    /// # Errors
    /// If it is too large, the store fails, or the swarm has stopped.
    pub async fn add_blob(&self, blob: Bytes) -> Result<BlockId, BlobError> {
        let size = blob.len() as u64;
        let store = self.store.clone();
        let kept = off_thread(move || {
            let layout = Layout::of(&blob).ok_or(BlobError::Large {
                size,
                most: LARGEST_BLOB,
            })?;
            store.keep_own_blocks(layout.blocks())?;
            Ok::<_, BlobError>(layout.root())
        });
        let root = kept.await?;
        self.commands.send(Command::Provide(root)).await?;
        Ok(root)
    }

    /// The blob `root`, from the disk or from whoever has it. What arrived stays on the disk when the time is over, so that another call
    /// goes on from there.
    ///
    /// # Errors
    /// If it has more than `most` bytes, is not well made, or did not arrive in time.
    pub async fn blob(&self, root: BlockId, most: u64, within: Duration) -> Result<Bytes, BlobError> {
        self.blob_from(root, &[], most, within).await
    }

    /// Has nothing more to do with `peer`: closes its connections, and lets it in no more, until [`Self::unblock`] or the next start.
    /// What others tell of it is still taken up; as it can't be reached, it is offline and removed in time.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn block(&self, peer: PeerId) -> Result<(), Stopped> {
        self.commands.send(Command::Block(peer)).await
    }

    /// Has to do with `peer` again.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn unblock(&self, peer: PeerId) -> Result<(), Stopped> {
        self.commands.send(Command::Unblock(peer)).await
    }

    /// Leaves the swarm and waits until the network is closed. A domain that goes for good publishes
    /// [`Statement::Withdrawn`] before.
    pub async fn stop(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A panic there was reported by the runtime already.
            let _ = task.await;
        }
    }
}

/// What the domains say of themselves that were known when the swarm was left, for tools that work while no agent uses the folder.
/// None if it never was in a swarm.
///
/// # Errors
/// When the store can't be read.
pub fn remembered(folder: &Path) -> Result<Vec<Identity>, StoreError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let known = Store::open(folder)?.peers()?.into_iter();
    let checked = known.filter_map(|(name, record)| Announcement::check(&name, &record, now()).ok());
    Ok(checked.filter_map(|it| it.statement().identity().cloned()).collect())
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Swarm({})", self.name)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
