//! The HTTP side of each program: probes, metrics, and a server that is bounded and stops in time.

mod bounded;

use std::{
    fmt::{Display, Write as _},
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::bounded::Bounded;

/// `/healthz` (the process answers) and `/readyz` (it does its work; else 503 and why not).
pub fn probes<S: Clone + Send + Sync + 'static>(
    ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
) -> Router<S> {
    let readyz = move || {
        let state = ready();
        async move {
            match state {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
            }
        }
    };
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
}

/// Serves until `stop`, then lets running requests end for a moment and cuts the rest (a live picture never ends).
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let server = axum::serve(Bounded::new(listener), router);
    let graceful = server.with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        result = graceful => if let Err(error) = result {
            tracing::error!(%error, "HTTP server ended");
        },
        () = async {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        } => {}
    }
}

/// Metrics in the Prometheus text format (version 0.0.4).
#[derive(Debug, Default)]
pub struct Metrics(String);

impl Metrics {
    /// A value that only grows.
    #[must_use]
    pub fn counter(self, name: &str, help: &str, value: impl Display) -> Self {
        self.metric("counter", name, help, value)
    }

    /// A value that goes up and down.
    #[must_use]
    pub fn gauge(self, name: &str, help: &str, value: impl Display) -> Self {
        self.metric("gauge", name, help, value)
    }

    fn metric(mut self, kind: &str, name: &str, help: &str, value: impl Display) -> Self {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        self
    }

    /// The response to a scrape.
    #[must_use]
    pub fn response(self) -> ([(&'static str, &'static str); 1], String) {
        ([("content-type", "text/plain; version=0.0.4")], self.0)
    }
}
