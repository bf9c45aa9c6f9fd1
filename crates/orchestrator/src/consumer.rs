//! The consumer's side: carries out what [`crate::plan::consumer`] names.

use hanse_agreement::{Account, Agreement, Bid};

use crate::clock::now_ms;
use crate::error::StepError;
use crate::model::{Award, ConsumerRecord, LocalService, Parameters, Stage, Step, WorkSeen};
use crate::plan::consumer::Action;
use crate::provider::shortened;
use crate::service::Shared;
use crate::{parts, probe, sealing};

impl Shared {
    pub(crate) async fn act_as_consumer(
        &self,
        record: &ConsumerRecord,
        agreement: Option<&Agreement>,
        action: Action,
    ) -> Result<(), StepError> {
        let id = record.id();
        match action {
            Action::Announce => {
                self.ledger.announce(&record.announcement).await?;
                self.update_consumer(id, |record| record.timeline.mark(Step::ServiceAnnounced, now_ms()))
                    .await
            }
            Action::Choose(bid) => self.choose(record, bid).await,
            Action::Cancel(reason) => Ok(self.ledger.cancel(id, &shortened(&reason)).await.map(drop)?),
            Action::Expire => Ok(self.ledger.expire(id).await.map(drop)?),
            Action::OpenEndpoint => self.open_endpoint(record).await,
            Action::HandOver => self.hand_over(record, agreement).await,
            Action::Confirm => Ok(self.ledger.confirm(id).await.map(drop)?),
            Action::Complete => self.complete(record).await,
            Action::Restore => self.restore(record).await,
            Action::Terminate => Ok(self.ledger.terminate(id).await.map(drop)?),
            Action::Finish(outcome) => {
                self.collect_what_is_owed().await?;
                tracing::info!(agreement = %id, ?outcome, role = "consumer", "agreement over");
                self.finish_consumer(id, outcome).await
            }
        }
    }

    async fn choose(&self, record: &ConsumerRecord, bid: Bid) -> Result<(), StepError> {
        let id = record.id();
        self.update_consumer(id, |record| record.timeline.mark(Step::BidOfferReceived, now_ms()))
            .await?;
        let award = match &record.award {
            Some(award) if award.bid == bid => award.clone(),
            _ => {
                let winner = self.member(bid.bidder).await?;
                let parameters = self.parameters_for(record).await?;
                let sealed_parameters = sealing::seal(&winner.sealing_key, &parameters);
                let award = Award { bid, sealed_parameters };
                let kept = award.clone();
                self.update_consumer(id, |record| {
                    record.award = Some(kept);
                    // What an award that was undone had brought is another provider's.
                    record.sealed_endpoint = None;
                    record.endpoint = None;
                })
                .await?;
                award
            }
        };
        self.ledger
            .choose(id, &award.bid, record.hours_paid, &award.sealed_parameters)
            .await?;
        self.update_consumer(id, |record| record.timeline.mark(Step::WinnerChoosen, now_ms()))
            .await
    }

    /// The addresses of what stays here and is needed there, and what the Secrets hold that go there.
    async fn parameters_for(&self, record: &ConsumerRecord) -> Result<Parameters, StepError> {
        let service = self.local_service(&record.service)?;
        let all = parts::parse(&service.manifest)?;
        let moved = parts::moved(
            &service,
            &all,
            record.scenario,
            record.announcement.requirements.replicas,
        )?;
        let (_, secrets) = moved.without_secret_values();
        let addresses = self.addresses_from_outside(&service, &moved).await?;
        Ok(Parameters { secrets, ..addresses })
    }

    async fn open_endpoint(&self, record: &ConsumerRecord) -> Result<(), StepError> {
        let Some(sealed) = &record.sealed_endpoint else {
            return Ok(());
        };
        match self.sealing.unseal(sealed) {
            Ok(endpoint) => {
                self.update_consumer(record.id(), |record| {
                    record.endpoint = Some(endpoint);
                    record.timeline.mark(Step::ConfirmDeploymentReceived, now_ms());
                })
                .await
            }
            Err(error) => {
                let reason = format!("the provider's endpoint can't be read: {error}");
                self.update_consumer(record.id(), |record| record.check_failed = Some(reason))
                    .await
            }
        }
    }

    /// Make before break: the provider gets traffic, and is seen to work, before anything of one's own goes.
    async fn hand_over(&self, record: &ConsumerRecord, agreement: Option<&Agreement>) -> Result<(), StepError> {
        let id = record.id();
        let Some(provider) = agreement.and_then(|agreement| agreement.provider) else {
            return Ok(());
        };
        self.update_consumer(id, |record| {
            record.stage = Stage::HandedOver;
            record
                .timeline
                .mark(Step::CheckConnectivityFederatedServiceStart, now_ms());
        })
        .await?;
        let service = self.local_service(&record.service)?;
        self.point_traffic(&service, None).await?;
        match self.see_it_work(record, &service, provider).await? {
            Ok(work) => {
                self.update_consumer(id, move |record| {
                    record.stage = Stage::Verified;
                    record.work = work;
                    record
                        .timeline
                        .mark(Step::CheckConnectivityFederatedServiceFinished, now_ms());
                })
                .await
            }
            Err(reason) => {
                tracing::warn!(agreement = %id, reason, "the federated service does not work; taking it back");
                self.update_consumer(id, |record| record.check_failed = Some(reason))
                    .await
            }
        }
    }

    async fn see_it_work(
        &self,
        record: &ConsumerRecord,
        service: &LocalService,
        provider: Account,
    ) -> Result<Result<Option<WorkSeen>, String>, StepError> {
        let Some(endpoint) = &record.endpoint else {
            return Ok(Err("no endpoint was given".into()));
        };
        let within = self.config.check_timeout;
        let Some(probe) = &service.definition.probe else {
            return Ok(probe::connect(endpoint, within).await.map(|()| None));
        };
        let host = match endpoint.services.get(&probe.service) {
            Some(address) => address.host.clone(),
            None => self.own_host(service, &probe.service).await?,
        };
        let domain = self.member(provider).await?.name;
        Ok(probe::watch_work(&self.http, probe, &host, &domain, within)
            .await
            .map(Some))
    }

    async fn complete(&self, record: &ConsumerRecord) -> Result<(), StepError> {
        self.update_consumer(record.id(), |record| record.stage = Stage::Releasing)
            .await?;
        self.settle_own_share(&record.service).await?;
        self.update_consumer(record.id(), |record| record.stage = Stage::Completed)
            .await
    }

    /// Own parts first, then traffic: there is never a moment without a working component.
    async fn restore(&self, record: &ConsumerRecord) -> Result<(), StepError> {
        let id = record.id();
        self.update_consumer(id, |record| record.stage = Stage::Returning)
            .await?;
        self.settle_own_share(&record.service).await?;
        let service = self.local_service(&record.service)?;
        if service.wanted {
            self.point_traffic(&service, Some(id)).await?;
        }
        self.update_consumer(id, |record| record.stage = Stage::Restored).await
    }
}
