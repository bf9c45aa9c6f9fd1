//! The consortium's routes: for this domain's operator, and, bounded and without a token, for those who are no members.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use hanse_chain::consensus::peer_address;
use hanse_orchestrator::api::{Problem, Routes};
use serde::{Deserialize, Serialize};

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
    Routes { operator, strangers }
}

async fn show(State(service): Service) -> Answer<ConsortiumPage> {
    service.page().await.map(Json)
}

async fn invite(State(service): Service) -> Answer<InvitePage> {
    Ok(Json(InvitePage {
        invite: service.invite()?,
    }))
}

/// What to vote for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteBody {
    pub subject: String,
}

async fn vote(State(service): Service, Json(body): Json<VoteBody>) -> Answer<ProposalPage> {
    service.vote(&body.subject).await.map(Json)
}

/// Who is to go.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemovalBody {
    pub member: String,
    #[serde(default)]
    pub accept_fewer_than_four: bool,
}

async fn remove(State(service): Service, Json(body): Json<RemovalBody>) -> Answer<ProposalPage> {
    service
        .remove(&body.member, body.accept_fewer_than_four)
        .await
        .map(Json)
}

/// This domain goes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DepartureBody {
    #[serde(default)]
    pub accept_fewer_than_four: bool,
}

async fn leave(State(service): Service, Json(body): Json<DepartureBody>) -> Answer<ChangePage> {
    service.leave(body.accept_fewer_than_four).await.map(Json)
}

async fn rotate(State(service): Service) -> Answer<ChangePage> {
    service.rotate_key().await.map(Json)
}

/// Whom to ask for admission.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionBody {
    pub invite: Invite,
}

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

async fn request(State(service): Service, Json(request): Json<AdmissionRequest>) -> Answer<RequestPage> {
    service.admit_stranger()?;
    service.take(request).await.map(Json)
}

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
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimBody {
    /// EIP-2718 encoding, hexadecimal.
    pub raw_transaction: String,
}

async fn claim(State(service): Service, Json(body): Json<ClaimBody>) -> Answer<serde_json::Value> {
    service.admit_stranger()?;
    service.submit_claim(&body.raw_transaction).await.map(Json)
}
