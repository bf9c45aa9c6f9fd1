//! Webhooks that survive: subscriptions and what is still to be delivered lie in the store, an event enters the queue
//! in the same transaction that moves the position in the event stream, and a delivery leaves it when the receiver
//! answered 2xx or after [`GIVE_UP_AFTER_MS`]. A receiver sees each event at least once; `id` tells repetitions. An event that
//! comes again because the chain replaced its block is not queued again, see [`crate::told`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::clock::now_ms;
use crate::store::{Store, StoreError};

/// A receiver that is away longer than this loses the event (ms): one day.
pub const GIVE_UP_AFTER_MS: u64 = 24 * 60 * 60 * 1000;
/// While this many deliveries wait for one subscription, further events are not queued for it, and that is logged.
pub const MOST_WAITING: usize = 10_000;
/// Subscriptions at most.
pub const MOST_SUBSCRIPTIONS: usize = 100;

const TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_RETRY_MS: u64 = 500;
const SLOWEST_RETRY_MS: u64 = 60_000;

/// Someone who wants to hear of ledger events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// Given at creation.
    #[serde(rename = "subscription_id")]
    pub id: Uuid,
    /// Name of a contract event, or `*` for all.
    pub event_name: String,
    /// Where events are posted.
    pub callback_url: String,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Events given up because the receiver was away too long.
    #[serde(default)]
    pub lost: u64,
}

impl Subscription {
    /// Whether it asks for events of this name.
    pub fn wants(&self, event: &str) -> bool {
        self.event_name == "*" || self.event_name == event
    }
}

/// An event as it is posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notification {
    /// Names the event: the same in every repetition and for every subscription, and no other event's.
    #[serde(default)]
    pub id: String,
    /// The subscription it is for.
    pub subscription_id: Uuid,
    /// Name of the contract event.
    pub event: String,
    /// Transaction that caused it.
    pub tx_hash: String,
    /// Block that holds the transaction.
    pub block_number: u64,
    /// The event's fields.
    pub args: serde_json::Value,
    /// Position in the event stream, `block.index`.
    pub delivery: String,
}

/// A notification that is still to be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What to post.
    pub notification: Notification,
    /// Where.
    pub callback_url: String,
    /// Position of the event, for the order of deliveries.
    pub position: (u64, u64),
    /// Unix milliseconds.
    pub created_ms: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// Not before this Unix time in milliseconds.
    pub next_ms: u64,
}

impl Delivery {
    /// Sorts by event, then by subscription. After blocks were replaced, two events can have had one position.
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(96);
        key.extend(self.position.0.to_be_bytes());
        key.extend(self.position.1.to_be_bytes());
        key.extend(self.notification.id.as_bytes());
        key.extend(self.notification.subscription_id.as_bytes());
        key
    }

    /// The delivery after a failed try, or nothing if it is to be given up.
    fn after_failure(mut self, now_ms: u64) -> Option<Self> {
        if now_ms.saturating_sub(self.created_ms) > GIVE_UP_AFTER_MS {
            return None;
        }
        let wait = FIRST_RETRY_MS
            .saturating_mul(1 << self.attempts.min(16))
            .min(SLOWEST_RETRY_MS);
        self.attempts += 1;
        self.next_ms = now_ms + wait;
        Some(self)
    }
}

/// Delivers until stopped. `wake` tells that the queue has grown.
pub async fn deliver(store: Store, client: reqwest::Client, wake: &tokio::sync::Notify, stop: &CancellationToken) {
    loop {
        let next = match deliver_due(&store, &client).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "webhooks wait for the store");
                Some(now_ms() + SLOWEST_RETRY_MS)
            }
        };
        let pause = next.map_or(Duration::from_secs(3600), |at| {
            Duration::from_millis(at.saturating_sub(now_ms()).max(1))
        });
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tries what is due, each subscription's events in order; returns when the next try is due.
async fn deliver_due(store: &Store, client: &reqwest::Client) -> Result<Option<u64>, StoreError> {
    let mut held_back = std::collections::BTreeSet::new();
    let mut next_due: Option<u64> = None;
    for delivery in store.deliveries()? {
        let subscription = delivery.notification.subscription_id;
        if held_back.contains(&subscription) {
            continue;
        }
        if delivery.next_ms > now_ms() {
            held_back.insert(subscription);
            next_due = Some(next_due.map_or(delivery.next_ms, |due| due.min(delivery.next_ms)));
            continue;
        }
        let answer = client
            .post(&delivery.callback_url)
            .json(&delivery.notification)
            .timeout(TIMEOUT)
            .send()
            .await;
        let failure = match answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("answered {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        let Some(failure) = failure else {
            store.commit(move |batch| batch.remove_delivery(&delivery)).await?;
            continue;
        };
        tracing::warn!(
            url = delivery.callback_url,
            attempts = delivery.attempts + 1,
            failure,
            "webhook not delivered"
        );
        match delivery.clone().after_failure(now_ms()) {
            Some(later) => {
                held_back.insert(subscription);
                next_due = Some(next_due.map_or(later.next_ms, |due| due.min(later.next_ms)));
                store.commit(move |batch| batch.put_delivery(&later)).await?;
            }
            None => give_up(store, delivery).await?,
        }
    }
    Ok(next_due)
}

async fn give_up(store: &Store, delivery: Delivery) -> Result<(), StoreError> {
    let subscription = store
        .subscriptions()?
        .into_iter()
        .find(|it| it.id == delivery.notification.subscription_id);
    store
        .commit(move |batch| {
            batch.remove_delivery(&delivery)?;
            if let Some(mut subscription) = subscription {
                subscription.lost += 1;
                batch.put_subscription(&subscription)?;
            }
            Ok(())
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        let notification = Notification {
            id: String::new(),
            subscription_id: Uuid::nil(),
            event: "Announced".into(),
            tx_hash: "0x00".into(),
            block_number: 1,
            args: serde_json::json!({}),
            delivery: "1.0".into(),
        };
        let callback_url = "http://192.0.2.1/".into();
        Delivery {
            notification,
            callback_url,
            position: (1, 0),
            created_ms: 0,
            attempts: 0,
            next_ms: 0,
        }
    }

    #[test]
    fn retries_slow_down_to_a_minute_and_end_after_a_day() {
        let (mut current, mut now, mut tries) = (Some(delivery()), 0, 0);
        let mut longest = 0;
        while let Some(due) = current {
            tries += 1;
            current = due.after_failure(now);
            if let Some(next) = &current {
                longest = longest.max(next.next_ms - now);
                now = next.next_ms;
            }
        }
        assert_eq!(longest, SLOWEST_RETRY_MS);
        assert!(now > GIVE_UP_AFTER_MS && now <= GIVE_UP_AFTER_MS + SLOWEST_RETRY_MS);
        assert!(tries > 1_000, "{tries}");
    }
}
