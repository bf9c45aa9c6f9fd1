//! Follows the chain's newest block, over whatever the endpoint offers, for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use alloy::primitives::U64;
use alloy::pubsub::Subscription;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Poll;
use crate::endpoint::{Endpoint, RequestError};
use crate::head::Head;
use crate::rpc::{Backoff, Rpc};
use crate::status::Link;

/// How often a node is asked whether it is in step with the chain.
const STEP_CHECK: Duration = Duration::from_secs(5);

/// A node this many blocks behind another one of the configured ones is left for it.
const FAR_BEHIND: u64 = 3;

/// The newest block and which endpoint showed it, by position in the configuration's order.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) endpoint: Arc<Endpoint>,
}

/// What others learn from the watcher and tell it.
#[derive(Clone)]
pub(crate) struct Heads {
    newest: watch::Sender<Option<Seen>>,
    /// How many wait for a block now.
    urgent: Arc<AtomicUsize>,
    /// How many event streams are open.
    listening: Arc<AtomicUsize>,
    hurry: Arc<Notify>,
    read_up_to: Arc<AtomicU64>,
    over: watch::Sender<bool>,
    /// Height of the newest block that is known to be final because an own command is in it.
    landed: Arc<AtomicU64>,
}

/// Someone waits while this lives.
pub(crate) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Heads {
    pub(crate) fn new() -> Self {
        Self {
            newest: watch::Sender::new(None),
            urgent: Arc::default(),
            listening: Arc::default(),
            hurry: Arc::default(),
            read_up_to: Arc::default(),
            over: watch::Sender::new(false),
            landed: Arc::default(),
        }
    }

    /// An own command is final in that block: what is read from now on is not older than it, although the newest block
    /// may be a moment late in coming here.
    pub(crate) fn landed(&self, block: u64) {
        self.landed.fetch_max(block, Ordering::Relaxed);
    }

    /// Blocks from this one on were replaced, so that nothing in them is final any more.
    pub(crate) fn replaced(&self, from: u64) {
        self.landed.fetch_min(from.saturating_sub(1), Ordering::Relaxed);
    }

    /// The newest final block when the chain ends with `head`.
    pub(crate) fn settled(&self, head: Head, confirmations: u64) -> u64 {
        let landed = self.landed.load(Ordering::Relaxed).min(head.number);
        head.number.saturating_sub(confirmations).max(landed)
    }

    /// The block up to which all events have been dealt with.
    pub(crate) fn read_up_to(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read_up_to)
    }

    /// No block will follow.
    pub(crate) fn close(&self) {
        self.over.send_replace(true);
    }

    /// Becomes true when no block will follow.
    pub(crate) fn over(&self) -> watch::Receiver<bool> {
        self.over.subscribe()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Seen>> {
        self.newest.subscribe()
    }

    pub(crate) fn newest(&self) -> Option<Seen> {
        self.newest.borrow().clone()
    }

    /// A transaction is out: look for blocks as often as allowed while the guard lives.
    pub(crate) fn urgent(&self) -> Waiting {
        let waiting = Waiting::new(&self.urgent);
        self.hurry();
        waiting
    }

    /// Looks at once, and from then on with the shortest interval.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// An event stream is open: keep looking while the guard lives.
    pub(crate) fn listening(&self) -> Waiting {
        let waiting = Waiting::new(&self.listening);
        self.hurry.notify_one();
        waiting
    }
}

/// Runs until it is dropped.
pub(crate) async fn watch_heads(rpc: Arc<Rpc>, heads: Heads, poll: Poll) {
    let mut backoff = Backoff::default();
    let mut failures = 0;
    loop {
        let endpoint = rpc.current();
        let seen_before = heads.newest().map(|seen| seen.head);
        let error = follow(&rpc, &endpoint, &heads, poll).await;
        if heads.newest().map(|seen| seen.head) != seen_before {
            backoff.reset();
            failures = 0;
        }
        let reason = match error {
            RequestError::Link(reason) | RequestError::Form(reason) | RequestError::Answer { message: reason, .. } => {
                reason
            }
        };
        tracing::debug!(url = %endpoint.url(), reason, "ledger endpoint lost");
        endpoint.disconnect();
        rpc.turn_from(&endpoint);
        failures += 1;
        if failures >= rpc.endpoints().len() {
            rpc.set_link(Link::Away { reason }, endpoint.url());
            sleep(backoff.next()).await;
        }
    }
}

/// Follows one endpoint until it fails or another one is chosen.
async fn follow(rpc: &Rpc, endpoint: &Arc<Endpoint>, heads: &Heads, poll: Poll) -> RequestError {
    let publish = |head: Head| {
        let changed = heads.newest.send_if_modified(|newest| {
            let changed = newest
                .as_ref()
                .is_none_or(|seen| seen.head != head || !Arc::ptr_eq(&seen.endpoint, endpoint));
            if changed {
                *newest = Some(Seen {
                    head,
                    endpoint: Arc::clone(endpoint),
                });
            }
            changed
        });
        if changed {
            rpc.set_head(head);
        }
        changed
    };
    let mut subscription = None;
    if endpoint.announces_blocks() {
        match endpoint.subscribe().await {
            Ok(announcements) => subscription = Some(announcements),
            // A node without subscriptions is polled.
            Err(RequestError::Answer { .. }) => {}
            Err(error) => return error,
        }
    }
    match endpoint.latest().await {
        Ok(head) => publish(head),
        Err(error) => return error,
    };
    if let Err(error) = check_step(rpc, endpoint).await {
        return error;
    }
    let announced = subscription.is_some();
    let mut interval = poll.min;
    let mut look_at = Instant::now() + interval;
    let mut step_at = Instant::now() + STEP_CHECK;
    loop {
        tokio::select! {
            head = next_announced(&mut subscription) => match head {
                Ok(head) => { publish(head); }
                Err(error) => return error,
            },
            () = heads.hurry.notified() => {
                interval = poll.min;
                if !announced {
                    look_at = look_at.min(Instant::now() + interval);
                }
            }
            () = sleep_until(look_at) => {
                match endpoint.latest().await {
                    Ok(head) => if publish(head) { interval = poll.min; },
                    Err(error) => return error,
                }
                interval = match () {
                    () if announced => poll.idle,
                    () if heads.urgent.load(Ordering::Relaxed) > 0 => (interval * 2).min(poll.max),
                    () if heads.listening.load(Ordering::Relaxed) > 0 => poll.max,
                    () => poll.idle,
                };
                look_at = Instant::now() + interval;
            }
            () = sleep_until(step_at) => {
                if let Err(error) = check_step(rpc, endpoint).await {
                    return error;
                }
                step_at = Instant::now() + STEP_CHECK;
            }
        }
        if !Arc::ptr_eq(endpoint, &rpc.current()) {
            return RequestError::Link("another endpoint was chosen".into());
        }
    }
}

async fn next_announced(subscription: &mut Option<Subscription<Head>>) -> Result<Head, RequestError> {
    use tokio::sync::broadcast::error::RecvError;
    let Some(subscription) = subscription else {
        return std::future::pending().await;
    };
    loop {
        match subscription.recv().await {
            Ok(head) => return Ok(head),
            // The newest is what counts.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Err(RequestError::Link("the connection was closed".into())),
        }
    }
}

/// Asks whether the node is catching up, and the other nodes whether they are ahead of it.
async fn check_step(rpc: &Rpc, endpoint: &Arc<Endpoint>) -> Result<(), RequestError> {
    let syncing = match endpoint.request::<_, serde_json::Value>("eth_syncing", ()).await {
        Ok(serde_json::Value::Bool(false)) | Err(RequestError::Answer { .. } | RequestError::Form(_)) => false,
        Ok(_) => true,
        Err(error) => return Err(error),
    };
    let others = rpc.endpoints().iter().filter(|other| !Arc::ptr_eq(other, endpoint));
    let heights = futures::future::join_all(others.map(|other| async {
        // A slow one must not hold up the one that works.
        let asked = other.request::<_, U64>("eth_blockNumber", ());
        timeout(Duration::from_secs(1), asked)
            .await
            .ok()?
            .ok()
            .map(|height| height.to::<u64>())
    }))
    .await;
    let best = heights.into_iter().flatten().max();
    let own: U64 = endpoint.request("eth_blockNumber", ()).await?;
    let lag = best.map_or(0, |best| best.saturating_sub(own.to()));
    if lag >= FAR_BEHIND {
        rpc.set_link(Link::Behind { blocks: Some(lag) }, endpoint.url());
        return Err(RequestError::Link(format!(
            "it is {lag} blocks behind another endpoint"
        )));
    }
    let link = if syncing {
        Link::Behind { blocks: None }
    } else {
        Link::Connected
    };
    rpc.set_link(link, endpoint.url());
    Ok(())
}
