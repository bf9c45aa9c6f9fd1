//! From "federate this service" to a record: everything that can be wrong with a request is found here, before anything is
//! announced.

use std::sync::Arc;

use bytes::Bytes;
use hanse_agreement::{AgreementId, Announcement, Terms, limits};
use hanse_cluster::SecretValues;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::UnfitDomain;
use crate::clock::now_ms;
use crate::error::StepError;
use crate::model::{ConsumerRecord, NewAgreement, Outcome, Providers, Scenario, Want};
use crate::service::{Orchestrator, Shared};
use crate::store::{Batch, StoreError};
use crate::{manifests, parts};

/// Of the sealed parameters this much may be values of Secrets, as JSON in bytes; the rest is for addresses and the seal.
const LARGEST_SECRETS: usize = limits::SEALED - 1024;

/// A wish to have a service, or a part of it, run by another domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FederationRequest {
    /// Name of a local service.
    pub service: String,
    /// Which part of it moves.
    pub scenario: Scenario,
    /// Replicas that the provider shall run; for `component` and `whole` all that run here unless said otherwise.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// Which domains may provide; any member unless said otherwise. If it is given, nothing is announced as long as nobody who
    /// qualifies is there: who has these categories and, as far as it says, what the requirements ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Providers>,
    /// What the provider must offer; the service's own requirements unless said otherwise. `replicas` in it is ignored.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub requirements: Option<Terms>,
    /// Choose as soon as this many bids are in; as many as there are other members who may provide unless said otherwise.
    #[serde(default)]
    pub offers_wanted: Option<u32>,
    /// …or when this much time has passed and one bid will do (ms).
    #[serde(default = "FederationRequest::default_bid_window_ms")]
    pub bid_window_ms: u64,
    /// No bid counts later than this after the announcement (s).
    #[serde(default = "FederationRequest::default_bid_seconds")]
    pub bid_seconds: u64,
    /// The service has to run at most this long after the bid deadline (s).
    #[serde(default = "FederationRequest::default_deploy_seconds")]
    pub deploy_seconds: u64,
    /// How long this domain takes at most to confirm (s); after that the provider may claim its pay.
    #[serde(default = "FederationRequest::default_confirm_seconds")]
    pub confirm_seconds: u32,
    /// Hours to pay in advance; 0: nothing is paid.
    #[serde(default)]
    pub hours_paid: u32,
    /// How many more times to announce when it comes to nothing.
    #[serde(default)]
    pub retries: u32,
}

impl FederationRequest {
    /// A request with the defaults of the API.
    pub fn new(service: &str, scenario: Scenario) -> Self {
        Self {
            service: service.to_owned(),
            scenario,
            replicas: None,
            providers: None,
            requirements: None,
            offers_wanted: None,
            bid_window_ms: Self::default_bid_window_ms(),
            bid_seconds: Self::default_bid_seconds(),
            deploy_seconds: Self::default_deploy_seconds(),
            confirm_seconds: Self::default_confirm_seconds(),
            hours_paid: 0,
            retries: 0,
        }
    }

    fn default_bid_window_ms() -> u64 {
        2_000
    }

    fn default_bid_seconds() -> u64 {
        30
    }

    fn default_deploy_seconds() -> u64 {
        180
    }

    fn default_confirm_seconds() -> u32 {
        120
    }
}

/// Why a request can't be met.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no such service here.
    #[error("this domain has no service named {0}; deploy it first, or look at GET /api/v1/services for the names")]
    UnknownService(String),
    /// It is there but does not run.
    #[error("service {name} does not run yet: {trouble}; wait until it is ready")]
    NotRunning {
        /// The service.
        name: String,
        /// Why.
        trouble: String,
    },
    /// More replicas than there are.
    #[error("{wanted} replicas shall move, but only {own} of service {name} run here")]
    TooManyReplicas {
        /// The service.
        name: String,
        /// Asked for.
        wanted: u32,
        /// Left here.
        own: u32,
    },
    /// Another agreement about the same part is under way.
    #[error("agreement {0} already moves this service; terminate or cancel it first")]
    AlreadyFederated(AgreementId),
    /// Nobody would be chosen, so nothing was announced.
    #[error(
        "nobody who qualifies is there, so nothing was announced: {}. Ask for something else, or announce all the same with \
         providers.wait (--wait-for-provider) and take who comes until the bid deadline",
        unfit(.0)
    )]
    NoProvider(Vec<UnfitDomain>),
    /// A value makes no sense.
    #[error("{field}: {reason}")]
    Invalid {
        /// Field of the request.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else failed.
    #[error(transparent)]
    Step(#[from] StepError),
}

fn unfit(domains: &[UnfitDomain]) -> String {
    if domains.is_empty() {
        return "the consortium has no other member".into();
    }
    let each = domains
        .iter()
        .map(|it| format!("{} {}", it.domain, it.reasons.join(" and ")));
    each.collect::<Vec<_>>().join("; ")
}

impl Orchestrator {
    /// Writes the request down and starts to pursue it; from here on it survives a crash.
    pub async fn federate(&self, request: &FederationRequest) -> Result<ConsumerRecord, RequestError> {
        self.shared.accept(request, |_, _| Ok(())).await
    }
}

impl Shared {
    /// Publishes what is to move, writes the request down together with what `beside` writes, and starts to pursue it.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        request: &FederationRequest,
        beside: impl FnOnce(&mut Batch, AgreementId) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<ConsumerRecord, RequestError> {
        let (record, manifest) = self.record_of(request).await?;
        let (stored, id) = (record.clone(), record.id());
        let write_down = self.store.commit(move |batch| {
            beside(batch, id)?;
            batch.put_consumer(&stored)
        });
        // On the disk and on offer before anybody is told its hash.
        let published = self
            .manifests
            .publish(manifest, async { write_down.await.map_err(StepError::from) });
        published.await?;
        self.drive(id);
        Ok(record)
    }

    /// The record of a request, and the manifest of what is to move.
    async fn record_of(self: &Arc<Self>, request: &FederationRequest) -> Result<(ConsumerRecord, Bytes), RequestError> {
        check_times(request)?;
        let service = self
            .store
            .service(&request.service)
            .map_err(StepError::from)?
            .filter(|service| service.wanted)
            .ok_or_else(|| RequestError::UnknownService(request.service.clone()))?;
        if !service.ready {
            let trouble = service.trouble.clone().unwrap_or_else(|| "it is still starting".into());
            return Err(RequestError::NotRunning {
                name: request.service.clone(),
                trouble,
            });
        }
        let live = self.live_consumers_of(&request.service).map_err(StepError::from)?;
        let exclusive =
            |record: &&ConsumerRecord| request.scenario != Scenario::Scale || record.scenario != Scenario::Scale;
        if let Some(other) = live.iter().find(exclusive) {
            return Err(RequestError::AlreadyFederated(other.id()));
        }
        let promised: u32 = live
            .iter()
            .map(|record| record.announcement.requirements.replicas)
            .sum();
        let own = service.replicas.saturating_sub(promised);
        let replicas = request.replicas.unwrap_or(own);
        if replicas == 0 {
            return Err(RequestError::Invalid {
                field: "replicas",
                reason: "at least one has to move".into(),
            });
        }
        if request.scenario == Scenario::Scale && replicas > own {
            return Err(RequestError::TooManyReplicas {
                name: request.service.clone(),
                wanted: replicas,
                own,
            });
        }

        let (bytes, secrets) = parts::announced(&service, request.scenario, replicas)?;
        check_secrets(&secrets)?;
        check_size(bytes.len())?;

        let members = self.ledger.members().await.map_err(StepError::from)?;
        let requirements = Terms {
            replicas,
            ..request.requirements.unwrap_or(service.definition.requirements)
        };
        let providers = match &request.providers {
            Some(asked) => Some(self.eligible(asked, &requirements, &members).await?),
            None => None,
        };
        let others = match &providers {
            Some(eligible) => eligible.qualified.len(),
            None => members.len().saturating_sub(1),
        };
        let now = now_ms();
        let record = ConsumerRecord::from(NewAgreement {
            announcement: Announcement {
                id: fresh_id(),
                description: format!("{} ({})", service.definition.name, request.scenario),
                requirements,
                manifest_hash: manifests::hash(&bytes),
                bid_deadline: now / 1000 + request.bid_seconds,
                deploy_deadline: now / 1000 + request.bid_seconds + request.deploy_seconds,
                confirm_window: request.confirm_seconds,
            },
            service: request.service.clone(),
            scenario: request.scenario,
            requested_ms: now,
            offers_wanted: request
                .offers_wanted
                .unwrap_or(u32::try_from(others).unwrap_or(u32::MAX))
                .max(1),
            bid_window_ms: request.bid_window_ms,
            hours_paid: request.hours_paid,
            retries: request.retries,
            providers,
            previous: None,
        });
        Ok((record, bytes.into()))
    }
}

/// A manifest is one block of a blob: the hash on the ledger does not say of what kind a block is that lists others.
fn check_size(size: usize) -> Result<(), RequestError> {
    if size <= manifests::LARGEST {
        return Ok(());
    }
    let reason = format!(
        "the manifest of the part that moves has {size} bytes; at most {} travel. Move large files out of its ConfigMaps, for instance \
         into an image",
        manifests::LARGEST
    );
    Err(RequestError::Invalid {
        field: "service",
        reason,
    })
}

/// What Secrets hold travels sealed, with the award, which has room for little.
fn check_secrets(secrets: &SecretValues) -> Result<(), RequestError> {
    let size = serde_json::to_vec(secrets).map_or(usize::MAX, |text| text.len());
    if size <= LARGEST_SECRETS {
        return Ok(());
    }
    let reason = format!(
        "what the Secrets of the part that moves hold has {size} bytes as JSON; at most {LARGEST_SECRETS} travel sealed to the provider. \
         Move what is no secret into ConfigMaps, or have the service fetch the rest itself"
    );
    Err(RequestError::Invalid {
        field: "service",
        reason,
    })
}

fn check_times(request: &FederationRequest) -> Result<(), RequestError> {
    const LONGEST: u64 = 7 * 24 * 3600;
    let within = |field, value: u64| {
        if (1..=LONGEST).contains(&value) {
            Ok(())
        } else {
            Err(RequestError::Invalid {
                field,
                reason: format!("{value} s is not between 1 s and 7 days"),
            })
        }
    };
    within("bidSeconds", request.bid_seconds)?;
    within("deploySeconds", request.deploy_seconds)?;
    within("confirmSeconds", request.confirm_seconds.into())
}

/// Random, so that nobody can take the id before the announcement is on the ledger.
fn fresh_id() -> AgreementId {
    AgreementId(rand::random())
}

/// The agreement that tries again after `record` came to nothing, if its owner asked for that.
pub(crate) fn successor(record: &ConsumerRecord, outcome: &Outcome, now_ms: u64) -> Option<ConsumerRecord> {
    let came_to_nothing = matches!(outcome, Outcome::Expired { .. } | Outcome::Cancelled { .. });
    if record.retries == 0 || record.want != Want::Run || !came_to_nothing {
        return None;
    }
    let old = &record.announcement;
    let start = record.requested_ms / 1000;
    let now = now_ms / 1000;
    let announcement = Announcement {
        id: fresh_id(),
        bid_deadline: now + old.bid_deadline.saturating_sub(start),
        deploy_deadline: now + old.deploy_deadline.saturating_sub(start),
        ..old.clone()
    };
    Some(ConsumerRecord {
        chosen_by_hand: record.chosen_by_hand,
        ..ConsumerRecord::from(NewAgreement {
            announcement,
            service: record.service.clone(),
            scenario: record.scenario,
            requested_ms: now_ms,
            offers_wanted: record.offers_wanted,
            bid_window_ms: record.bid_window_ms,
            hours_paid: record.hours_paid,
            retries: record.retries - 1,
            providers: record.providers.clone(),
            previous: Some(record.id()),
        })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use hanse_agreement::Hash;

    use super::*;

    const REQUIREMENTS: Terms = Terms {
        availability_bps: 9_900,
        latency_ms: 100,
        jitter_ms: 0,
        bandwidth_mbps: 10,
        cpu_millicores: 100,
        ram_mb: 64,
        replicas: 1,
    };

    /// A record of an agreement about a service called `detection`, as it is right after the request.
    pub(crate) fn record(scenario: Scenario, replicas: u32) -> ConsumerRecord {
        let announcement = Announcement {
            id: fresh_id(),
            description: String::new(),
            requirements: Terms {
                replicas,
                ..REQUIREMENTS
            },
            manifest_hash: Hash([7; 32]),
            bid_deadline: 1_030,
            deploy_deadline: 1_210,
            confirm_window: 120,
        };
        ConsumerRecord::from(NewAgreement {
            announcement,
            service: "detection".into(),
            scenario,
            requested_ms: 1_000_000,
            offers_wanted: 3,
            bid_window_ms: 2_000,
            hours_paid: 0,
            retries: 0,
            providers: None,
            previous: None,
        })
    }

    #[test]
    fn secrets_that_do_not_fit_into_the_sealed_parameters_are_refused_before_anything_is_announced() {
        let secrets = |bytes: usize| {
            let yaml = format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{key: {}}}\n",
                "x".repeat(bytes)
            );
            parts::parse(&yaml).expect("a manifest").without_secret_values().1
        };
        assert!(check_secrets(&secrets(2_200)).is_ok());
        let error = check_secrets(&secrets(2_400)).expect_err("too much");
        assert!(error.to_string().contains("3072 travel sealed"), "{error}");
    }

    #[test]
    fn a_manifest_that_is_no_single_block_is_refused_before_anything_is_announced() {
        assert!(check_size(1 << 20).is_ok());
        let error = check_size((1 << 20) + 1).expect_err("too much");
        assert!(error.to_string().contains("at most 1048576 travel"), "{error}");
    }

    #[test]
    fn what_came_to_nothing_is_announced_anew_as_often_as_asked_for_with_fresh_deadlines() {
        let mut first = record(Scenario::Component, 1);
        first.retries = 1;
        let outcome = Outcome::Expired {
            reason: "no bids".into(),
        };
        let second = successor(&first, &outcome, 5_000_000).expect("one retry is left");
        assert_ne!(second.id(), first.id(), "ids are unique for ever");
        assert_eq!(second.announcement.bid_deadline, 5_030);
        assert_eq!(second.announcement.deploy_deadline, 5_210);
        assert_eq!((second.retries, second.previous), (0, Some(first.id())));
        assert!(successor(&second, &outcome, 6_000_000).is_none());
        first.want = Want::Cancel {
            reason: "no longer needed".into(),
        };
        assert!(
            successor(&first, &outcome, 5_000_000).is_none(),
            "an owner who called it off does not want it again"
        );
    }
}
