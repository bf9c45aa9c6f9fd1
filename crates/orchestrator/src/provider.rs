//! The provider's side: carries out what [`crate::plan::provider`] names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hanse_agreement::{Agreement, AgreementId, Hash, State};
use hanse_cluster::{Manifest, Owner};
use hanse_swarm::service::BlobError;

use crate::clock::now_ms;
use crate::deploy::{DeployError, Place};
use crate::error::StepError;
use crate::model::{ManifestCopy, Parameters, ProviderRecord, Step};
use crate::plan::provider::Action;
use crate::service::Shared;
use crate::{parts, sealing};

impl Shared {
    pub(crate) async fn act_as_provider(
        &self,
        record: &ProviderRecord,
        agreement: Option<&Agreement>,
        action: Action,
    ) -> Result<(), StepError> {
        let id = record.id;
        match action {
            Action::FetchManifest => self.fetch_manifest(record, agreement).await,
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
                self.release_manifest(id, &record.manifest_hash).await?;
                self.update_provider(id, |record| record.outcome = Some(outcome)).await
            }
        }
    }

    /// Until the deadline of what it is for; the caller comes again with a pause when nobody has given it in one try.
    async fn fetch_manifest(&self, record: &ProviderRecord, agreement: Option<&Agreement>) -> Result<(), StepError> {
        let Some(agreement) = agreement else { return Ok(()) };
        let id = record.id;
        let deadline = match agreement.state {
            State::Open => agreement.announcement.bid_deadline,
            _ => agreement.announcement.deploy_deadline,
        };
        // The last second of the deadline still counts.
        let left = ((deadline + 1) * 1000).saturating_sub(now_ms());
        let within = FETCH.min(Duration::from_millis(left));
        // Who can't be looked up is not the only one that may have it.
        let author = self.ledger.member(record.creator).await.ok().flatten();
        let author = author.and_then(|author| author.peer);
        match self.manifests.fetch(&record.manifest_hash, author, within).await {
            Ok(bytes) => {
                let acceptable = manifest_in(&bytes).err().map(|error| error.to_string());
                self.update_provider(id, move |record| {
                    record.manifest = ManifestCopy::Kept;
                    record.failed = acceptable.or(record.failed.take());
                })
                .await
            }
            Err(BlobError::Fetch(error)) => self.fail_deployment(id, error.to_string()).await,
            Err(error) => {
                let trouble = Some(error.to_string());
                self.update_provider(id, move |record| record.manifest = ManifestCopy::Wanted { trouble })
                    .await?;
                Err(error.into())
            }
        }
    }

    async fn deploy_for(&self, record: &ProviderRecord, agreement: Option<&Agreement>) -> Result<(), StepError> {
        let id = record.id;
        let Some(agreement) = agreement else { return Ok(()) };
        let Some(manifest) = self.manifests.kept(&record.manifest_hash).await? else {
            // Given up by mistake, or damaged.
            return self
                .update_provider(id, |record| record.manifest = ManifestCopy::default())
                .await;
        };
        let started = now_ms();
        self.update_provider(id, move |record| {
            record.deploying = true;
            record.timeline.mark(Step::DeploymentStart, started);
        })
        .await?;
        let seconds_left = agreement.announcement.deploy_deadline.saturating_sub(started / 1000);
        let within = self.config.deploy_timeout.min(Duration::from_secs(seconds_left));

        match self.try_deploy(record, &manifest, within).await {
            Ok(sealed) => {
                self.update_provider(id, |record| {
                    record.sealed_endpoint = Some(sealed);
                    record.timeline.mark(Step::DeploymentFinished, now_ms());
                })
                .await
            }
            Err(DeployError::NotReady(cause)) => self.fail_deployment(id, cause.to_string()).await,
            Err(DeployError::Step(StepError::Unusable(reason))) => self.fail_deployment(id, reason).await,
            Err(DeployError::Step(error)) => Err(error),
        }
    }

    async fn fail_deployment(&self, id: AgreementId, reason: String) -> Result<(), StepError> {
        tracing::warn!(agreement = %id, reason, "the deployment failed; the award goes back");
        self.update_provider(id, |record| record.failed = Some(reason)).await
    }

    async fn try_deploy(
        &self,
        record: &ProviderRecord,
        manifest: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>, DeployError> {
        let creator = self.member(record.creator).await?;
        let manifest = manifest_in(manifest)?;
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
        let Some(bytes) = self.manifests.kept(&record.manifest_hash).await? else {
            return Ok(BTreeMap::new());
        };
        let mut running = BTreeMap::new();
        for deployment in parts::deployments(&manifest_in(&bytes)?) {
            let replicas = self
                .running_replicas(&record.namespace(), &deployment)
                .await?
                .unwrap_or(0);
            running.insert(deployment, replicas);
        }
        Ok(running)
    }

    /// The hashes of the manifests of all agreements that are not over here.
    pub(crate) fn needed_manifests(&self) -> Result<BTreeSet<Hash>, StepError> {
        let (consumers, providers) = (self.store.consumers()?, self.store.providers()?);
        let own = consumers.iter().filter(|record| record.outcome.is_none());
        let own = own.map(|record| record.announcement.manifest_hash);
        let kept = |record: &&ProviderRecord| record.outcome.is_none() && record.manifest == ManifestCopy::Kept;
        let theirs = providers.iter().filter(kept).map(|record| record.manifest_hash);
        Ok(own.chain(theirs).collect())
    }

    /// Gives the manifest of an agreement that ends up, unless another one that goes on has the same.
    pub(crate) async fn release_manifest(&self, ending: AgreementId, hash: &Hash) -> Result<(), StepError> {
        let needed = || {
            let (consumers, providers) = (self.store.consumers()?, self.store.providers()?);
            let own = consumers.iter().any(|record| {
                record.id() != ending && record.outcome.is_none() && record.announcement.manifest_hash == *hash
            });
            let theirs = providers
                .iter()
                .any(|record| record.id != ending && record.outcome.is_none() && record.manifest_hash == *hash);
            Ok::<_, StepError>(own || theirs)
        };
        self.manifests.release(hash, needed).await
    }
}

/// What arrived as a manifest, under the rules for what may be deployed.
fn manifest_in(bytes: &[u8]) -> Result<Manifest, StepError> {
    let yaml = std::str::from_utf8(bytes).map_err(|_| StepError::Unusable("the manifest is not UTF-8 text".into()))?;
    parts::parse(yaml)
}

/// How long one try to fetch a manifest takes at most.
const FETCH: Duration = Duration::from_secs(10);
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
