//! What a member's agent serves to those who have a token of some member: a newcomer's from its invite, a member's own.

use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::{B256, Bytes};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hanse_chain::snapshot::{ServeError, SnapshotServer};
use hanse_orchestrator::api::Problem;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::rate::Rate;
use super::super::service::{now, now_ms};
use super::super::token;
use super::TOKEN;

/// Requests in a burst and each second, and those that are answered at one time.
const FETCHES: (f64, f64, usize) = (400.0, 100.0, 4);

/// Serves snapshots to those who may have them, and not too often.
pub struct Gate {
    server: Arc<SnapshotServer>,
    /// Digest of the genesis document.
    genesis: B256,
    /// Requests of those with a token, and of others.
    rate: Mutex<Rate>,
    strangers: Mutex<Rate>,
    fetches: Arc<Semaphore>,
}

type Service = State<Arc<Gate>>;

impl Gate {
    /// For the ledger whose genesis document has this digest.
    pub fn new(server: Arc<SnapshotServer>, genesis: B256) -> Self {
        Self {
            server,
            genesis,
            rate: Mutex::new(Rate::full(FETCHES.0, FETCHES.1, now_ms())),
            strangers: Mutex::new(Rate::new(now_ms())),
            fetches: Arc::new(Semaphore::new(FETCHES.2)),
        }
    }

    /// Whether a request with this token is served now. It counts as long as the permit lives.
    ///
    /// # Errors
    /// 403 or 429.
    fn admit(&self, token: &str) -> Result<OwnedSemaphorePermit, Problem> {
        let allows = |rate: &Mutex<Rate>| rate.lock().unwrap_or_else(PoisonError::into_inner).allows(now_ms());
        let maker = token::maker(token, self.genesis, now());
        if !maker.is_ok_and(|maker| self.server.is_member(&maker)) {
            // Guessing costs as much as everything else that strangers do.
            if !allows(&self.strangers) {
                return Err(busy());
            }
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "refused",
                "Not without an invite",
                "the ledger is read only by members and by those they have invited; this token is of no member, or has expired",
            ));
        }
        let permit = allows(&self.rate).then(|| self.fetches.clone().try_acquire_owned().ok());
        permit.flatten().ok_or_else(busy)
    }

    /// Serves one request on a blocking thread, if it may be served now.
    async fn serve(
        &self,
        headers: &HeaderMap,
        read: impl FnOnce(&SnapshotServer) -> Result<Option<Bytes>, ServeError> + Send + 'static,
    ) -> Result<Response, Problem> {
        let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
        let _permit = self.admit(token.unwrap_or_default())?;
        let server = self.server.clone();
        let read = tokio::task::spawn_blocking(move || read(&server)).await;
        match read {
            Ok(Ok(Some(bytes))) => {
                Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes.to_vec()).into_response())
            }
            Ok(Ok(None)) => Err(Problem::not_found(
                "this is not kept here, or not any more; ask for the offer again",
            )),
            Ok(Err(error @ ServeError::Unavailable(_))) => Err(Problem::not_found(error.to_string())),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }
}

fn busy() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-requests",
        "Too many requests",
        "others fetch the ledger from here too; try again in a moment",
    )
}

fn unavailable(detail: String) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The snapshot can't be read",
        detail,
    )
}

/// The routes. Everything behind them needs a token.
pub fn routes(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/api/v1/ledger/snapshots/height", get(height))
        .route("/api/v1/ledger/snapshots/offer", get(offer))
        .route("/api/v1/ledger/snapshots/headers", get(headers))
        .route("/api/v1/ledger/snapshots/chunks/{hash}", get(chunk))
        .route("/api/v1/ledger/snapshots/blocks", get(blocks))
        .with_state(gate)
}

async fn height(State(gate): Service, headers: HeaderMap) -> Result<Response, Problem> {
    gate.serve(&headers, |server| {
        Ok(Some(server.height()?.to_string().into_bytes().into()))
    })
    .await
}

async fn offer(State(gate): Service, headers: HeaderMap) -> Result<Response, Problem> {
    gate.serve(&headers, |server| server.offer().map(Some)).await
}

#[derive(Deserialize)]
struct Range {
    from: u64,
    to: u64,
}

async fn headers(State(gate): Service, headers: HeaderMap, range: Query<Range>) -> Result<Response, Problem> {
    gate.serve(&headers, move |server| server.headers(range.from, range.to))
        .await
}

async fn blocks(State(gate): Service, headers: HeaderMap, range: Query<Range>) -> Result<Response, Problem> {
    gate.serve(&headers, move |server| server.blocks(range.from, range.to))
        .await
}

async fn chunk(State(gate): Service, headers: HeaderMap, Path(hash): Path<String>) -> Result<Response, Problem> {
    let hash: B256 = hash
        .parse()
        .map_err(|_| Problem::invalid("a chunk is named by 64 hexadecimal digits"))?;
    gate.serve(&headers, move |server| server.chunk(hash)).await
}
