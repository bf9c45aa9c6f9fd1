//! `/metrics`: the figures of all parts of the agent in the text form of OpenMetrics.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hanse_chain::node::Node;
use hanse_discovery::Discovery;
use hanse_metrics::{Page, Reading, Registry};
use hanse_orchestrator::Orchestrator;
use hanse_orchestrator::api::Problem;
use hanse_swarm::Swarm;
use hanse_swarm::service::Flow;
use utoipa::OpenApi;

/// Which agent this is; its parts add their figures.
pub fn of_agent(domain: &str) -> Registry {
    let mut registry = Registry::default();
    let agent = prometheus_client::metrics::info::Info::new([
        hanse_metrics::escaped(("domain", domain.to_owned())),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    registry.register("hanse_agent", "Name of the domain, and version of its agent", agent);
    registry
}

/// The default swarm's figures.
#[derive(Debug)]
struct SwarmReading(Arc<Swarm>);

impl Reading for SwarmReading {
    fn read(&self, page: &mut Page<'_>) -> fmt::Result {
        let traffic = self.0.traffic();
        let mut both = |name: &str, help: &str, of: fn(&Flow) -> u64| {
            let label = |direction: &str| [("direction", direction.to_owned())];
            let values = [
                (label("sent"), of(&traffic.sent)),
                (label("received"), of(&traffic.received)),
            ];
            page.counters(name, help, values)
        };
        both(
            "hanse_swarm_messages",
            "Questions and answers by which members of the default swarm tell each other records",
            |flow| flow.messages,
        )?;
        both("hanse_swarm_records", "Records in them", |flow| flow.records)?;
        both(
            "hanse_swarm_record_bytes",
            "Their bytes, without what the layers below add",
            |flow| flow.record_bytes,
        )?;
        both("hanse_swarm_blocks", "Blocks of blobs in the default swarm", |flow| {
            flow.blocks
        })?;
        both("hanse_swarm_block_bytes", "Their bytes", |flow| flow.block_bytes)?;
        page.counter(
            "hanse_swarm_banned_peers",
            "Peers of the default swarm that sent a wrong block and are asked for nothing more",
            traffic.banned,
        )
    }
}

/// Has the figures of the default swarm asked at each scrape.
pub fn register_swarm(registry: &mut Registry, swarm: Arc<Swarm>) {
    hanse_metrics::register(registry, SwarmReading(swarm));
}

/// The figures of an agent with a ledger.
pub fn registry(domain: &str, node: Option<&Node>, orchestrator: &Orchestrator, discovery: &Discovery) -> Registry {
    let mut registry = of_agent(domain);
    if let Some(node) = node {
        node.register_metrics(&mut registry);
    }
    orchestrator.register_metrics(&mut registry);
    discovery.register_metrics(&mut registry);
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
