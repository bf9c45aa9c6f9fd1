//! Agreements, as consumer and as provider.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use hanse_agreement::policy;
use hanse_agreement::{Account, Agreement, AgreementId, Bid, Price};
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant, timeout_at};
use utoipa::{IntoParams, ToSchema};

use crate::api::{Api, Problem};
use crate::error::StepError;
use crate::manifests;
use crate::model::{
    ConsumerRecord, Eligible, Endpoint, Mark, Outcome, ProviderRecord, Scenario, Stage, Want, WorkSeen,
};
use crate::request::FederationRequest;

/// An agreement as this domain sees it: what the ledger says and what was done here.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgreementPage {
    /// Its id.
    pub id: String,
    /// `consumer`, `provider` or `observer`.
    pub role: String,
    /// State on the ledger; `none` before the announcement is there.
    pub state: String,
    /// For people.
    pub description: String,
    /// Account of the consumer.
    pub consumer: String,
    /// Account of the provider, once chosen.
    pub provider: Option<String>,
    /// CID of the manifest in the swarm: its SHA-256 is on the ledger.
    pub manifest: String,
    /// What is asked for.
    #[schema(value_type = Object)]
    pub requirements: hanse_agreement::Terms,
    /// Consumer: which providers were asked for, and which members are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Eligible>,
    /// Last second for bids (Unix).
    pub bid_deadline: u64,
    /// Last second for the deployment (Unix).
    pub deploy_deadline: u64,
    /// Wei in escrow.
    pub escrow: String,
    /// Consumer: the local service.
    pub service: Option<String>,
    /// Consumer: which part of it.
    pub scenario: Option<Scenario>,
    /// Consumer: where the service answers.
    pub endpoint: Option<Endpoint>,
    /// Consumer: whether it was seen to work.
    pub verified: Option<bool>,
    /// Consumer: whether the own share has been given up, so that the move is complete.
    pub completed: Option<bool>,
    /// Consumer: work that the check saw.
    pub work: Option<WorkSeen>,
    /// Consumer: when the request was accepted (Unix ms).
    pub requested_ms: Option<u64>,
    /// Consumer: the agreement that replaces this one.
    pub next: Option<String>,
    /// Provider: Deployments and how many of their replicas run.
    pub running: BTreeMap<String, u32>,
    /// What went wrong here, if anything did.
    pub trouble: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Steps taken by this domain.
    pub timeline: Vec<Mark>,
}

/// What `GET /api/v1/agreements` may be told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those that are not over for this domain.
    #[serde(default)]
    live: bool,
}

/// What `GET /api/v1/agreements/{id}` may be told.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShowQuery {
    /// Answer as soon as the agreement is complete, confirmed or over, or after this many milliseconds.
    #[serde(default)]
    wait_ms: u64,
}

const LONGEST_WAIT_MS: u64 = 60_000;

pub(in crate::api) enum Record {
    Consumer(Box<ConsumerRecord>),
    Provider(Box<ProviderRecord>),
    None,
}

impl Record {
    pub(in crate::api) fn find(api: &Api, id: AgreementId) -> Result<Self, Problem> {
        let store = &api.shared().store;
        if let Some(record) = store.consumer(id)? {
            return Ok(Self::Consumer(Box::new(record)));
        }
        Ok(store
            .provider(id)?
            .map_or(Self::None, |record| Self::Provider(Box::new(record))))
    }
}

impl AgreementPage {
    pub(in crate::api) async fn of(api: &Api, id: AgreementId) -> Result<Self, Problem> {
        let record = Record::find(api, id)?;
        let agreement = api.shared().ledger.agreement(id).await.map_err(StepError::from)?;
        let mut page = Self::from_parts(api, id, &record, agreement.as_ref())
            .ok_or_else(|| Problem::not_found(format!("neither this domain nor the ledger knows agreement {id}")))?;
        if let Record::Provider(record) = &record
            && record.deploying
            && !record.torn_down
        {
            page.running = api.shared().running_for(record).await?;
        }
        Ok(page)
    }

    fn from_parts(api: &Api, id: AgreementId, record: &Record, agreement: Option<&Agreement>) -> Option<Self> {
        let announcement = match (agreement, record) {
            (Some(agreement), _) => &agreement.announcement,
            (None, Record::Consumer(record)) => &record.announcement,
            (None, _) => return None,
        };
        let me = api.shared().me().to_string();
        let mut page = Self {
            id: id.to_string(),
            role: "observer".into(),
            state: agreement.map_or("none".into(), |agreement| agreement.state.to_string()),
            description: announcement.description.clone(),
            consumer: agreement.map_or(me, |agreement| agreement.creator.to_string()),
            provider: agreement
                .and_then(|agreement| agreement.provider)
                .map(|provider| provider.to_string()),
            manifest: manifests::cid(&announcement.manifest_hash).to_string(),
            requirements: announcement.requirements,
            providers: None,
            bid_deadline: announcement.bid_deadline,
            deploy_deadline: announcement.deploy_deadline,
            escrow: agreement.map_or("0".into(), |agreement| agreement.escrow.to_string()),
            service: None,
            scenario: None,
            endpoint: None,
            verified: None,
            completed: None,
            work: None,
            requested_ms: None,
            next: None,
            running: BTreeMap::new(),
            trouble: None,
            outcome: None,
            timeline: Vec::new(),
        };
        match record {
            Record::Consumer(record) => {
                page.role = "consumer".into();
                page.service = Some(record.service.clone());
                page.scenario = Some(record.scenario);
                page.providers = record.providers.clone();
                page.endpoint = record.endpoint.clone();
                page.verified = Some((Stage::Verified..=Stage::Completed).contains(&record.stage));
                page.completed = Some(record.stage == Stage::Completed);
                page.work = record.work;
                page.requested_ms = Some(record.requested_ms);
                page.next = record.next.map(|next| next.to_string());
                page.trouble = record.check_failed.clone();
                page.outcome = record.outcome.clone();
                page.timeline = record.timeline.marks().to_vec();
            }
            Record::Provider(record) => {
                page.role = "provider".into();
                let missing = || record.manifest.trouble().map(str::to_owned);
                page.trouble = record.failed.clone().or_else(missing);
                page.outcome = record.outcome.clone();
                page.timeline = record.timeline.marks().to_vec();
            }
            Record::None => {}
        }
        Some(page)
    }

    /// Whether nothing more happens by itself.
    fn settled(&self) -> bool {
        self.outcome.is_some()
            || (self.state == "confirmed" && self.completed.unwrap_or(true) && self.role != "observer")
    }
}

/// All agreements in which this domain takes part.
#[utoipa::path(get, path = "/api/v1/agreements", tag = "agreements", params(ListQuery),
    responses((status = 200, body = [AgreementPage])))]
pub async fn list(State(api): State<Api>, Query(query): Query<ListQuery>) -> Result<Json<Vec<AgreementPage>>, Problem> {
    let store = &api.shared().store;
    let mut ids: Vec<(AgreementId, bool)> = Vec::new();
    ids.extend(
        store
            .consumers()?
            .iter()
            .map(|record| (record.id(), record.outcome.is_none())),
    );
    ids.extend(
        store
            .providers()?
            .iter()
            .map(|record| (record.id, record.outcome.is_none())),
    );
    let mut pages = Vec::new();
    for (id, live) in ids {
        if live || !query.live {
            pages.push(AgreementPage::of(&api, id).await?);
        }
    }
    Ok(Json(pages))
}

/// One agreement; `waitMs` waits for it to be complete.
#[utoipa::path(get, path = "/api/v1/agreements/{id}", tag = "agreements", params(("id" = String, Path), ShowQuery),
    responses((status = 200, body = AgreementPage), (status = 404, body = Problem)))]
pub async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<ShowQuery>,
) -> Result<Json<AgreementPage>, Problem> {
    let id = parse_id(&id)?;
    let until = Instant::now() + Duration::from_millis(query.wait_ms.min(LONGEST_WAIT_MS));
    Ok(Json(wait_settled(&api, id, until).await?))
}

/// The agreement once it is settled, or as it is at `until`.
pub(in crate::api) async fn wait_settled(api: &Api, id: AgreementId, until: Instant) -> Result<AgreementPage, Problem> {
    let mut changes = api.shared().changes.subscribe();
    loop {
        let page = AgreementPage::of(api, id).await?;
        if page.settled() || timeout_at(until, changes.changed()).await.is_err() {
            return Ok(page);
        }
    }
}

/// Has a service, or a part of it, run by another domain. With an `Idempotency-Key` header a repetition gives the same
/// agreement again.
#[utoipa::path(post, path = "/api/v1/agreements", tag = "agreements", request_body = FederationRequest,
    responses((status = 202, body = AgreementPage), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn create(
    State(api): State<Api>,
    headers: HeaderMap,
    Json(request): Json<FederationRequest>,
) -> Result<(StatusCode, Json<AgreementPage>), Problem> {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let record = api.orchestrator.federate_once(&request, key).await?;
    let id = record.id();
    let page = AgreementPage::from_parts(&api, id, &Record::Consumer(Box::new(record)), None);
    let page = page.ok_or_else(|| Problem::not_found(format!("agreement {id}")))?;
    Ok((StatusCode::ACCEPTED, Json(page)))
}

/// The bids of an agreement, and what the policy says of each.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BidPage {
    /// The bid.
    #[schema(value_type = Object)]
    pub bid: Bid,
    /// Why the policy would not take it; nothing for the one it would take.
    pub rejected: Option<String>,
}

/// The bids of an agreement.
#[utoipa::path(get, path = "/api/v1/agreements/{id}/bids", tag = "agreements", params(("id" = String, Path)),
    responses((status = 200, body = [BidPage]), (status = 404, body = Problem)))]
pub async fn bids(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Vec<BidPage>>, Problem> {
    let id = parse_id(&id)?;
    let (agreement, bids) = api.shared().ledger.details(id).await.map_err(StepError::from)?;
    let agreement = agreement.ok_or_else(|| Problem::not_found(format!("the ledger knows no agreement {id}")))?;
    let record = api.shared().store.consumer(id)?;
    let barred = |bidder: Account| {
        let barred = record.as_ref().is_some_and(|record| !record.may_provide(bidder));
        barred.then_some(policy::Reason::NotAskedFor)
    };
    let choice = policy::choose_among(&agreement.announcement.requirements, &bids, None, barred);
    Ok(Json(
        bids.into_iter()
            .map(|bid| BidPage {
                rejected: choice.reason_against(&bid),
                bid,
            })
            .collect(),
    ))
}

/// Bids by hand.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BidRequest {
    /// Wei per hour; by the price list unless said otherwise.
    #[serde(default)]
    pub price_per_hour: Option<u64>,
}

/// Bids on another domain's announcement by hand, if there is room for it.
#[utoipa::path(post, path = "/api/v1/agreements/{id}/bids", tag = "agreements", params(("id" = String, Path)),
    request_body = BidRequest, responses((status = 202, body = AgreementPage), (status = 409, body = Problem)))]
pub async fn place_bid(
    State(api): State<Api>,
    Path(id): Path<String>,
    Json(request): Json<BidRequest>,
) -> Result<(StatusCode, Json<AgreementPage>), Problem> {
    let id = parse_id(&id)?;
    api.orchestrator
        .bid(id, request.price_per_hour.map(|wei| Price(wei.into())))
        .await?;
    Ok((StatusCode::ACCEPTED, Json(AgreementPage::of(&api, id).await?)))
}

/// Agreements on which this domain has bid and that are not over.
#[utoipa::path(get, path = "/api/v1/bids", tag = "agreements", responses((status = 200, body = [AgreementPage])))]
pub async fn own_bids(State(api): State<Api>) -> Result<Json<Vec<AgreementPage>>, Problem> {
    let mut pages = Vec::new();
    for record in api
        .shared()
        .store
        .providers()?
        .iter()
        .filter(|record| record.outcome.is_none())
    {
        pages.push(AgreementPage::of(&api, record.id).await?);
    }
    Ok(Json(pages))
}

/// A choice by hand.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChoiceRequest {
    /// Account of the bidder.
    pub bidder: String,
}

/// Chooses a provider by hand instead of by policy.
#[utoipa::path(post, path = "/api/v1/agreements/{id}/choose", tag = "agreements", params(("id" = String, Path)),
    request_body = ChoiceRequest, responses((status = 202, body = AgreementPage), (status = 409, body = Problem)))]
pub async fn choose(
    State(api): State<Api>,
    Path(id): Path<String>,
    Json(request): Json<ChoiceRequest>,
) -> Result<(StatusCode, Json<AgreementPage>), Problem> {
    let id = parse_id(&id)?;
    let bidder: Account = request
        .bidder
        .parse()
        .map_err(|error| Problem::invalid(format!("bidder {:?}: {error}", request.bidder)))?;
    api.orchestrator.choose_by_hand(id, bidder).await?;
    Ok((StatusCode::ACCEPTED, Json(AgreementPage::of(&api, id).await?)))
}

/// Calls an agreement off before it is confirmed: as consumer it is cancelled, as provider the award goes back.
#[utoipa::path(post, path = "/api/v1/agreements/{id}/cancel", tag = "agreements", params(("id" = String, Path)),
    responses((status = 202, body = AgreementPage), (status = 409, body = Problem)))]
pub async fn cancel(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<AgreementPage>), Problem> {
    end(
        &api,
        &id,
        Want::Cancel {
            reason: "called off by its owner".into(),
        },
    )
    .await
}

/// Ends a confirmed agreement: the service comes back to the consumer, the provider removes its copy.
#[utoipa::path(post, path = "/api/v1/agreements/{id}/terminate", tag = "agreements", params(("id" = String, Path)),
    responses((status = 202, body = AgreementPage), (status = 409, body = Problem)))]
pub async fn terminate(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<AgreementPage>), Problem> {
    end(&api, &id, Want::Terminate).await
}

async fn end(api: &Api, id: &str, want: Want) -> Result<(StatusCode, Json<AgreementPage>), Problem> {
    let id = parse_id(id)?;
    let page = AgreementPage::of(api, id).await?;
    let confirmed = page.state == "confirmed";
    if page.outcome.is_some() {
        return Err(Problem::conflict(format!("agreement {id} is already over")));
    }
    match (&want, confirmed) {
        (Want::Terminate, false) => {
            return Err(Problem::conflict(format!(
                "agreement {id} is {}, not confirmed; cancel it instead",
                page.state
            )));
        }
        (Want::Cancel { .. }, true) => {
            return Err(Problem::conflict(format!(
                "agreement {id} is confirmed; terminate it instead"
            )));
        }
        _ => {}
    }
    match Record::find(api, id)? {
        Record::Consumer(_) => {
            api.shared()
                .update_consumer(id, move |record| record.want = want)
                .await?
        }
        Record::Provider(_) => {
            api.shared()
                .update_provider(id, move |record| record.want = want)
                .await?
        }
        Record::None => return Err(Problem::conflict(format!("this domain is no party of agreement {id}"))),
    }
    Ok((StatusCode::ACCEPTED, Json(AgreementPage::of(api, id).await?)))
}

pub(in crate::api) fn parse_id(text: &str) -> Result<AgreementId, Problem> {
    text.parse()
        .map_err(|error| Problem::invalid(format!("agreement id {text:?}: {error}")))
}
