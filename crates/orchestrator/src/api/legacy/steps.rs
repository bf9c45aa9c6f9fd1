//! One route for each step of an agreement.

use axum::Json;
use axum::extract::{Path, Query, State};
use hanse_agreement::AgreementId;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::SERVICE;
use crate::api::v1::agreements::{parse_id, wait_settled};
use crate::api::{Api, Problem};
use crate::error::StepError;
use crate::model::Scenario;
use crate::request::FederationRequest;

type Answer = Result<Json<Value>, Problem>;

/// How long a person has to choose by hand (s).
const BY_HAND_SECONDS: u64 = 600;

/// Who this is.
pub async fn about(State(api): State<Api>) -> Answer {
    let latest = api
        .shared()
        .store
        .consumers()?
        .into_iter()
        .max_by_key(|record| record.requested_ms);
    Ok(Json(json!({
        "ip-address": api.listener.ip().to_string(),
        "ethereum-address": api.shared().me().to_string(),
        "contract-address": api.shared().ledger.address().to_string(),
        "domain-name": api.shared().config.domain,
        "service-id": latest.map(|record| record.id().to_string()).unwrap_or_default(),
    })))
}

/// Membership is granted by the members' vote; a domain that has it is told so.
pub async fn register_domain(State(api): State<Api>) -> Answer {
    let shared = api.shared();
    match shared.ledger.member(shared.me()).await.map_err(StepError::from)? {
        Some(member) => Ok(Json(json!({
            "message": format!("Domain {} is registered", member.name),
            "domain-name": member.name,
            "ethereum-address": shared.me().to_string(),
        }))),
        None => Err(Problem::conflict(
            "this domain is not a member of the consortium; a member has to propose its admission and the members to vote",
        )),
    }
}

/// `requirements=service=NAME;replicas=N`.
#[derive(Debug, Deserialize)]
pub struct AnnouncementQuery {
    requirements: String,
}

/// Announces, and leaves the choice to `choose_provider` (or, when nobody chooses, to the policy in the end).
pub async fn create_service_announcement(State(api): State<Api>, Query(query): Query<AnnouncementQuery>) -> Answer {
    let (component, replicas) = parse_requirements(&query.requirements)?;
    let service = if component == "object-detector" {
        SERVICE.to_owned()
    } else {
        component
    };
    let request = FederationRequest {
        replicas: Some(replicas),
        offers_wanted: Some(u32::MAX),
        bid_window_ms: BY_HAND_SECONDS * 1000,
        bid_seconds: BY_HAND_SECONDS,
        ..FederationRequest::new(&service, Scenario::Component)
    };
    let record = api.orchestrator.federate(&request).await?;
    Ok(Json(
        json!({ "message": "Service announcement sent", "service_id": record.id().to_string() }),
    ))
}

fn parse_requirements(text: &str) -> Result<(String, u32), Problem> {
    let wrong = || Problem::invalid(format!("requirements {text:?}: write service=NAME;replicas=NUMBER"));
    let (service, replicas) = text.split_once(';').ok_or_else(wrong)?;
    let service = service.strip_prefix("service=").ok_or_else(wrong)?;
    let replicas = replicas
        .strip_prefix("replicas=")
        .and_then(|number| number.parse().ok())
        .ok_or_else(wrong)?;
    Ok((service.to_owned(), replicas))
}

/// `open`, `closed` or `deployed`, as the original said it, and the exact state.
pub async fn check_service_state(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let agreement = known(&api, parse_id(&id)?).await?;
    let exact = agreement.state.to_string();
    let state = match exact.as_str() {
        "open" => "open",
        "awarded" => "closed",
        "deployed" | "confirmed" => "deployed",
        other => other,
    };
    Ok(Json(
        json!({ "service_id": id, "service_state": state, "state": exact }),
    ))
}

/// Where the federated service answers; for its consumer.
pub async fn check_deployed_info(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let record = api.shared().store.consumer(id)?;
    let record = record.ok_or_else(|| Problem::not_found(format!("agreement {id} is not this domain's own")))?;
    let endpoint = record
        .endpoint
        .ok_or_else(|| Problem::conflict(format!("agreement {id} is not deployed yet")))?;
    let external_ip = endpoint.services.values().next().map(|address| address.host.clone());
    Ok(Json(
        json!({ "service_id": id.to_string(), "external_ip": external_ip, "endpoint": endpoint }),
    ))
}

/// What others ask for.
pub async fn check_service_announcements(State(api): State<Api>) -> Answer {
    let newest = api
        .shared()
        .ledger
        .newest_agreements(100)
        .await
        .map_err(StepError::from)?;
    let open: Vec<Value> = newest
        .into_iter()
        .filter(|agreement| agreement.state.to_string() == "open" && agreement.creator != api.shared().me())
        .map(|agreement| {
            json!({
                "service_id": agreement.announcement.id.to_string(),
                "requirements": agreement.announcement.requirements,
                "description": agreement.announcement.description,
                "creator": agreement.creator.to_string(),
            })
        })
        .collect();
    if open.is_empty() {
        return Err(Problem::not_found("there are no open announcements of other domains"));
    }
    Ok(Json(json!({ "announcements": open })))
}

/// `/place_bid/ID-PRICE`.
pub async fn place_bid(State(api): State<Api>, Path(id_and_price): Path<String>) -> Answer {
    let wrong = || Problem::invalid(format!("{id_and_price:?}: write /place_bid/SERVICE_ID-PRICE"));
    let (id, price) = id_and_price.rsplit_once('-').ok_or_else(wrong)?;
    let (id, price) = (parse_id(id)?, price.parse::<u64>().map_err(|_| wrong())?);
    api.orchestrator
        .bid(id, Some(hanse_agreement::Price(price.into())))
        .await?;
    Ok(Json(
        json!({ "message": "Bid placed", "service_id": id.to_string(), "price": price }),
    ))
}

/// The bids of an agreement, numbered from 0 in the order in which they came.
pub async fn check_bids(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let bids = bids_in_order(&api, id).await?;
    let list: Vec<Value> = bids
        .iter()
        .enumerate()
        .map(|(index, (bidder, price))| json!({ "bid_index": index, "provider": bidder, "price": price }))
        .collect();
    Ok(Json(json!({ "service_id": id.to_string(), "bids": list })))
}

async fn bids_in_order(api: &Api, id: AgreementId) -> Result<Vec<(String, String)>, Problem> {
    let (_, mut bids) = api.shared().ledger.details(id).await.map_err(StepError::from)?;
    bids.sort_by_key(|bid| bid.sequence);
    Ok(bids
        .into_iter()
        .map(|bid| (bid.bidder.to_string(), bid.price_per_hour.to_string()))
        .collect())
}

/// Chooses a bid for the newest announcement of this domain.
pub async fn choose_provider(State(api): State<Api>, Path(bid_index): Path<usize>) -> Answer {
    let live = api
        .shared()
        .store
        .consumers()?
        .into_iter()
        .filter(|record| record.outcome.is_none());
    let newest = live.max_by_key(|record| record.requested_ms);
    let id = newest
        .ok_or_else(|| Problem::conflict("this domain has announced nothing that is still open"))?
        .id();
    let bids = bids_in_order(&api, id).await?;
    let (bidder, _) = bids.get(bid_index).ok_or_else(|| {
        Problem::not_found(format!(
            "there is no bid {bid_index}; there are {}, counted from 0",
            bids.len()
        ))
    })?;
    let account = bidder
        .parse()
        .map_err(|error| Problem::invalid(format!("{bidder}: {error}")))?;
    api.orchestrator.choose_by_hand(id, account).await?;
    Ok(Json(
        json!({ "message": "Provider chosen", "service_id": id.to_string(), "provider": bidder }),
    ))
}

/// Who was chosen.
pub async fn check_winner(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let agreement = known(&api, parse_id(&id)?).await?;
    Ok(Json(
        json!({ "service_id": id, "winner": agreement.provider.map(|provider| provider.to_string()) }),
    ))
}

/// Whether it is this domain.
pub async fn check_if_i_am_winner(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let agreement = known(&api, parse_id(&id)?).await?;
    let winner = agreement.provider == Some(api.shared().me());
    Ok(Json(
        json!({ "service_id": id, "is_winner": if winner { "yes" } else { "no" } }),
    ))
}

/// The winner deploys by itself; this waits for it.
pub async fn deploy_service(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let agreement = known(&api, id).await?;
    if agreement.provider != Some(api.shared().me()) {
        return Err(Problem::conflict(format!(
            "this domain is not the provider of agreement {id}"
        )));
    }
    let page = wait_settled(&api, id, Instant::now() + Duration::from_secs(200)).await?;
    Ok(Json(
        json!({ "message": "Service deployed", "service_id": id.to_string(), "agreement": page }),
    ))
}

async fn known(api: &Api, id: AgreementId) -> Result<hanse_agreement::Agreement, Problem> {
    let agreement = api.shared().ledger.agreement(id).await.map_err(StepError::from)?;
    agreement.ok_or_else(|| Problem::not_found(format!("the ledger knows no agreement {id}")))
}
