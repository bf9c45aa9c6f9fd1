//! `eth_subscribe`: new heads and logs, pushed when a block is committed.
//!
//! A subscriber that does not read is dropped with a notice: its connection's buffer and the ring of committed blocks are
//! all that it can fill.

use std::time::Duration;

use alloy::rpc::types::pubsub::{Params, SubscriptionKind};
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::server::{SubscriptionMessage, SubscriptionSink};
use jsonrpsee::types::SubscriptionId;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::error::RpcError;
use super::{convert, read};
use crate::ledger::{Committed, Ledger};
use crate::store::LogQuery;

/// A client that does not take a message for this long is dropped.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// Headers.
    NewHeads,
    /// Logs that match.
    Logs(LogQuery),
}

impl Topic {
    /// Reads the arguments of `eth_subscribe`.
    pub fn parse(kind: SubscriptionKind, params: Option<Params>) -> Result<Self, RpcError> {
        match (kind, params) {
            (SubscriptionKind::NewHeads, _) => Ok(Self::NewHeads),
            (SubscriptionKind::Logs, None | Some(Params::None)) => Ok(Self::Logs(LogQuery::default())),
            (SubscriptionKind::Logs, Some(Params::Logs(filter))) => Ok(Self::Logs(read::criteria(&filter)?)),
            _ => Err(RpcError::InvalidParams(
                "only newHeads and logs (with a filter) can be subscribed to".into(),
            )),
        }
    }

    /// Pushes until the client goes, or does not keep up.
    pub async fn push(
        self,
        sink: SubscriptionSink,
        mut blocks: broadcast::Receiver<std::sync::Arc<Committed>>,
    ) -> Result<(), SubscriptionError> {
        loop {
            let block = tokio::select! {
                () = sink.closed() => return Ok(()),
                block = blocks.recv() => block,
            };
            match block {
                Ok(block) => self.push_block(&sink, &block).await?,
                Err(RecvError::Closed) => return Ok(()),
                Err(RecvError::Lagged(missed)) => {
                    return Err(format!(
                        "dropped: {missed} blocks were committed before you read the last one; subscribe again and \
                         fetch what you missed"
                    )
                    .into());
                }
            }
        }
    }

    async fn push_block(&self, sink: &SubscriptionSink, block: &Committed) -> Result<(), SubscriptionError> {
        match self {
            Self::NewHeads => send(sink, &convert::header(block)).await,
            Self::Logs(query) => {
                for found in block.logs.iter().filter(|found| query.matches(&found.log)) {
                    send(sink, &convert::log(found.clone())).await?;
                }
                Ok(())
            }
        }
    }
}

async fn send(sink: &SubscriptionSink, item: &impl Serialize) -> Result<(), SubscriptionError> {
    let id: SubscriptionId<'static> = sink.subscription_id();
    let message = SubscriptionMessage::new(sink.method_name(), id, item)?;
    match sink.send_timeout(message, PATIENCE).await {
        Ok(()) => Ok(()),
        Err(_) => Err("dropped: you did not read for too long; subscribe again and fetch what you missed".into()),
    }
}

/// Subscribes before the client is told so, so that it misses nothing after that.
pub fn blocks(ledger: &Ledger) -> broadcast::Receiver<std::sync::Arc<Committed>> {
    ledger.subscribe()
}
