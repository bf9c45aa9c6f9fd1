//! The engine's write-ahead log, spared the writes that nothing depends on.
//!
//! What the log is for: after a crash a validator must not contradict what it signed. A height at which it signs nothing,
//! because the block was decided without it and came by value sync, leaves nothing to remember; yet the engine would reset
//! the log for it, append the block and flush, with an fsync each time. So this actor stands before the engine's own
//! log and holds back the reset of a new height and the blocks that came by sync until the first entry of another kind,
//! which is what a signature may follow from, and passes a flush on only if there is something to flush. What comes to
//! the log comes in the order in which the engine gave it.

use std::path::PathBuf;

use malachitebft_app_channel::app::metrics::SharedRegistry;
use malachitebft_core_consensus::Input;
use malachitebft_core_types::ValueOrigin;
use malachitebft_engine::node::{NodeMsg, NodeRef};
use malachitebft_engine::wal::{Msg, Wal, WalRef};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, async_trait, call};

use super::codec::WalCodec;
use super::context::{Height, LedgerContext};

/// Blocks by sync that are held back at one height. There is one, unless members send what does not fit its certificate.
const HELD_BACK: usize = 4;

/// Starts the log at `path`, creating file and folder if they are missing.
///
/// # Errors
/// The file can't be opened, or another process has it.
pub async fn start(path: PathBuf, codec: WalCodec) -> Result<WalRef<LedgerContext>, String> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    let (log, _) = Actor::spawn(None, SparingLog, (path, codec))
        .await
        .map_err(|error| error.to_string())?;
    Ok(log)
}

struct SparingLog;

/// What the engine has said and the log on disk does not know yet.
#[derive(Default)]
struct HeldBack {
    /// The height for which the log is to be reset.
    reset: bool,
    /// Blocks that came by sync.
    synced: Vec<Input<LedgerContext>>,
}

struct State {
    log: WalRef<LedgerContext>,
    /// That of the last start; none before the first.
    height: Option<Height>,
    held_back: HeldBack,
    /// Whether something was appended since the last flush.
    unflushed: bool,
}

#[async_trait]
impl Actor for SparingLog {
    type Msg = Msg<LedgerContext>;
    type State = State;
    type Arguments = (PathBuf, WalCodec);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (path, codec): Self::Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let (alarm, _) = Actor::spawn_linked(None, Alarm, myself.get_cell(), myself.get_cell()).await?;
        let metrics = SharedRegistry::global();
        let span = tracing::Span::current();
        let log = Wal::spawn(&LedgerContext, codec, path, metrics.clone(), span, alarm).await?;
        log.link(myself.get_cell());
        Ok(State {
            log,
            height: None,
            held_back: HeldBack::default(),
            unflushed: false,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::StartedHeight(height, reply) => reply.send(state.start(height).await?)?,
            Msg::Reset(height, reply) => {
                state.height = Some(height);
                state.held_back = HeldBack::default();
                reply.send(call!(state.log, Msg::Reset, height)?)?;
            }
            Msg::Append(height, entry, reply) => {
                let result = if state.height == Some(height) {
                    state.append(height, entry).await?
                } else {
                    tracing::warn!(%height, log = ?state.height, "an entry of another height is not logged");
                    Ok(())
                };
                reply.send(result)?;
            }
            Msg::Flush(reply) => reply.send(state.flush().await?)?,
            Msg::Dump => state.log.cast(Msg::Dump)?,
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        // It may have stopped by itself.
        let _ = state.log.stop_and_wait(None, None).await;
        Ok(())
    }
}

/// As the log answers: the outer error says that it is gone.
type Answer<T> = Result<eyre::Result<T>, ActorProcessingErr>;

impl State {
    /// Entries to replay are only there at the first start: later heights are new ones.
    async fn start(&mut self, height: Height) -> Answer<Vec<std::io::Result<Input<LedgerContext>>>> {
        match self.height.replace(height) {
            None => return Ok(call!(self.log, Msg::StartedHeight, height)?),
            Some(same) if same == height => {}
            Some(_) => {
                self.held_back = HeldBack {
                    reset: true,
                    synced: Vec::new(),
                }
            }
        }
        Ok(Ok(Vec::new()))
    }

    async fn append(&mut self, height: Height, entry: Input<LedgerContext>) -> Answer<()> {
        let by_sync = matches!(entry, Input::ProposedValue(_, ValueOrigin::Sync));
        if by_sync && self.held_back.reset && self.held_back.synced.len() < HELD_BACK {
            self.held_back.synced.push(entry);
            return Ok(Ok(()));
        }
        let held_back = std::mem::take(&mut self.held_back);
        if held_back.reset
            && let Err(error) = call!(self.log, Msg::Reset, height)?
        {
            return Ok(Err(error));
        }
        for entry in held_back.synced.into_iter().chain([entry]) {
            self.unflushed = true;
            if let Err(error) = call!(self.log, Msg::Append, height, entry)? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn flush(&mut self) -> Answer<()> {
        if !self.unflushed {
            return Ok(Ok(()));
        }
        let result = call!(self.log, Msg::Flush)?;
        self.unflushed = result.is_err();
        Ok(result)
    }
}

/// Passes what the log's thread says when it dies on to the engine's supervisor, which is there only after the log.
struct Alarm;

#[async_trait]
impl Actor for Alarm {
    type Msg = NodeMsg;
    type State = ActorCell;
    type Arguments = ActorCell;

    async fn pre_start(&self, _: NodeRef, log: ActorCell) -> Result<ActorCell, ActorProcessingErr> {
        Ok(log)
    }

    async fn handle(&self, _: NodeRef, message: NodeMsg, log: &mut ActorCell) -> Result<(), ActorProcessingErr> {
        match log.try_get_supervisor() {
            Some(node) => node.send_message::<NodeMsg>(message)?,
            None => tracing::error!(?message, "the write-ahead log failed before the engine was up"),
        }
        Ok(())
    }
}
