//! `/metrics`: the figures of all parts of the agent in the text form of OpenMetrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hanse_chain::node::Node;
use hanse_metrics::Registry;
use hanse_orchestrator::Orchestrator;
use hanse_orchestrator::api::Problem;
use utoipa::OpenApi;

/// All figures of this agent.
pub fn registry(domain: &str, node: Option<&Node>, orchestrator: &Orchestrator) -> Registry {
    let mut registry = Registry::default();
    let agent = prometheus_client::metrics::info::Info::new([
        hanse_metrics::escaped(("domain", domain.to_owned())),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    registry.register("hanse_agent", "Name of the domain, and version of its agent", agent);
    if let Some(node) = node {
        node.register_metrics(&mut registry);
    }
    orchestrator.register_metrics(&mut registry);
    registry
}

/// The route.
pub fn routes(registry: Registry) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .with_state(Arc::new(registry))
}

#[derive(OpenApi)]
#[openapi(paths(scrape))]
pub struct Description;

/// The figures of this agent for Prometheus; docs/metrics.md says what they mean.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
async fn scrape(State(registry): State<Arc<Registry>>) -> Response {
    // Some figures are read from the disk.
    let text = tokio::task::spawn_blocking(move || hanse_metrics::text(&registry)).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, hanse_metrics::MEDIA_TYPE)], text).into_response(),
        failed => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "metrics",
            "The figures can't be read",
            format!("{failed:?}; see the agent's log"),
        )
        .into_response(),
    }
}
