//! The provider's side: carries out what [`crate::plan::provider`] names.

use std::collections::BTreeMap;
use std::time::Duration;

use hanse_agreement::{Agreement, AgreementId, State};
use hanse_cluster::Owner;

use crate::clock::now_ms;
use crate::deploy::{DeployError, Place};
use crate::error::StepError;
use crate::model::{Parameters, ProviderRecord, Step};
use crate::plan::provider::Action;
use crate::service::Shared;
use crate::{manifests, parts, sealing};

impl Shared {
    pub(crate) async fn act_as_provider(
        &self,
        record: &ProviderRecord,
        agreement: Option<&Agreement>,
        action: Action,
    ) -> Result<(), StepError> {
        let id = record.id;
        match action {
            Action::PlaceBid => {
                self.ledger.place_bid(record, &self.bidding()?.location).await?;
                let round = record.bid_round;
                self.update_provider(id, move |record| {
                    record.bid_placed = record.bid_round == round;
                    record.timeline.mark(Step::BidOfferSent, now_ms());
                })
                .await
            }
            Action::Deploy => self.deploy_for(record, agreement).await,
            Action::ReportDeployed => {
                let Some(sealed) = &record.sealed_endpoint else {
                    return Ok(());
                };
                self.ledger.deployed(id, sealed).await?;
                self.update_provider(id, |record| record.timeline.mark(Step::ConfirmDeploymentSent, now_ms()))
                    .await
            }
            Action::Decline(reason) => {
                let in_use = agreement.is_some_and(|agreement| agreement.state == State::Deployed);
                self.update_provider(id, move |record| record.leaving = in_use).await?;
                Ok(self.ledger.decline(id, &shortened(&reason)).await?)
            }
            Action::Expire => Ok(self.ledger.expire(id).await.map(drop)?),
            Action::Settle => Ok(self.ledger.settle(id).await.map(drop)?),
            Action::Terminate => {
                self.update_provider(id, |record| record.leaving = true).await?;
                Ok(self.ledger.terminate(id).await?)
            }
            Action::TearDown => {
                self.cluster.delete_namespace(&record.namespace(), TEAR_DOWN).await?;
                self.update_provider(id, |record| record.torn_down = true).await
            }
            Action::Finish(outcome) => {
                self.collect_what_is_owed().await?;
                tracing::info!(agreement = %id, ?outcome, role = "provider", "agreement over");
                self.update_provider(id, |record| record.outcome = Some(outcome)).await
            }
        }
    }

    async fn deploy_for(&self, record: &ProviderRecord, agreement: Option<&Agreement>) -> Result<(), StepError> {
        let id = record.id;
        let Some(agreement) = agreement else { return Ok(()) };
        let started = now_ms();
        self.update_provider(id, move |record| {
            record.deploying = true;
            record.timeline.mark(Step::DeploymentStart, started);
        })
        .await?;
        let seconds_left = agreement.announcement.deploy_deadline.saturating_sub(started / 1000);
        let within = self.config.deploy_timeout.min(Duration::from_secs(seconds_left));

        match self.try_deploy(record, within).await {
            Ok(sealed) => {
                self.update_provider(id, |record| {
                    record.sealed_endpoint = Some(sealed);
                    record.timeline.mark(Step::DeploymentFinished, now_ms());
                })
                .await
            }
            Err(DeployError::NotReady(cause)) => self.fail_deployment(id, cause.to_string()).await,
            Err(DeployError::Step(StepError::Unusable(reason))) => self.fail_deployment(id, reason).await,
            Err(DeployError::Step(StepError::Fetch(error))) if !error.retryable() => {
                self.fail_deployment(id, error.to_string()).await
            }
            Err(DeployError::Step(error)) => Err(error),
        }
    }

    async fn fail_deployment(&self, id: AgreementId, reason: String) -> Result<(), StepError> {
        tracing::warn!(agreement = %id, reason, "the deployment failed; the award goes back");
        self.update_provider(id, |record| record.failed = Some(reason)).await
    }

    async fn try_deploy(&self, record: &ProviderRecord, within: Duration) -> Result<Vec<u8>, DeployError> {
        let creator = self.member(record.creator).await?;
        let bytes = self.manifest(&record.manifest_hash.0, &creator.url).await?;
        let yaml =
            String::from_utf8(bytes).map_err(|_| StepError::Unusable("the manifest is not UTF-8 text".into()))?;
        let manifest = parts::parse(&yaml)?;
        let parameters: Parameters = match &record.sealed_parameters {
            Some(sealed) if !sealed.is_empty() => self
                .sealing
                .unseal(sealed)
                .map_err(|error| StepError::Unusable(error.to_string()))?,
            _ => Parameters::default(),
        };
        let owner = Owner::new(record.id.to_string()).map_err(|error| StepError::Unusable(error.to_string()))?;
        let namespace = record.namespace();
        self.cluster.ensure_namespace(&namespace, Some(&owner)).await?;
        let place = Place {
            cluster: &self.cluster,
            namespace: &namespace,
            owner: &owner,
            domain: &self.config.domain,
        };
        let endpoint = place.deploy(&manifest, &parameters, within).await?;
        Ok(sealing::seal(&creator.sealing_key, &endpoint))
    }

    /// The Deployments of an agreement and how many of their replicas run here.
    pub(crate) async fn running_for(&self, record: &ProviderRecord) -> Result<BTreeMap<String, u32>, StepError> {
        let Some(bytes) = self.store.manifest(&record.manifest_hash.0)? else {
            return Ok(BTreeMap::new());
        };
        let mut running = BTreeMap::new();
        for deployment in parts::deployments(&parts::parse(&String::from_utf8_lossy(&bytes))?) {
            let replicas = self
                .running_replicas(&record.namespace(), &deployment)
                .await?
                .unwrap_or(0);
            running.insert(deployment, replicas);
        }
        Ok(running)
    }

    /// The manifest with this hash: from the own store, else from the agent at `holder`, and then kept.
    async fn manifest(&self, hash: &[u8; 32], holder: &str) -> Result<Vec<u8>, StepError> {
        if let Some(bytes) = self.store.manifest(hash)? {
            return Ok(bytes);
        }
        let authorization = self.membership_proof(hash)?;
        let bytes = manifests::fetch(&self.http, holder, hash, &authorization).await?;
        let (hash, kept) = (*hash, bytes.clone());
        self.store.commit(move |batch| batch.put_manifest(&hash, &kept)).await?;
        Ok(bytes)
    }
}

const TEAR_DOWN: Duration = Duration::from_secs(60);

/// The contract takes reasons of up to 512 bytes; what is said first matters most.
pub(crate) fn shortened(reason: &str) -> String {
    const LIMIT: usize = 512;
    if reason.len() <= LIMIT {
        return reason.to_owned();
    }
    let mut end = LIMIT - '…'.len_utf8();
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &reason[..end])
}
