//! Gets messages to the end of the pipeline over several connections, whatever happens to any one of them.
//!
//! # Promise
//! A message given to [`Courier::send`] is sent until its acknowledgement arrives: over another connection when the one
//! it went over breaks, falls silent for [`CourierConfig::patience`], or is asked to go away. So it may arrive twice and
//! out of order; the receiver removes doubles by [`FrameId`]. It is given up only when more than
//! [`CourierConfig::queue`] newer messages wait, or when the courier is dropped. Nothing blocks and nothing grows.

mod link;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_util::codec::Encoder as _;

use crate::{
    address::Destination,
    dispatch::{Dispatch, LinkId},
    model::FrameId,
    wire::{Ack, Message, Outcome, Role, WireCodec, WireError},
};

/// How often silence is looked for.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// Where to send and how patiently.
#[derive(Clone, Debug)]
pub struct CourierConfig {
    /// Where to; they take turns.
    pub destinations: Vec<Destination>,
    /// The port of a destination that names none.
    pub usual_port: u16,
    /// What has to be there; anything else is not sent to.
    pub role: Role,
    /// Connections to each destination, so that the replicas behind one address share the work.
    pub connections: usize,
    /// Messages that may wait.
    pub queue: usize,
    /// How long an acknowledgement may take before the connection counts as dead.
    pub patience: Duration,
    /// Age at which a connection is replaced, so that replicas that came later get their share. `None`: never.
    pub max_age: Option<Duration>,
}

/// Figures of a courier. Counters start at 0 with the process.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Connections that take messages.
    pub open_links: usize,
    /// Messages taken into the queue.
    pub accepted: u64,
    /// Messages waiting for a connection.
    pub waiting: usize,
    /// Messages sent and not acknowledged.
    pub in_flight: usize,
    /// Messages acknowledged as delivered.
    pub delivered: u64,
    /// Messages the other side refused for good.
    pub refused: u64,
    /// Messages given up because the queue was full.
    pub dropped: u64,
    /// Messages sent again because their connection broke or fell silent.
    pub resent: u64,
    /// When the last message was acknowledged as delivered.
    pub last_delivery: Option<Instant>,
}

/// A message ready to be written, and who wants to know what became of it.
#[derive(Clone)]
struct Parcel {
    bytes: Bytes,
    token: u64,
}

/// What happened, as told to the task that decides.
enum Event {
    Offered(FrameId, Bytes, oneshot::Sender<Outcome>),
    Opened {
        link: LinkId,
        destination: usize,
        window: usize,
        orders: mpsc::Sender<Bytes>,
    },
    Answered(LinkId, Ack),
    Retiring(LinkId),
    Closed(LinkId),
}

/// Handle of a running courier; dropping it stops it.
#[derive(Debug)]
pub struct Courier {
    events: mpsc::Sender<Event>,
    status: watch::Receiver<Status>,
    handed_over: AtomicU64,
    _tasks: JoinSet<()>,
}

impl Courier {
    /// Starts connecting. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(config: CourierConfig) -> Self {
        let (events, inbox) = mpsc::channel(256);
        let (report, status) = watch::channel(Status::default());
        let mut tasks = JoinSet::new();
        for slot in 0..config.destinations.len() * config.connections {
            tasks.spawn(link::keep_open(config.clone(), slot, events.clone()));
        }
        tasks.spawn(Desk::new(&config, report).run(inbox));
        Self {
            events,
            status,
            handed_over: AtomicU64::new(0),
            _tasks: tasks,
        }
    }

    /// Hands over a message. What is returned yields what became of it, or an error if it was given up.
    ///
    /// # Errors
    /// [`WireError`] when the message breaks the limits of the protocol.
    pub async fn send(&self, message: &Message) -> Result<oneshot::Receiver<Outcome>, WireError> {
        let mut bytes = BytesMut::new();
        WireCodec.encode(message, &mut bytes)?;
        let (tell, outcome) = oneshot::channel();
        if let Some(id) = message.id() {
            self.handed_over.fetch_add(1, Ordering::Relaxed);
            // Fails only when the courier has stopped; then `tell` is dropped, which says so.
            let _ = self.events.send(Event::Offered(id.clone(), bytes.freeze(), tell)).await;
        }
        Ok(outcome)
    }

    /// Current figures, and a way to wait for a change.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Waits until all that was sent is answered, at most until `deadline`. Returns how many messages are left.
    pub async fn flush(&self, deadline: tokio::time::Instant) -> usize {
        let mut status = self.status();
        // What was handed over may still be on its way into the queue.
        let all = self.handed_over.load(Ordering::Relaxed);
        let done = status.wait_for(|status| status.accepted >= all && status.waiting + status.in_flight == 0);
        let _ = tokio::time::timeout_at(deadline, done).await;
        let status = self.status.borrow();
        status.waiting + status.in_flight
    }
}

/// The task that decides.
struct Desk {
    dispatch: Dispatch<Parcel>,
    orders: BTreeMap<LinkId, mpsc::Sender<Bytes>>,
    waiting_for: BTreeMap<u64, oneshot::Sender<Outcome>>,
    next_token: u64,
    patience: Duration,
    report: watch::Sender<Status>,
}

impl Desk {
    fn new(config: &CourierConfig, report: watch::Sender<Status>) -> Self {
        Self {
            dispatch: Dispatch::new(config.queue),
            orders: BTreeMap::new(),
            waiting_for: BTreeMap::new(),
            next_token: 0,
            patience: config.patience,
            report,
        }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                event = inbox.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                _ = watch.tick() => self.cut_silent_links(),
            }
            self.send_what_can_be_sent();
            self.report.send_modify(|status| {
                status.open_links = self.dispatch.open_links();
                status.waiting = self.dispatch.waiting();
                status.in_flight = self.dispatch.in_flight();
            });
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Offered(id, bytes, tell) => {
                self.next_token += 1;
                self.waiting_for.insert(self.next_token, tell);
                let given_up = self.dispatch.offer(
                    id,
                    Parcel {
                        bytes,
                        token: self.next_token,
                    },
                );
                for (id, parcel) in &given_up {
                    tracing::debug!(frame = %id, "queue full, given up");
                    self.waiting_for.remove(&parcel.token);
                }
                self.report.send_modify(|status| {
                    status.accepted += 1;
                    status.dropped += given_up.len() as u64;
                });
            }
            Event::Opened {
                link,
                destination,
                window,
                orders,
            } => {
                self.orders.insert(link, orders);
                self.dispatch.opened(link, destination, window);
            }
            Event::Answered(link, ack) => self.answered(link, &ack),
            Event::Retiring(link) => {
                self.dispatch.retire(link);
                self.close_if_finished(link);
            }
            Event::Closed(link) => self.close(link),
        }
    }

    fn answered(&mut self, link: LinkId, ack: &Ack) {
        let Some(parcel) = self.dispatch.answered(link, &ack.id) else {
            tracing::debug!(frame = %ack.id, "answer to what was not asked");
            return;
        };
        if let Some(tell) = self.waiting_for.remove(&parcel.token) {
            // Whoever asked may have stopped listening.
            let _ = tell.send(ack.outcome);
        }
        self.report.send_modify(|status| match ack.outcome {
            Outcome::Delivered => {
                status.delivered += 1;
                status.last_delivery = Some(Instant::now());
            }
            Outcome::Refused => status.refused += 1,
        });
        self.close_if_finished(link);
    }

    fn close_if_finished(&mut self, link: LinkId) {
        if self.dispatch.is_finished(link) {
            self.close(link);
        }
    }

    /// Dropping the orders makes the link's task close the connection.
    fn close(&mut self, link: LinkId) {
        self.orders.remove(&link);
        let returned = self.dispatch.closed(link);
        if returned > 0 {
            self.report.send_modify(|status| status.resent += returned as u64);
        }
    }

    fn cut_silent_links(&mut self) {
        for link in self.dispatch.overdue(Instant::now(), self.patience) {
            tracing::warn!(slot = link.slot, "no acknowledgement in time, connection given up");
            self.close(link);
        }
    }

    fn send_what_can_be_sent(&mut self) {
        while let Some((link, parcel)) = self.dispatch.next(Instant::now()) {
            // The channel holds a whole window, so it is full or closed only when the link is broken.
            if self
                .orders
                .get(&link)
                .is_none_or(|orders| orders.try_send(parcel.bytes).is_err())
            {
                self.close(link);
            }
        }
    }
}
