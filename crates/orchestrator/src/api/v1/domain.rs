//! The domain itself: health, members, how it bids, manifests.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{Api, Problem};
use crate::config::Bidding;
use crate::error::StepError;

/// How the domain is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HealthPage {
    /// Name of the domain.
    pub domain: String,
    /// Its ledger account.
    pub account: String,
    /// Whether it is a member of the consortium.
    pub member: bool,
    /// Newest block that this domain knows.
    pub ledger_height: Option<u64>,
    /// Members of the consortium.
    pub members: usize,
    /// What is wrong, in words; empty when all is well.
    pub troubles: Vec<String>,
}

impl HealthPage {
    async fn of(api: &Api) -> Self {
        let shared = api.shared();
        let mut troubles = Vec::new();
        let ledger_height = match shared.ledger.height().await {
            Ok(height) => Some(height),
            Err(error) => {
                troubles.push(format!("the ledger does not answer: {error}"));
                None
            }
        };
        let members = shared.ledger.members().await.unwrap_or_default();
        let member = members.iter().any(|member| member.account == shared.me());
        if ledger_height.is_some() && !member {
            troubles
                .push("this domain is not a member of the consortium; ask a member to propose its admission".into());
        }
        if let Err(error) = shared.cluster.client().apiserver_version().await {
            troubles.push(format!("the cluster does not answer: {error}"));
        }
        Self {
            domain: shared.config.domain.clone(),
            account: shared.me().to_string(),
            member,
            ledger_height,
            members: members.len(),
            troubles,
        }
    }
}

/// How the domain is; always 200 as long as the agent runs.
#[utoipa::path(get, path = "/api/v1/health", tag = "domain", responses((status = 200, body = HealthPage)))]
pub async fn health(State(api): State<Api>) -> Json<HealthPage> {
    Json(HealthPage::of(&api).await)
}

/// 200 when the domain can take part in agreements, else 503.
#[utoipa::path(get, path = "/api/v1/ready", tag = "domain",
    responses((status = 200, body = HealthPage), (status = 503, body = HealthPage)))]
pub async fn ready(State(api): State<Api>) -> Response {
    let page = HealthPage::of(&api).await;
    let status = if page.troubles.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(page)).into_response()
}

/// A member of the consortium.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MemberPage {
    /// Name of the domain.
    pub name: String,
    /// Ledger account.
    pub account: String,
    /// Base URL of its REST API.
    pub url: String,
    /// Where its ledger node takes consensus connections, a multiaddr.
    pub consensus_address: String,
    /// Ed25519 key with which it validates, hex.
    pub validator_key: String,
}

/// The members of the consortium; they are the ledger's validators.
#[utoipa::path(get, path = "/api/v1/members", tag = "domain",
    responses((status = 200, body = [MemberPage]), (status = 502, body = Problem)))]
pub async fn members(State(api): State<Api>) -> Result<Json<Vec<MemberPage>>, Problem> {
    let members = api.shared().ledger.members().await.map_err(StepError::from)?;
    let page = members.into_iter().map(|member| MemberPage {
        name: member.name,
        account: member.account.to_string(),
        url: member.url,
        consensus_address: member.consensus_address,
        validator_key: hex::encode(member.validator_key),
    });
    Ok(Json(page.collect()))
}

/// How this domain bids.
#[utoipa::path(get, path = "/api/v1/bidding", tag = "domain", responses((status = 200, body = Bidding)))]
pub async fn bidding(State(api): State<Api>) -> Result<Json<Bidding>, Problem> {
    Ok(Json(api.shared().bidding()?))
}

/// Changes how this domain bids; what was already promised stays promised.
#[utoipa::path(put, path = "/api/v1/bidding", tag = "domain", request_body = Bidding,
    responses((status = 200, body = Bidding)))]
pub async fn set_bidding(State(api): State<Api>, Json(bidding): Json<Bidding>) -> Result<Json<Bidding>, Problem> {
    api.orchestrator.set_bidding(bidding.clone()).await?;
    Ok(Json(bidding))
}

/// The manifest with this SHA-256 (hex), byte for byte.
#[utoipa::path(get, path = "/api/v1/manifests/{hash}", tag = "domain", params(("hash" = String, Path)),
    responses((status = 200, content_type = "application/yaml"), (status = 404, body = Problem)))]
pub async fn manifest(State(api): State<Api>, Path(hash): Path<String>) -> Result<Response, Problem> {
    let wanted = <[u8; 32]>::try_from(hex::decode(&hash).unwrap_or_default())
        .map_err(|_| Problem::invalid("a manifest is named by the 64 hex digits of its SHA-256"))?;
    match api.shared().store.manifest(&wanted)? {
        Some(bytes) => Ok(([(header::CONTENT_TYPE, "application/yaml")], Bytes::from(bytes)).into_response()),
        None => Err(Problem::not_found(format!("this domain does not hold manifest {hash}"))),
    }
}
