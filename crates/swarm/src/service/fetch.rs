//! Carries out what [`Fetch`] decides.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::command::{Answered, BlobError, Command, Commands, Stopped};
use super::{now, off_thread};
use crate::blob::{BlockId, Codec, Effect, Fetch, FileNode};
use crate::network::BlockAnswer;
use crate::store::{Store, StoreError};

/// How often it is looked whether a holder takes too long.
const TICK: Duration = Duration::from_secs(1);
/// How many answers to a search for holders wait to be heard; what comes beyond them is lost.
const HEARD: usize = 32;

/// Something that was waited for.
enum Event {
    Answer(PeerId, BlockId, Answered),
    /// Holders were found, and more may be.
    Holders(Vec<PeerId>, mpsc::Receiver<Vec<PeerId>>),
    Looked,
}

type Waiting = FuturesUnordered<BoxFuture<'static, Event>>;

/// `holders` are asked before anybody else is looked for.
pub(super) async fn fetch(
    root: BlockId,
    holders: &[PeerId],
    most: u64,
    within: Duration,
    commands: &Commands,
    store: &Store,
) -> Result<Bytes, BlobError> {
    let end = Instant::now() + within;
    let disk = store.clone();
    let begin = move || {
        let mut failed = None;
        let begun = Fetch::new(root, most, |id| {
            disk.block(id).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        failed.map_or(Ok(begun), Err)
    };
    let (mut fetch, mut effects) = off_thread(begin).await?;
    // Who is known is asked before anybody is looked for.
    if !holders.is_empty() && effects == [Effect::FindHolders] {
        effects = fetch.found(holders.iter().copied(), now());
        effects.extend(fetch.looked(now()));
    }
    let (mut waiting, mut searched) = (Waiting::new(), false);
    let mut tick = tokio::time::interval(TICK);
    let mut done = carry_out(effects, None, root, commands, store, &mut waiting, &mut searched).await?;
    while !done {
        let (effects, arrived) = tokio::select! {
            () = tokio::time::sleep_until(end) => return Err(late(root, within, &fetch)),
            _ = tick.tick() => (fetch.passed(now()), None),
            Some(event) = waiting.next() => match event {
                Event::Holders(holders, more) => {
                    waiting.push(Box::pin(hear(more)));
                    (fetch.found(holders, now()), None)
                }
                Event::Looked => (fetch.looked(now()), None),
                Event::Answer(holder, block, Some(BlockAnswer::Block(bytes))) => {
                    (fetch.arrived(holder, block, &bytes, now()), Some(bytes))
                }
                Event::Answer(holder, block, Some(BlockAnswer::HasNot)) => (fetch.has_not(&holder, &block, now()), None),
                Event::Answer(holder, block, None) => (fetch.failed(&holder, &block, now()), None),
            },
        };
        done = carry_out(effects, arrived, root, commands, store, &mut waiting, &mut searched).await?;
    }
    let disk = store.clone();
    off_thread(move || whole(root, &disk))
        .await?
        .ok_or_else(|| late(root, within, &fetch))
}

async fn hear(mut found: mpsc::Receiver<Vec<PeerId>>) -> Event {
    match found.recv().await {
        Some(holders) => Event::Holders(holders, found),
        None => Event::Looked,
    }
}

/// `true` when the blob is there.
async fn carry_out(
    effects: Vec<Effect>,
    arrived: Option<Bytes>,
    root: BlockId,
    commands: &Commands,
    store: &Store,
    waiting: &mut Waiting,
    searched: &mut bool,
) -> Result<bool, BlobError> {
    for effect in effects {
        match effect {
            Effect::Ask(holder, block) => {
                let (done, answer) = oneshot::channel();
                commands.send(Command::Ask(holder, block, done)).await?;
                waiting.push(Box::pin(async move {
                    Event::Answer(holder, block, answer.await.unwrap_or(None))
                }));
            }
            Effect::FindHolders => {
                let (told, heard) = mpsc::channel(HEARD);
                // Those who were asked before had nothing: a moment later there may be others.
                let pause = if std::mem::replace(searched, true) {
                    TICK
                } else {
                    Duration::ZERO
                };
                let commands = commands.clone();
                waiting.push(Box::pin(async move {
                    tokio::time::sleep(pause).await;
                    match commands.send(Command::FindHolders(root, told)).await {
                        Ok(()) => hear(heard).await,
                        Err(Stopped) => Event::Looked,
                    }
                }));
            }
            Effect::Keep(block) => {
                let (store, bytes) = (store.clone(), arrived.clone().unwrap_or_default());
                off_thread(move || store.keep_blocks(&[(block, bytes)])).await?;
            }
            Effect::Ban(peer) => commands.send(Command::Ban(peer)).await?,
            Effect::Done => return Ok(true),
            Effect::Failed(error) => return Err(error.into()),
        }
    }
    if commands.0.is_closed() {
        return Err(Stopped.into());
    }
    Ok(false)
}

fn late(root: BlockId, within: Duration, fetch: &Fetch) -> BlobError {
    let missing = match fetch.missing() {
        None => "nobody who was asked has it".into(),
        Some(blocks) => format!("{blocks} blocks of it are missing"),
    };
    BlobError::Late { root, within, missing }
}

/// The blocks of the blob as far as they are known: its root, and what the root lists if it lies here.
pub(super) fn blocks_of(root: BlockId, store: &Store) -> Result<Vec<BlockId>, StoreError> {
    let mut blocks = vec![root];
    if root.codec() == Codec::DagPb
        && let Some(Ok(node)) = store.block(&root)?.map(|first| FileNode::decode(&first))
    {
        blocks.extend(node.leaves().iter().map(|leaf| leaf.id));
    }
    Ok(blocks)
}

/// The blob from its blocks on the disk; `None` if one is missing or damaged after all.
pub(super) fn whole(root: BlockId, store: &Store) -> Result<Option<Bytes>, StoreError> {
    let Some(first) = store.block(&root)?.filter(|first| root.matches(first)) else {
        return Ok(None);
    };
    if root.codec() == Codec::Raw {
        return Ok(Some(first.into()));
    }
    let Ok(node) = FileNode::decode(&first) else {
        return Ok(None);
    };
    let mut blob = Vec::with_capacity(usize::try_from(node.size()).unwrap_or_default());
    for leaf in node.leaves() {
        match store.block(&leaf.id)?.filter(|block| leaf.id.matches(block)) {
            Some(block) => blob.extend_from_slice(&block),
            None => return Ok(None),
        }
    }
    Ok(Some(blob.into()))
}
