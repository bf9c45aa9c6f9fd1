//! What the handle asks of the network, and what can go wrong.

use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};

use super::ask::Question;
use super::status::{PeerView, Status};
use crate::blob::{BlockId, FetchError};
use crate::model::{AddressError, Statement, StatementError, SwarmAddress};
use crate::network::BlockAnswer;
use crate::record::{Announcement, RecordError};
use crate::store::StoreError;

/// The swarm has been left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the swarm was left")]
pub struct Stopped;

/// Why a swarm could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bootstrap address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The network.
    #[error("could not set up the network: {0}")]
    Network(#[from] std::io::Error),
    /// Listening.
    #[error("could not listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// What happened.
        reason: String,
    },
}

/// Why a statement was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It is too long.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Nobody could open what would be sealed to it.
    #[error("the identity has another sealing key than this domain; take the swarm's own")]
    SealingKey,
    /// It could not be signed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It could not be written to the disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nobody to publish it.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a record was not found.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// Nobody who was asked has a valid one.
    #[error("nobody who was asked has a valid record of {0}")]
    NotFound(PeerId),
    /// There is nobody to ask.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a blob could not be had, or not be kept.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is too large to be kept.
    #[error("the blob has {size} bytes; at most {most} can be kept")]
    Large {
        /// Its size in bytes.
        size: u64,
        /// The bound.
        most: u64,
    },
    /// Nobody can give it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The time is over.
    #[error("the blob {root} did not arrive within {within:?}: {missing}; another try goes on from there")]
    Late {
        /// Which blob.
        root: BlockId,
        /// The time that it had.
        within: Duration,
        /// How far it came.
        missing: String,
    },
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nobody to ask.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What a holder answered; `None` if it did not, or not understandably.
pub(super) type Answered = Option<BlockAnswer>;

/// Asked of the task that owns the network. Who asks may have gone when the answer comes.
#[derive(Debug)]
pub(super) enum Command {
    Publish(Statement, oneshot::Sender<Result<(), PublishError>>),
    SetExternal(Vec<SwarmAddress>),
    Peers(oneshot::Sender<Vec<PeerView>>),
    Status(oneshot::Sender<Status>),
    LookUp(PeerId, oneshot::Sender<Result<Announcement, LookUpError>>),
    Provide(BlockId),
    Withdraw(BlockId),
    /// Hears of holders as they are found; the search is over when nothing more can come.
    FindHolders(BlockId, mpsc::Sender<Vec<PeerId>>),
    Ask(PeerId, BlockId, oneshot::Sender<Answered>),
    Ban(PeerId),
    AskPeer(Question),
    Block(PeerId),
    Unblock(PeerId),
}

/// Where commands are sent.
#[derive(Debug, Clone)]
pub(super) struct Commands(pub mpsc::Sender<Command>);

impl Commands {
    pub async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.0.send(command).await.map_err(|_| Stopped)
    }
}
