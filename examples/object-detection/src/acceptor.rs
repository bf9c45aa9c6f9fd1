//! The accepting side of links: welcomes, hands messages to a handler, acknowledges, and lets go gracefully.
//!
//! # Promise
//! Every message is answered once, after the handler is done with it. At most [`MAX_CONNECTIONS`] connections are open
//! and at most the window of each is being handled; whoever sends more, breaks the protocol or says nothing for
//! [`IDLE`] is disconnected. When drained, no connection is accepted, the others are asked to go away, and what they
//! already sent is still handled and answered.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_util::{
    codec::{Encoder as _, FramedRead},
    sync::CancellationToken,
};

use crate::wire::{Ack, Message, Outcome, Welcome, WireCodec, WireError};

/// Most connections at a time.
pub const MAX_CONNECTIONS: usize = 64;
/// Longest silence of a peer.
pub const IDLE: Duration = Duration::from_secs(60);

const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How to greet and when.
#[derive(Clone, Debug)]
pub struct Reception {
    /// The first word on each connection.
    pub welcome: Welcome,
    /// A connection is welcomed when this is true, and waits until then.
    pub open: watch::Receiver<bool>,
    /// Ends the acceptor, gracefully.
    pub drain: CancellationToken,
}

/// Why a connection was ended from here.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// It broke the link protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A message that has no place here.
    #[error("a message of a kind that is not for this program")]
    NotForUs,
    /// More unanswered messages than the window.
    #[error("more unanswered messages than the window of {0}")]
    Window(u8),
    /// Silence.
    #[error("silent for {IDLE:?}")]
    Idle,
    /// The peer does not read.
    #[error("the peer does not read what is sent to it")]
    Deaf,
    /// The message could not be delivered now; the peer will send it again elsewhere.
    #[error("cannot be delivered now")]
    Undeliverable,
}

/// Accepts and serves connections until drained; returns when the last one is closed.
///
/// `handle` returns what became of a message, or why the connection has to end.
pub async fn accept<H, F>(listener: TcpListener, reception: Reception, handle: H)
where
    H: Fn(Message) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Outcome, Violation>> + Send + 'static,
{
    let handle = Arc::new(handle);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = reception.drain.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((_, peer)) if connections.len() >= MAX_CONNECTIONS => {
                tracing::warn!(%peer, "refused: {MAX_CONNECTIONS} connections are open");
            }
            Ok((stream, peer)) => {
                let (reception, handle) = (reception.clone(), Arc::clone(&handle));
                connections.spawn(async move { report(peer, serve(stream, reception, &*handle).await) });
            }
            Err(error) => {
                // Out of file descriptors, most likely: accepting at once again would spin.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn report(peer: SocketAddr, end: Result<(), Violation>) {
    match end {
        Ok(()) => tracing::debug!(%peer, "connection closed"),
        Err(error) => tracing::warn!(%peer, %error, "connection ended"),
    }
}

async fn serve<H, F>(stream: TcpStream, mut reception: Reception, handle: &H) -> Result<(), Violation>
where
    H: Fn(Message) -> F,
    F: Future<Output = Result<Outcome, Violation>>,
{
    stream.set_nodelay(true).map_err(WireError::Io)?;
    let (read, mut write) = stream.into_split();
    tokio::select! {
        () = reception.drain.cancelled() => return Ok(()),
        open = timeout(IDLE, reception.open.wait_for(|open| *open)) => {
            if !matches!(open, Ok(Ok(_))) {
                return Err(Violation::Idle);
            }
        }
    }
    let window = reception.welcome.window;
    send(&mut write, &Message::Welcome(reception.welcome)).await?;

    let mut messages = FramedRead::new(read, WireCodec);
    let mut in_hand = FuturesUnordered::new();
    let mut leaving = false;
    loop {
        tokio::select! {
            () = reception.drain.cancelled(), if !leaving => {
                leaving = true;
                send(&mut write, &Message::GoAway).await?;
            }
            Some((id, outcome)) = in_hand.next() => {
                send(&mut write, &Message::Ack(Ack { id, outcome: outcome? })).await?;
            }
            message = timeout(IDLE, messages.next()) => {
                let Some(message) = message.map_err(|_| Violation::Idle)? else { return Ok(()) };
                let message = message?;
                if in_hand.len() >= usize::from(window) {
                    return Err(Violation::Window(window));
                }
                let id = message.id().cloned().ok_or(Violation::NotForUs)?;
                let work = handle(message);
                in_hand.push(async move { (id, work.await) });
            }
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, message: &Message) -> Result<(), Violation> {
    let mut bytes = BytesMut::new();
    WireCodec.encode(message, &mut bytes)?;
    let written = timeout(WRITE_TIMEOUT, write.write_all(&bytes)).await;
    Ok(written.map_err(|_| Violation::Deaf)?.map_err(WireError::Io)?)
}
