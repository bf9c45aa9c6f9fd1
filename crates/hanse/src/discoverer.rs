//! An agent whose configuration names no ledger: it finds other domains and is found, and does nothing else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hanse_devcluster::DevCluster;
use hanse_discovery::Discovery;
use hanse_orchestrator::api::{Access, Problem};
use hanse_swarm::Swarm;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::{self, BACKLOG};
use crate::config::Config;
use crate::keys::DomainKeys;
use crate::{metrics, swarm};

/// How long requests under way may take when the agent stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Everything that runs.
pub struct Discoverer {
    swarm: Arc<Swarm>,
    development: Option<DevCluster>,
    discovery: Discovery,
    server: JoinHandle<std::io::Result<()>>,
    stop: CancellationToken,
}

/// `GET /api/v1/ready` of an agent without ledger.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReadyPage {
    pub domain: String,
    pub peer_id: String,
}

impl Discoverer {
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        agent::make_data_folder(config)?;
        let keys = DomainKeys::load(config)?;
        let socket = agent::reserve_api(config)?;
        let access = Access::for_listener(config.api.listen, agent::token(config)?)?;
        let swarm = swarm::start(config, &keys).await?;
        let (development, client) = agent::cluster(config).await?;
        let discovery = swarm::discover(config, &keys, &swarm, client, swarm::Told::nothing())?;
        let mut registry = metrics::of_agent(&config.domain);
        discovery.register_metrics(&mut registry);
        metrics::register_swarm(&mut registry, swarm.clone());
        let page = ReadyPage {
            domain: config.domain.clone(),
            peer_id: swarm.name().to_string(),
        };
        let page = Arc::new(page);
        let router = metrics::routes(registry)
            .layer(from_fn_with_state(Arc::new(access), require))
            .route("/api/v1/ready", get(move || async move { Json(page) }))
            .route("/api/v1/live", get(|| async { StatusCode::NO_CONTENT }))
            .fallback(|| async {
                Problem::not_found(
                    "no such route; without a ledger the agent serves /api/v1/ready, /api/v1/live and /metrics",
                )
            });
        let stop = CancellationToken::new();
        let listener = socket.listen(BACKLOG).with_context(|| agent::port_taken(config))?;
        let serve = axum::serve(listener, Router::new().merge(router));
        let server = tokio::spawn(
            serve
                .with_graceful_shutdown(stop.clone().cancelled_owned())
                .into_future(),
        );
        Ok(Self {
            swarm,
            development,
            discovery,
            server,
            stop,
        })
    }

    /// Returns when the API can no longer be served, and says why.
    pub async fn broken(&mut self) -> anyhow::Error {
        let served = (&mut self.server).await;
        anyhow::anyhow!("the REST API stopped: {served:?}")
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.discovery.shutdown().await;
        let _ = tokio::time::timeout(STOP_WITHIN, self.server).await;
        if let Some(development) = self.development {
            development.shutdown().await;
        }
        self.swarm.stop().await;
    }
}

async fn require(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.admits(request.headers()) {
        return next.run(request).await;
    }
    Problem::unauthorized("send `Authorization: Bearer TOKEN`; the token lies in the agent's api.tokenFile")
        .into_response()
}
