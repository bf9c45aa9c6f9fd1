//! The swarm's routes, for this domain's operator.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use hanse_agreement::Account;
use hanse_ledger::Ledger;
use hanse_orchestrator::api::Problem;
use hanse_swarm::Swarm;
use hanse_swarm::service::Stopped;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

use super::pages::{PeerPage, SwarmPage};

/// What the routes read.
pub struct Seen {
    swarm: Arc<Swarm>,
    ledger: Ledger,
}

type Service = State<Arc<Seen>>;

/// The routes.
pub fn routes(swarm: Arc<Swarm>, ledger: Ledger) -> Router {
    Router::new()
        .route("/api/v1/swarm", get(status))
        .route("/api/v1/swarm/peers", get(peers))
        .with_state(Arc::new(Seen { swarm, ledger }))
}

/// Their description.
#[derive(OpenApi)]
#[openapi(paths(status, peers))]
pub struct Description;

fn left(_: Stopped) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The swarm was left",
        "the agent is stopping",
    )
}

/// How this domain is in its swarm.
#[utoipa::path(get, path = "/api/v1/swarm", tag = "swarm",
    responses((status = 200, body = SwarmPage), (status = 503, body = Problem)))]
async fn status(State(seen): Service) -> Result<Json<SwarmPage>, Problem> {
    let status = seen.swarm.status().await.map_err(left)?;
    let peers = seen.swarm.peers().await.map_err(left)?.len();
    Ok(Json(SwarmPage::new(seen.swarm.name().to_string(), peers, &status)))
}

/// Which peers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only those that offer this.
    category: Option<String>,
}

/// The other domains of the swarm. Who is a member is what the ledger says; everything else are their own words.
#[utoipa::path(get, path = "/api/v1/swarm/peers", tag = "swarm", params(Wanted),
    responses((status = 200, body = [PeerPage]), (status = 503, body = Problem)))]
async fn peers(State(seen): Service, Query(wanted): Query<Wanted>) -> Result<Json<Vec<PeerPage>>, Problem> {
    // Without the ledger it is not known who is a member; the swarm is shown all the same.
    let members = seen.ledger.members().await.unwrap_or_default();
    let members: HashMap<String, (String, Account)> = members
        .into_iter()
        .map(|member| {
            (
                member.info.peerId,
                (member.info.name, Account(member.info.account.into_array())),
            )
        })
        .collect();
    let peers = seen.swarm.peers().await.map_err(left)?;
    let mut pages: Vec<PeerPage> = peers.iter().map(|peer| PeerPage::new(peer, &members)).collect();
    if let Some(category) = wanted.category {
        pages.retain(|page| page.categories.contains(&category));
    }
    pages.sort_by(|a, b| (&a.name, &a.peer_id).cmp(&(&b.name, &b.peer_id)));
    Ok(Json(pages))
}
