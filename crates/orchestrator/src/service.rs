//! Wiring: one task follows the ledger, one task drives each live agreement, one delivers webhooks. This is the only room
//! that knows all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hanse_agreement::{Account, AgreementId, State};
use hanse_cluster::Cluster;
use hanse_metrics::Registry;
use hanse_swarm::Swarm;
use hanse_swarm::model::Party;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::now_ms;
use crate::config::{Bidding, OrchestratorConfig};
use crate::error::StepError;
use crate::federation::{Federation, Member};
use crate::manifests::Manifests;
use crate::model::{ConsumerRecord, LocalService, Outcome, ProviderRecord};
use crate::plan::{self, Next};
use crate::sealing::SealingKey;
use crate::store::{Store, StoreError};

/// Name of the setting that says how this domain bids.
pub(crate) const BIDDING: &str = "bidding";
const FIRST_RETRY: Duration = Duration::from_millis(100);
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// Everything that the tasks and the API share.
pub struct Shared {
    pub(crate) config: OrchestratorConfig,
    pub(crate) ledger: Federation,
    pub(crate) cluster: Cluster,
    pub(crate) store: Store,
    pub(crate) swarm: Arc<Swarm>,
    pub(crate) manifests: Manifests,
    /// What the swarm is told of this domain.
    pub(crate) party: watch::Sender<Party>,
    pub(crate) sealing: SealingKey,
    pub(crate) http: reqwest::Client,
    pub(crate) webhooks: Notify,
    pub(crate) services_changed: Notify,
    /// Counts changes of records; the API waits on it.
    pub(crate) changes: watch::Sender<u64>,
    /// Held while a request with an idempotency key is looked up and written.
    pub(crate) idempotency: tokio::sync::Mutex<()>,
    wakers: Mutex<HashMap<AgreementId, Arc<Notify>>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// A running orchestrator. Dropping the handle does not stop it; [`Orchestrator::shutdown`] does.
#[derive(Clone)]
pub struct Orchestrator {
    pub(crate) shared: Arc<Shared>,
}

impl Orchestrator {
    /// Resumes every agreement found in the store and starts to follow the ledger.
    pub async fn start(
        config: OrchestratorConfig,
        ledger: Federation,
        cluster: Cluster,
        store: Store,
        swarm: Arc<Swarm>,
        sealing: SealingKey,
        http: reqwest::Client,
    ) -> Result<Self, StepError> {
        let bidding: Option<Bidding> = store.setting(BIDDING)?;
        let party = bidding.as_ref().unwrap_or(&config.bidding).party(ledger.account());
        let shared = Arc::new(Shared {
            config,
            ledger,
            cluster,
            store,
            manifests: Manifests::new(swarm.clone()),
            swarm,
            party: watch::Sender::new(party),
            sealing,
            http,
            webhooks: Notify::new(),
            services_changed: Notify::new(),
            changes: watch::Sender::new(0),
            idempotency: tokio::sync::Mutex::new(()),
            wakers: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        for hash in shared.needed_manifests()? {
            shared.manifests.offer(&hash).await?;
        }
        for record in shared.store.consumers()? {
            shared.drive(record.id());
        }
        for record in shared.store.providers()? {
            shared.drive(record.id);
        }
        let follower = Arc::clone(&shared);
        shared.tasks.spawn(async move { follower.follow_ledger().await });
        let deliverer = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            let d = &deliverer;
            crate::webhooks::deliver(d.store.clone(), d.http.clone(), &d.webhooks, &d.stop).await;
        });
        let looker = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            let stop = looker.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = looker.follow_swarm() => {}
            }
        });
        let keeper = Arc::clone(&shared);
        shared.tasks.spawn(async move { keeper.keep_services().await });
        Ok(Self { shared })
    }

    /// Puts the orchestrator's figures into a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        hanse_metrics::register(registry, crate::metrics::OrchestratorReading::of(&self.shared));
    }

    /// What this domain says of itself as a party of agreements, as its bidding is configured now.
    pub fn party(&self) -> watch::Receiver<Party> {
        self.shared.party.subscribe()
    }

    /// Stops all tasks; what they were doing is resumed at the next start.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if timeout(Duration::from_secs(10), self.shared.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some tasks did not stop within 10 s; they are abandoned and resume at the next start");
        }
        self.shared.ledger.shutdown().await;
    }
}

impl Shared {
    /// This domain's ledger account.
    pub(crate) fn me(&self) -> Account {
        self.ledger.account()
    }

    /// What the Consortium contract says of a member.
    pub(crate) async fn member(&self, account: Account) -> Result<Member, StepError> {
        let member = self.ledger.member(account).await?;
        member.ok_or_else(|| StepError::Unusable(format!("{account} is not a member of the consortium")))
    }

    /// How this domain bids now.
    pub(crate) fn bidding(&self) -> Result<Bidding, StoreError> {
        Ok(self
            .store
            .setting(BIDDING)?
            .unwrap_or_else(|| self.config.bidding.clone()))
    }

    pub(crate) fn local_service(&self, name: &str) -> Result<LocalService, StepError> {
        let service = self.store.service(name)?;
        service.ok_or_else(|| StepError::Unusable(format!("this domain has no service named {name}")))
    }

    /// Records of agreements about one of the own services that are not over.
    pub(crate) fn live_consumers_of(&self, service: &str) -> Result<Vec<ConsumerRecord>, StoreError> {
        let mut records = self.store.consumers()?;
        records.retain(|record| record.service == service && record.outcome.is_none());
        Ok(records)
    }

    pub(crate) async fn update_consumer(
        &self,
        id: AgreementId,
        change: impl FnOnce(&mut ConsumerRecord) + Send + 'static,
    ) -> Result<(), StepError> {
        self.store
            .commit(move |batch| batch.update_consumer(id, change))
            .await?;
        self.changed(id);
        Ok(())
    }

    pub(crate) async fn update_provider(
        &self,
        id: AgreementId,
        change: impl FnOnce(&mut ProviderRecord) + Send + 'static,
    ) -> Result<(), StepError> {
        self.store
            .commit(move |batch| batch.update_provider(id, change))
            .await?;
        self.changed(id);
        Ok(())
    }

    /// Notes the end and, if the owner asked for it, announces anew.
    pub(crate) async fn finish_consumer(&self, id: AgreementId, outcome: Outcome) -> Result<(), StepError> {
        let Some(record) = self.store.consumer(id)? else {
            return Ok(());
        };
        let successor = crate::request::successor(&record, &outcome, now_ms());
        let next = successor.as_ref().map(ConsumerRecord::id);
        if successor.is_none() {
            self.release_manifest(id, &record.announcement.manifest_hash).await?;
        }
        self.store
            .commit(move |batch| {
                batch.update_consumer(id, |record| {
                    record.outcome = Some(outcome);
                    record.next = next;
                })?;
                successor.map_or(Ok(()), |successor| batch.put_consumer(&successor))
            })
            .await?;
        self.changed(id);
        Ok(())
    }

    /// What the Federation contract holds for this domain is fetched as soon as there is something.
    pub(crate) async fn collect_what_is_owed(&self) -> Result<(), StepError> {
        Ok(self.ledger.collect().await?)
    }

    /// Tells everyone who waits that a record changed.
    pub(crate) fn changed(&self, id: AgreementId) {
        self.changes.send_modify(|count| *count += 1);
        self.wake(id);
    }

    /// Makes the task of an agreement look again.
    pub(crate) fn wake(&self, id: AgreementId) {
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = wakers.get(&id) {
            waker.notify_one();
        }
    }

    /// Makes the tasks of all agreements look again.
    pub(crate) fn wake_all(&self) {
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        for waker in wakers.values() {
            waker.notify_one();
        }
    }

    /// Starts the task of an agreement unless it runs.
    pub(crate) fn drive(self: &Arc<Self>, id: AgreementId) {
        let waker = {
            let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            if wakers.contains_key(&id) {
                return;
            }
            let waker = Arc::new(Notify::new());
            wakers.insert(id, Arc::clone(&waker));
            waker
        };
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = shared.stop.cancelled() => {}
                () = shared.drive_to_the_end(id, &waker) => {}
            }
            shared.wakers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            // A successor may have been written with the end.
            if let Ok(Some(ConsumerRecord { next: Some(next), .. })) = shared.store.consumer(id) {
                shared.drive(next);
            }
        });
    }

    async fn drive_to_the_end(&self, id: AgreementId, waker: &Notify) {
        let mut retry = FIRST_RETRY;
        loop {
            match self.advance(id).await {
                Ok(Next::Do(())) => retry = FIRST_RETRY,
                Ok(Next::Done) => return,
                Ok(Next::Wait) => waker.notified().await,
                Ok(Next::WaitUntil(at_ms)) => {
                    let pause = Duration::from_millis(at_ms.saturating_sub(now_ms()));
                    let _ = timeout(pause, waker.notified()).await;
                }
                Err(error) => {
                    tracing::warn!(agreement = %id, %error, retry_ms = retry.as_millis(), "a step failed and is tried again");
                    // Not cut short by news: a step that fails at once must not spin.
                    sleep(retry).await;
                    retry = (retry * 2).min(SLOWEST_RETRY);
                }
            }
        }
    }

    /// Asks the plan of this domain's role and does what it says.
    async fn advance(&self, id: AgreementId) -> Result<Next<()>, StepError> {
        if let Some(mut record) = self.store.consumer(id)? {
            if record.outcome.is_some() {
                return Ok(Next::Done);
            }
            let (agreement, mut bids) = self.ledger.details(id).await?;
            if agreement
                .as_ref()
                .is_some_and(|agreement| agreement.state == State::Open)
                && !bids.is_empty()
            {
                let members = self.ledger.members().await?;
                bids.retain(|bid| members.iter().any(|member| member.account == bid.bidder));
                record = self.with_newly_qualified(record, &bids, &members).await?;
            }
            let next = plan::consumer::next(&record, agreement.as_ref(), &bids, now_ms());
            return match next {
                Next::Do(action) => {
                    tracing::debug!(agreement = %id, role = "consumer", ?action, "next");
                    self.act_as_consumer(&record, agreement.as_ref(), action)
                        .await
                        .map(Next::Do)
                }
                other => Ok(without_action(&other)),
            };
        }
        let Some(mut record) = self.store.provider(id)? else {
            return Ok(Next::Done);
        };
        if record.outcome.is_some() {
            return Ok(Next::Done);
        }
        let (agreement, bids) = self.ledger.details(id).await?;
        if agreement.is_none() != record.missing_since_ms.is_some() {
            record.missing_since_ms = agreement.is_none().then(now_ms);
            let since = record.missing_since_ms;
            self.store
                .commit(move |batch| batch.update_provider(id, |record| record.missing_since_ms = since))
                .await?;
        }
        match plan::provider::next(&record, agreement.as_ref(), &bids, self.me(), now_ms()) {
            Next::Do(action) => {
                tracing::debug!(agreement = %id, role = "provider", ?action, "next");
                self.act_as_provider(&record, agreement.as_ref(), action)
                    .await
                    .map(Next::Do)
            }
            other => Ok(without_action(&other)),
        }
    }
}

fn without_action<Action>(next: &Next<Action>) -> Next<()> {
    match next {
        Next::Do(_) => Next::Do(()),
        Next::WaitUntil(at) => Next::WaitUntil(*at),
        Next::Wait => Next::Wait,
        Next::Done => Next::Done,
    }
}
