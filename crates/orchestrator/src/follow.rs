//! Following the ledger: what an event means for this domain is written together with the position in the stream, so that
//! no event is missed and none takes effect twice.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hanse_agreement::policy::{NoBid, Offer, Reservations, decide};
use hanse_agreement::{Account, Agreement, AgreementId, Effect};
use hanse_ledger::{Cursor, LedgerError};
use tokio::time::sleep;

use crate::clock::now_ms;
use crate::error::StepError;
use crate::events::{Happening, Told};
use crate::model::{ManifestCopy, ProviderRecord, Step, Timeline, Want};
use crate::service::Shared;
use crate::store::Batch;
use crate::told::Mark;
use crate::webhooks::{Delivery, MOST_WAITING, Notification, Subscription};

const CURSOR: &str = "cursor";
const RETRY: Duration = Duration::from_millis(500);

impl Shared {
    pub(crate) async fn follow_ledger(self: &Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                result = self.follow_until_it_breaks() => if let Err(error) = result {
                    tracing::warn!(%error, "following the ledger failed; starting again from the stored position");
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn follow_until_it_breaks(self: &Arc<Self>) -> Result<(), StepError> {
        let cursor: Cursor = self.store.setting(CURSOR)?.unwrap_or(Cursor::START);
        let mut events = self.ledger.events(cursor);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take_in(event).await?,
                Err(LedgerError::Reorganised { from, .. }) => self.go_back_to(from).await?,
                // Starting again would not bring back what the node has not kept.
                Err(error @ LedgerError::HistoryPruned { .. }) => tracing::error!(%error, "events are missing"),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The chain replaced this block and what follows. What was done about the events in them is not undone at once, since
    /// they come again as a rule: every agreement is looked at anew, and the plans say what follows from what the ledger
    /// shows now.
    async fn go_back_to(&self, block: u64) -> Result<(), StepError> {
        tracing::warn!(
            block,
            "the chain replaced blocks that counted as final; going back to where they begin. Raise ledger.confirmations"
        );
        self.store
            .commit(move |batch| {
                batch.undo_told(block)?;
                batch.put_setting(CURSOR, &Cursor::before_block(block))
            })
            .await?;
        self.wake_all();
        Ok(())
    }

    async fn take_in(self: &Arc<Self>, event: Told) -> Result<(), StepError> {
        let id = event.what.agreement;
        let new_record = match &event.what.effect {
            Some(Effect::Announced { id, creator, .. }) if *creator != self.me() => {
                self.consider(*id, *creator).await?
            }
            Some(Effect::Awarded { id, provider, .. }) if *provider == self.me() => self.reconsider(*id)?,
            _ => None,
        };
        let drive = new_record.is_some();
        let deliveries = self.deliveries_of(&event)?;
        let notify = !deliveries.is_empty();
        let mark = Mark {
            block: event.cursor.block,
            agreement: id.map(|id| id.0),
            digest: event.digest,
        };
        let (cursor, what, me) = (event.cursor, event.what, self.me());
        self.store
            .commit(move |batch| {
                if let Some(record) = &new_record {
                    batch.put_provider(record)?;
                }
                keep_what_only_the_event_tells(batch, &what, me)?;
                if notify && let Some(id) = batch.tell(&mark)? {
                    for mut delivery in deliveries {
                        delivery.notification.id.clone_from(&id);
                        batch.put_delivery(&delivery)?;
                    }
                }
                batch.put_setting(CURSOR, &cursor)
            })
            .await?;
        if notify {
            self.webhooks.notify_one();
        }
        if let Some(id) = id {
            if drive {
                self.drive(id);
            }
            self.changed(id);
        }
        Ok(())
    }

    /// A bid for a new announcement, if this domain bids and has room.
    async fn consider(&self, id: AgreementId, creator: Account) -> Result<Option<ProviderRecord>, StepError> {
        let bidding = self.bidding()?;
        // Announced again after it was undone: what was given up meanwhile is open again, unless its owner gave it up.
        let known = self.store.provider(id)?;
        if !bidding.enabled || known.is_some_and(|record| !record.is_lost()) {
            return Ok(None);
        }
        let Some(agreement) = self.ledger.agreement(id).await? else {
            return Ok(None);
        };
        match self.offer_for(&agreement)? {
            Ok(offer) => {
                let mut record = provider_record(&agreement, creator, offer);
                record.timeline.mark(Step::AnnounceReceived, now_ms());
                Ok(Some(record))
            }
            Err(reason) => {
                tracing::info!(agreement = %id, %reason, "no bid");
                Ok(None)
            }
        }
    }

    /// An award that was to another domain was undone with its block, and now it is to this one.
    fn reconsider(&self, id: AgreementId) -> Result<Option<ProviderRecord>, StepError> {
        let lost = self.store.provider(id)?.filter(ProviderRecord::is_lost);
        Ok(lost.map(|record| ProviderRecord {
            deploying: false,
            torn_down: false,
            sealed_endpoint: None,
            manifest: ManifestCopy::default(),
            outcome: None,
            ..record
        }))
    }

    /// What this domain can offer beside all that it has already promised.
    pub(crate) fn offer_for(&self, agreement: &Agreement) -> Result<Result<Offer, NoBid>, StepError> {
        let bidding = self.bidding()?;
        let mut reservations = Reservations::new(bidding.capacity);
        for record in self.store.providers()?.iter().filter(|record| record.outcome.is_none()) {
            reservations.reserve(record.id, &record.requirements);
        }
        Ok(decide(
            &bidding.provider(self.me()),
            &mut reservations,
            agreement,
            now_ms() / 1000,
        ))
    }

    fn deliveries_of(&self, event: &Told) -> Result<Vec<Delivery>, StepError> {
        let name = event.what.name;
        let subscriptions = self.store.subscriptions()?;
        if subscriptions.is_empty() {
            return Ok(Vec::new());
        }
        let waiting = self.store.deliveries()?;
        let crowded = |subscription: &Subscription| {
            waiting
                .iter()
                .filter(|it| it.notification.subscription_id == subscription.id)
                .count()
                >= MOST_WAITING
        };
        let (crowded, wanted): (Vec<_>, Vec<_>) = subscriptions
            .into_iter()
            .filter(|subscription| subscription.wants(name))
            .partition(crowded);
        for subscription in crowded {
            tracing::warn!(
                url = subscription.callback_url,
                event = name,
                "too many events wait for a webhook; this one is lost"
            );
        }
        Ok(wanted
            .into_iter()
            .map(|subscription| Delivery {
                notification: Notification {
                    // Given when it is known whether it is told.
                    id: String::new(),
                    subscription_id: subscription.id,
                    event: name.to_owned(),
                    tx_hash: event.tx.clone(),
                    block_number: event.cursor.block,
                    args: event.what.fields.clone(),
                    delivery: format!("{}.{}", event.cursor.block, event.cursor.log_index),
                },
                callback_url: subscription.callback_url,
                position: (event.cursor.block, event.cursor.log_index),
                created_ms: now_ms(),
                attempts: 0,
                next_ms: 0,
            })
            .collect())
    }
}

/// The record of a bid that is about to be placed.
pub(crate) fn provider_record(agreement: &Agreement, creator: Account, offer: Offer) -> ProviderRecord {
    ProviderRecord {
        id: agreement.announcement.id,
        creator,
        requirements: agreement.announcement.requirements,
        manifest_hash: agreement.announcement.manifest_hash,
        manifest: ManifestCopy::default(),
        offer: offer.terms,
        price_per_hour: offer.price_per_hour,
        bid_round: 0,
        bid_placed: false,
        sealed_parameters: None,
        want: Want::Run,
        sealed_endpoint: None,
        failed: None,
        deploying: false,
        leaving: false,
        torn_down: false,
        missing_since_ms: None,
        timeline: Timeline::default(),
        outcome: None,
    }
}

/// Sealed messages travel in events only, not in the ledger's state.
fn keep_what_only_the_event_tells(
    batch: &mut Batch,
    event: &Happening,
    me: Account,
) -> Result<(), crate::store::StoreError> {
    match &event.effect {
        Some(Effect::Awarded {
            id,
            provider,
            sealed_parameters,
            ..
        }) if *provider == me => {
            let sealed = sealed_parameters.clone();
            batch.update_provider(*id, |record| {
                record.sealed_parameters = Some(sealed);
                record.timeline.mark(Step::WinnerReceived, now_ms());
            })
        }
        Some(Effect::Deployed {
            id, sealed_endpoint, ..
        }) => {
            let sealed = sealed_endpoint.clone();
            batch.update_consumer(*id, |record| record.sealed_endpoint = Some(sealed))
        }
        _ => Ok(()),
    }
}
