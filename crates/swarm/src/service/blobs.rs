//! Blocks for others, and the network's part in fetching.

use std::collections::HashMap;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::kad::{self, QueryId};
use libp2p::request_response::{Event, Message, ResponseChannel};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::command::Answered;
use super::run::Run;
use crate::blob::BlockId;
use crate::network::{BlockAnswer, BlockQuestion};

/// How many blocks are read from the disk for others at a time: this many mebibytes of memory.
const READS: usize = 16;
/// How many holders are asked for beside the neighbours.
const MOST_HOLDERS: usize = 32;

/// A block that was read for a peer.
pub(super) struct Read {
    pub channel: ResponseChannel<BlockAnswer>,
    pub answer: BlockAnswer,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Blobs {
    reads: FuturesUnordered<JoinHandle<Read>>,
    /// Who hears of the holders that a search finds.
    searches: HashMap<QueryId, mpsc::Sender<Vec<PeerId>>>,
}

impl Blobs {
    /// The next block that was read; never, while none is being read.
    pub async fn next_read(&mut self) -> Read {
        loop {
            match self.reads.next().await {
                Some(Ok(read)) => return read,
                // The read panicked; its asker hears nothing and asks somebody else.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

impl Run {
    pub(super) fn blocks_event(&mut self, event: Event<BlockQuestion, BlockAnswer>) {
        match event {
            Event::Message {
                message: Message::Request { request, channel, .. },
                ..
            } => self.serve(request, channel),
            Event::Message {
                message: Message::Response { request_id, response },
                ..
            } => {
                self.traffic.received.block(&response);
                self.answered(&request_id, Some(response));
            }
            Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                tracing::debug!(%peer, %error, "a holder did not give a block");
                self.answered(&request_id, None);
            }
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn answered(&mut self, request: &libp2p::request_response::OutboundRequestId, answer: Answered) {
        if let Some(asked_by) = self.asked.remove(request) {
            // Who asked may have given up.
            let _ = asked_by.send(answer);
        }
    }

    fn serve(&mut self, question: BlockQuestion, channel: ResponseChannel<BlockAnswer>) {
        if self.blobs.reads.len() >= READS {
            // It asks another holder, or again.
            let _ = self
                .swarm
                .behaviour_mut()
                .blocks
                .send_response(channel, BlockAnswer::HasNot);
            return;
        }
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || {
            let block = store.block(&question.0).unwrap_or_else(|error| {
                tracing::warn!(%error, "a block could not be read for a peer");
                None
            });
            let answer = block.map_or(BlockAnswer::HasNot, |block| BlockAnswer::Block(Bytes::from(block)));
            Read { channel, answer }
        });
        self.blobs.reads.push(read);
    }

    pub(super) fn ask(&mut self, holder: PeerId, block: BlockId, done: oneshot::Sender<Answered>) {
        let request = self
            .swarm
            .behaviour_mut()
            .blocks
            .send_request(&holder, BlockQuestion(block));
        self.asked.insert(request, done);
    }

    /// Says in the distributed hash table that this domain has the blob.
    pub(super) fn provide(&mut self, root: BlockId) {
        if let Err(error) = self.swarm.behaviour_mut().kad.start_providing(provider_key(&root)) {
            tracing::debug!(%root, %error, "it is not written that this domain holds the blob");
        }
    }

    /// Says no longer that this domain has the blob. Who was told so forgets it in time.
    pub(super) fn withdraw(&mut self, root: BlockId) {
        self.swarm.behaviour_mut().kad.stop_providing(&provider_key(&root));
    }

    /// The neighbours at once, domains before others, and then who is said to have the blob.
    pub(super) fn find_holders(&mut self, root: BlockId, told: mpsc::Sender<Vec<PeerId>>) {
        let mut neighbours: Vec<_> = self.swarm.connected_peers().copied().collect();
        neighbours.sort_by_key(|peer| self.member.table.get(peer).is_none());
        neighbours.truncate(MOST_HOLDERS);
        // Who asked may have given up, here and below.
        let _ = told.try_send(neighbours);
        let query = self.swarm.behaviour_mut().kad.get_providers(provider_key(&root));
        self.blobs.searches.insert(query, told);
    }

    pub(super) fn holders_found(&mut self, query: QueryId, result: kad::GetProvidersResult, last: bool) {
        let Some(told) = self.blobs.searches.get(&query) else {
            return;
        };
        if let Ok(kad::GetProvidersOk::FoundProviders { providers, .. }) = result {
            let others = providers.into_iter().filter(|peer| *peer != self.name);
            let _ = told.try_send(others.take(MOST_HOLDERS).collect());
        }
        if last {
            self.blobs.searches.remove(&query);
        }
    }
}

/// IPFS members look for a blob under the multihash of its CID.
fn provider_key(root: &BlockId) -> kad::RecordKey {
    root.multihash().into()
}
