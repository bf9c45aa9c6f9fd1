//! The domain itself: health, members, how it bids.

use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hanse_ledger::LedgerError;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
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
    /// What is wrong; empty when all is well.
    pub troubles: Vec<Trouble>,
}

/// Something that keeps the domain from taking part in agreements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// A name for programs: `no-quorum`, `syncing`, `standstill`, `state-root-mismatch`, `halted`, `starting`, `ledger`,
    /// `not-a-member` or `cluster`.
    pub reason: String,
    /// What is wrong, in words.
    pub detail: String,
    /// What to do about it.
    pub next_step: String,
}

impl Trouble {
    /// A trouble.
    pub fn new(reason: &str, detail: impl ToString, next_step: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            detail: detail.to_string(),
            next_step: next_step.to_owned(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.detail, self.next_step)
    }
}

/// How long the ledger and the cluster may take to say that they are well.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl HealthPage {
    async fn of(api: &Api) -> Self {
        let shared = api.shared();
        let mut troubles = (api.node_troubles)();
        let ledger = async {
            let height = shared.ledger.height().await?;
            Ok::<_, LedgerError>((height, shared.ledger.members().await?))
        };
        let cluster = shared.cluster.client().apiserver_version();
        let (ledger, cluster) = tokio::join!(timeout(ANSWER_WITHIN, ledger), timeout(ANSWER_WITHIN, cluster));
        let silent = || format!("no answer within {} s", ANSWER_WITHIN.as_secs());
        let ledger = ledger
            .map_err(|_| silent())
            .and_then(|it| it.map_err(|error| error.to_string()));
        let (ledger_height, members) = match ledger {
            Ok((height, members)) => (Some(height), members),
            Err(error) => {
                troubles.push(Trouble::new(
                    "ledger",
                    format!("the ledger does not answer: {error}"),
                    "see that the ledger node runs and that ledger.urls, if set, leads to it",
                ));
                (None, Vec::new())
            }
        };
        let member = members.iter().any(|member| member.account == shared.me());
        if ledger_height.is_some() && !member {
            troubles.push(Trouble::new(
                "not-a-member",
                "this domain is not a member of the consortium",
                "ask a member for an invite: hanse consortium request --bootstrap INVITE",
            ));
        }
        let cluster = cluster
            .map_err(|_| silent())
            .and_then(|it| it.map_err(|error| error.to_string()));
        if let Err(error) = cluster {
            troubles.push(Trouble::new(
                "cluster",
                format!("the cluster does not answer: {error}"),
                "see that its API server runs: kubectl version",
            ));
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

/// 200 as long as the agent runs; asks nobody else. For liveness probes: no trouble of others is mended by a restart.
#[utoipa::path(get, path = "/api/v1/live", tag = "domain", responses((status = 200, description = "The agent runs.")))]
pub async fn live() -> StatusCode {
    StatusCode::OK
}

/// 200 when the domain can take part in agreements, else 503 with the reasons: its ledger node is in sync, has a quorum, moves
/// and agrees with the others; the domain is a member; its cluster answers.
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
