//! The consortium's routes: for this domain's operator, and, bounded and without a token, for those who are no members.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use hanse_chain::consensus::peer_address;
use hanse_orchestrator::api::{Problem, Routes};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::invite::Invite;
use super::pages::{BootstrapPage, ChangePage, ClaimPage, ConsortiumPage, InvitePage, ProposalPage, RequestPage};
use super::request::AdmissionRequest;
use super::service::{Consortium, of_ledger};

/// A stranger's request fits into this many bytes.
const LARGEST_REQUEST: usize = 16 * 1024;

type Service = State<Arc<Consortium>>;
type Answer<T> = Result<Json<T>, Problem>;

/// All routes.
pub fn routes(service: Arc<Consortium>) -> Routes {
    let operator = Router::new()
        .route("/api/v1/consortium", get(show))
        .route("/api/v1/consortium/invites", post(invite))
        .route("/api/v1/consortium/votes", post(vote))
        .route("/api/v1/consortium/removals", post(remove))
        .route("/api/v1/consortium/departure", post(leave))
        .route("/api/v1/consortium/rotations", post(rotate))
        .route("/api/v1/consortium/admission", post(ask))
        .with_state(service.clone());
    let strangers = Router::new()
        .route("/api/v1/consortium/bootstrap", get(bootstrap))
        .route("/api/v1/consortium/requests", post(request))
        .route("/api/v1/consortium/claims", post(claim))
        .route("/api/v1/consortium/claims/{account}", get(claimable))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(service);
    Routes {
        operator,
        strangers,
        description: Description::openapi(),
        ..Routes::default()
    }
}

#[derive(OpenApi)]
#[openapi(paths(show, invite, vote, remove, leave, rotate, ask, bootstrap, request, claimable, claim))]
struct Description;

/// Who is in the consortium, what is being voted on, and who asks to be admitted.
#[utoipa::path(get, path = "/api/v1/consortium", tag = "consortium",
    responses((status = 200, body = ConsortiumPage), (status = 502, body = Problem)))]
async fn show(State(service): Service) -> Answer<ConsortiumPage> {
    service.page().await.map(Json)
}

/// Makes an invite for one new domain, valid for 7 days.
#[utoipa::path(post, path = "/api/v1/consortium/invites", tag = "consortium",
    responses((status = 200, body = InvitePage), (status = 409, body = Problem)))]
async fn invite(State(service): Service) -> Answer<InvitePage> {
    Ok(Json(InvitePage {
        invite: service.invite()?,
    }))
}

/// What to vote for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoteBody {
    pub subject: String,
}

/// Votes for an admission or a removal. Answers when the vote is in a block.
#[utoipa::path(post, path = "/api/v1/consortium/votes", tag = "consortium", request_body = VoteBody,
    responses((status = 200, body = ProposalPage), (status = 409, body = Problem), (status = 502, body = Problem)))]
async fn vote(State(service): Service, Json(body): Json<VoteBody>) -> Answer<ProposalPage> {
    service.vote(&body.subject).await.map(Json)
}

/// Who is to go.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemovalBody {
    pub member: String,
    #[serde(default)]
    pub accept_fewer_than_four: bool,
}

/// Proposes that a member has to go, or votes for that.
#[utoipa::path(post, path = "/api/v1/consortium/removals", tag = "consortium", request_body = RemovalBody,
    responses((status = 200, body = ProposalPage), (status = 409, body = Problem), (status = 502, body = Problem)))]
async fn remove(State(service): Service, Json(body): Json<RemovalBody>) -> Answer<ProposalPage> {
    service
        .remove(&body.member, body.accept_fewer_than_four)
        .await
        .map(Json)
}

/// This domain goes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DepartureBody {
    #[serde(default)]
    pub accept_fewer_than_four: bool,
}

/// Leaves the consortium.
#[utoipa::path(post, path = "/api/v1/consortium/departure", tag = "consortium", request_body = DepartureBody,
    responses((status = 200, body = ChangePage), (status = 409, body = Problem), (status = 502, body = Problem)))]
async fn leave(State(service): Service, Json(body): Json<DepartureBody>) -> Answer<ChangePage> {
    service.leave(body.accept_fewer_than_four).await.map(Json)
}

/// Replaces the validator key by the next one of this domain's seed, and waits until it is in use.
#[utoipa::path(post, path = "/api/v1/consortium/rotations", tag = "consortium",
    responses((status = 200, body = ChangePage), (status = 409, body = Problem), (status = 502, body = Problem)))]
async fn rotate(State(service): Service) -> Answer<ChangePage> {
    service.rotate_key().await.map(Json)
}

/// Whom to ask for admission.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmissionBody {
    #[schema(value_type = String)]
    pub invite: Invite,
}

/// Has this domain, which is no member, ask a member for admission.
#[utoipa::path(post, path = "/api/v1/consortium/admission", tag = "consortium", request_body = AdmissionBody,
    responses((status = 200, body = RequestPage), (status = 502, body = Problem)))]
async fn ask(State(service): Service, Json(body): Json<AdmissionBody>) -> Answer<RequestPage> {
    let asked = service.ask(&body.invite).await;
    asked.map(Json).map_err(|error| {
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "not-admitted",
            "The member did not take it",
            format!("{error:#}"),
        )
    })
}

/// For newcomers, without a token: what is needed to follow the ledger.
#[utoipa::path(get, path = "/api/v1/consortium/bootstrap", tag = "consortium",
    responses((status = 200, body = BootstrapPage), (status = 429, body = Problem)))]
async fn bootstrap(State(service): Service) -> Answer<BootstrapPage> {
    service.admit_stranger()?;
    let genesis = service.node()?.genesis.clone();
    let members = service.ledger.members().await.map_err(of_ledger)?;
    let peers = members
        .iter()
        .filter_map(|member| peer_address(&member.info.consensusAddress, &member.info.validatorKey.0))
        .collect();
    Ok(Json(BootstrapPage { genesis, peers }))
}

/// For newcomers, without a token: a signed request for admission. Sending it again tells how far it is.
#[utoipa::path(post, path = "/api/v1/consortium/requests", tag = "consortium", request_body = AdmissionRequest,
    responses((status = 200, body = RequestPage), (status = 403, body = Problem), (status = 422, body = Problem),
        (status = 429, body = Problem)))]
async fn request(State(service): Service, Json(request): Json<AdmissionRequest>) -> Answer<RequestPage> {
    service.admit_request(&request)?;
    service.take(request).await.map(Json)
}

/// For those who are no members any more, without a token: what an account is owed.
#[utoipa::path(get, path = "/api/v1/consortium/claims/{account}", tag = "consortium", params(("account" = String, Path)),
    responses((status = 200, body = ClaimPage), (status = 429, body = Problem)))]
async fn claimable(State(service): Service, Path(account): Path<String>) -> Answer<ClaimPage> {
    service.admit_stranger()?;
    let account = account.parse().map_err(|_| {
        Problem::invalid(format!(
            "{account:?} is no account; one looks like 0x and 40 hexadecimal digits"
        ))
    })?;
    service.claimable(account).await.map(Json)
}

/// A signed withdrawal.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimBody {
    /// EIP-2718 encoding, hexadecimal.
    pub raw_transaction: String,
}

/// For those who are no members any more, without a token: passes a signed withdrawal on to the ledger.
#[utoipa::path(post, path = "/api/v1/consortium/claims", tag = "consortium", request_body = ClaimBody,
    responses((status = 200, body = Object, description = "`tx`: the hash of the transaction"),
        (status = 409, body = Problem), (status = 429, body = Problem)))]
async fn claim(State(service): Service, Json(body): Json<ClaimBody>) -> Answer<serde_json::Value> {
    service.admit_stranger()?;
    service.submit_claim(&body.raw_transaction).await.map(Json)
}
