//! The REST API: `/api/v1`, the routes of the system that this one replaces, and the OpenAPI page at `/docs`.

pub mod auth;
mod legacy;
mod openapi;
mod problem;
mod v1;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;

pub use auth::Access;
pub use problem::{Problem, UnfitDomain};
pub use v1::{AgreementPage, HealthPage, MemberPage, ServicePage, Trouble};

use crate::catalogue::Catalogue;
use crate::service::{Orchestrator, Shared};

const LARGEST_BODY: usize = 2 * 1024 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    orchestrator: Orchestrator,
    catalogue: Arc<Catalogue>,
    access: Access,
    listener: SocketAddr,
    node_troubles: NodeTroubles,
}

/// Tells what is wrong with this domain's own ledger node.
pub type NodeTroubles = Arc<dyn Fn() -> Vec<Trouble> + Send + Sync>;

impl Api {
    fn shared(&self) -> &Arc<Shared> {
        &self.orchestrator.shared
    }
}

/// Routes of other parts of the agent, which are served beside these.
pub struct Routes {
    /// For this domain's operator: whoever calls these must have the token, as for the orchestrator's own.
    pub operator: Router,
    /// For everybody. They must bound what they do themselves.
    pub strangers: Router,
    /// What these routes are.
    pub description: utoipa::openapi::OpenApi,
    /// What is wrong with the domain's own ledger node; nothing if it has none.
    pub node_troubles: NodeTroubles,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            operator: Router::new(),
            strangers: Router::new(),
            description: utoipa::openapi::OpenApi::default(),
            node_troubles: Arc::new(Vec::new),
        }
    }
}

/// All routes.
pub fn router(
    orchestrator: Orchestrator,
    catalogue: Catalogue,
    access: Access,
    listener: SocketAddr,
    others: Routes,
) -> Router {
    let api = Api {
        orchestrator,
        catalogue: Arc::new(catalogue),
        access,
        listener,
        node_troubles: others.node_troubles,
    };
    Router::new()
        .merge(v1::routes())
        .merge(legacy::routes())
        .merge(openapi::routes(others.description))
        .fallback(|| async { Problem::not_found("no such route; GET /docs lists them all") })
        .with_state(api.clone())
        .merge(others.operator)
        .layer(axum::middleware::from_fn_with_state(api, auth::require))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .merge(others.strangers)
}

/// Serves until the orchestrator stops; requests under way are finished.
pub async fn serve(listener: TcpListener, router: Router, orchestrator: Orchestrator) -> std::io::Result<()> {
    let stop = orchestrator.shared.stop.clone();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}
