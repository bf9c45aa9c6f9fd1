//! One slot of a courier: connects, talks, reconnects, for ever.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::codec::FramedRead;

use super::{CourierConfig, Event};
use crate::{
    dispatch::LinkId,
    wire::{Message, Role, Welcome, WireCodec, WireError},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A detector withholds its welcome while it cannot reach its receiver, so this is longer than a connect.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Why a connection ended or did not come about.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("not found or not reachable: {0}")]
    Connect(#[source] io::Error),
    #[error("no {0} within {1:?}")]
    Timeout(&'static str, Duration),
    #[error("closed by the other side")]
    ClosedThere,
    #[error("a {0:?} answers there, not a {1:?}: check the address")]
    WrongRole(Role, Role),
    #[error("the other side broke the protocol: unexpected message")]
    Unexpected,
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Why a connection ended as it should.
enum End {
    /// The courier wants it closed.
    Closed,
    /// The courier is gone.
    Stopped,
}

/// Keeps a connection open for `slot` until the courier stops.
pub(super) async fn keep_open(config: CourierConfig, slot: usize, events: mpsc::Sender<Event>) {
    // Neighbouring slots are for different destinations, so that one connection to each is tried first.
    let destination = slot % config.destinations.len();
    let place = &config.destinations[destination];
    let mut back_off = BACK_OFF_MIN;
    let mut complained = false;
    for attempt in 0.. {
        let link = LinkId { slot, attempt };
        let (welcome, read, write) = match connect(&config, destination).await {
            Ok(connected) => connected,
            Err(error) => {
                // Once, not at each try: the destination may be away for long.
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(destination = %place, %error, "cannot connect, will keep trying");
                }
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(BACK_OFF_MAX);
                continue;
            }
        };
        (back_off, complained) = (BACK_OFF_MIN, false);
        tracing::debug!(destination = %place, instance = %welcome.instance, slot, "connected");
        let window = usize::from(welcome.window);
        let (orders, received) = mpsc::channel(window);
        if events
            .send(Event::Opened {
                link,
                destination,
                window,
                orders,
            })
            .await
            .is_err()
        {
            return;
        }
        let retire_at = config.max_age.map(|age| Instant::now() + staggered(age, slot));
        match talk(link, read, write, received, &events, retire_at).await {
            Ok(End::Stopped) => return,
            // A short breath, lest a peer that sends everyone away is called without pause.
            Ok(End::Closed) => tokio::time::sleep(BACK_OFF_MIN).await,
            Err(error) => {
                tracing::info!(destination = %place, instance = %welcome.instance, slot, %error, "connection ended");
                if events.send(Event::Closed(link)).await.is_err() {
                    return;
                }
                tokio::time::sleep(back_off).await;
            }
        }
    }
}

/// Connections opened together shall not be replaced together.
fn staggered(age: Duration, slot: usize) -> Duration {
    age.mul_f64(1.0 + (slot % 8) as f64 / 8.0)
}

type Connected = (Welcome, FramedRead<OwnedReadHalf, WireCodec>, OwnedWriteHalf);

async fn connect(config: &CourierConfig, destination: usize) -> Result<Connected, LinkError> {
    let endpoint = config.destinations[destination].endpoint(config.usual_port, |name| std::env::var(name).ok());
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint))
        .await
        .map_err(|_| LinkError::Timeout("connection", CONNECT_TIMEOUT))?
        .map_err(LinkError::Connect)?;
    // Frames and acknowledgements are small and urgent.
    stream.set_nodelay(true).map_err(LinkError::Connect)?;
    let (read, write) = stream.into_split();
    let mut read = FramedRead::new(read, WireCodec);
    let first = timeout(WELCOME_TIMEOUT, read.next()).await;
    match first
        .map_err(|_| LinkError::Timeout("welcome", WELCOME_TIMEOUT))?
        .ok_or(LinkError::ClosedThere)??
    {
        Message::Welcome(welcome) if welcome.role == config.role => Ok((welcome, read, write)),
        Message::Welcome(welcome) => Err(LinkError::WrongRole(welcome.role, config.role)),
        Message::GoAway => Err(LinkError::ClosedThere),
        _ => Err(LinkError::Unexpected),
    }
}

async fn talk(
    link: LinkId,
    mut read: FramedRead<OwnedReadHalf, WireCodec>,
    mut write: OwnedWriteHalf,
    mut orders: mpsc::Receiver<Bytes>,
    events: &mpsc::Sender<Event>,
    mut retire_at: Option<Instant>,
) -> Result<End, LinkError> {
    loop {
        let retirement = async {
            match retire_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            order = orders.recv() => match order {
                Some(bytes) => {
                    let written = timeout(WRITE_TIMEOUT, write.write_all(&bytes)).await;
                    written.map_err(|_| LinkError::Timeout("room to write", WRITE_TIMEOUT))?.map_err(WireError::Io)?;
                    continue;
                }
                None => return Ok(End::Closed),
            },
            message = read.next() => match message.ok_or(LinkError::ClosedThere)?? {
                Message::Ack(ack) => Event::Answered(link, ack),
                Message::GoAway => Event::Retiring(link),
                _ => return Err(LinkError::Unexpected),
            },
            () = retirement => {
                retire_at = None;
                Event::Retiring(link)
            }
        };
        if events.send(event).await.is_err() {
            return Ok(End::Stopped);
        }
    }
}
