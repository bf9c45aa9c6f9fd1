//! Snapshots between domains: what a member serves to those it has invited, and how a newcomer fetches it.

use std::io::IsTerminal;
use std::time::Duration;

use alloy::primitives::{B256, Bytes};
use anyhow::Context;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hanse_chain::snapshot::{self, Outcome, Progress, ServeError, SnapshotServer, Source, SourceError, wire};
use hanse_orchestrator::api::Problem;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::sync::Arc;
use tokio::runtime::Handle;
use url::Url;

use super::invite::Invite;
use super::remote;
use super::service::Consortium;
use crate::config::Config;

/// The header in which an invite's token is sent.
const TOKEN: &str = "x-hanse-invite";

/// One request may take this long.
const WITHIN: Duration = Duration::from_secs(60);

type Service = State<Arc<Consortium>>;

/// Routes for those who bring an invite of this domain.
pub fn routes() -> Router<Arc<Consortium>> {
    Router::new()
        .route("/api/v1/ledger/snapshots/offer", get(offer))
        .route("/api/v1/ledger/snapshots/headers", get(headers))
        .route("/api/v1/ledger/snapshots/chunks/{hash}", get(chunk))
}

/// Serves one request on a blocking thread, if it may be served now.
async fn serve(
    service: &Consortium,
    headers: &HeaderMap,
    read: impl FnOnce(&SnapshotServer) -> Result<Option<Bytes>, ServeError> + Send + 'static,
) -> Result<Response, Problem> {
    let token = headers.get(TOKEN).and_then(|token| token.to_str().ok());
    let _permit = service.admit_fetch(token.unwrap_or_default())?;
    let server = service.node()?.snapshots.clone();
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

fn unavailable(detail: String) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The snapshot can't be read",
        detail,
    )
}

async fn offer(State(service): Service, headers: HeaderMap) -> Result<Response, Problem> {
    serve(&service, &headers, |server| server.offer().map(Some)).await
}

#[derive(Deserialize)]
struct Range {
    from: u64,
    to: u64,
}

async fn headers(State(service): Service, headers: HeaderMap, range: Query<Range>) -> Result<Response, Problem> {
    serve(&service, &headers, move |server| server.headers(range.from, range.to)).await
}

async fn chunk(State(service): Service, headers: HeaderMap, Path(hash): Path<String>) -> Result<Response, Problem> {
    let hash: B256 = hash
        .parse()
        .map_err(|_| Problem::invalid("a chunk is named by 64 hexadecimal digits"))?;
    serve(&service, &headers, move |server| server.chunk(hash)).await
}

/// A member that has invited this domain.
struct Member {
    name: String,
    url: Url,
    token: String,
    http: reqwest::Client,
    runtime: Handle,
}

impl Member {
    fn get(&self, path: &str, most: usize) -> Result<Vec<u8>, SourceError> {
        let away = |error: reqwest::Error| SourceError::Away(error.to_string());
        let answer = async {
            let url = self
                .url
                .join(path)
                .map_err(|error| SourceError::Nothing(error.to_string()))?;
            let request = self.http.get(url).header(TOKEN, &self.token).timeout(WITHIN);
            let mut response = request.send().await.map_err(away)?;
            let mut body = Vec::new();
            while let Some(part) = response.chunk().await.map_err(away)? {
                body.extend_from_slice(&part);
                if body.len() > most {
                    return Err(SourceError::Nothing(format!("it answers more than {most} bytes")));
                }
            }
            let status = response.status();
            if status.is_success() {
                return Ok(body);
            }
            let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
            let reason = detail.map_or_else(|| format!("it answers {status}"), str::to_owned);
            if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
                Err(SourceError::Away(reason))
            } else {
                Err(SourceError::Nothing(reason))
            }
        };
        self.runtime.block_on(answer)
    }
}

impl Source for Member {
    fn name(&self) -> &str {
        &self.name
    }

    fn offer(&self) -> Result<Vec<u8>, SourceError> {
        self.get("api/v1/ledger/snapshots/offer", wire::MAX_ANSWER)
    }

    fn headers(&self, from: u64, to: u64) -> Result<Vec<u8>, SourceError> {
        let path = format!("api/v1/ledger/snapshots/headers?from={from}&to={to}");
        self.get(&path, wire::MAX_ANSWER)
    }

    fn chunk(&self, hash: B256) -> Result<Vec<u8>, SourceError> {
        self.get(&format!("api/v1/ledger/snapshots/chunks/{hash}"), wire::MAX_CHUNK)
    }
}

/// Fetches a snapshot into the ledger's folder, if this domain was invited and has no ledger yet.
pub async fn fetch(config: &Config, settings: snapshot::Settings) -> anyhow::Result<()> {
    let invites = config.consortium.invite.iter().chain(&config.ledger.snapshot.invites);
    let invites: Vec<&Invite> = invites.filter(|invite| invite.token.is_some()).collect();
    if invites.is_empty() {
        return Ok(());
    }
    let digest = settings.genesis.digest();
    let (http, runtime) = (remote::client()?, Handle::current());
    let mut members: Vec<Box<dyn Source>> = Vec::new();
    for invite in invites {
        anyhow::ensure!(
            invite.genesis == digest,
            "the invite of {} is for another ledger than genesis.json",
            invite.url
        );
        members.push(Box::new(Member {
            name: invite.url.to_string(),
            url: invite.url.clone(),
            token: invite.token.clone().unwrap_or_default(),
            http: http.clone(),
            runtime: runtime.clone(),
        }));
    }
    let work = move || {
        let mut shown = Shown::default();
        let outcome = snapshot::fetch(&settings, members, &|| false, &mut |progress| shown.show(progress));
        shown.bar.finish_and_clear();
        outcome
    };
    let outcome = tokio::task::spawn_blocking(work).await?;
    match outcome.context("the ledger's snapshot could not be fetched")? {
        Outcome::NotNeeded => {}
        Outcome::Installed { height } => tracing::info!(height, "joined by snapshot; going on from there"),
        Outcome::Unavailable(reasons) => {
            tracing::warn!(reasons, "no snapshot; the ledger is replayed from its beginning");
        }
    }
    Ok(())
}

/// Progress: a bar on a terminal, otherwise a line of the log for each tenth.
struct Shown {
    bar: ProgressBar,
    stage: Option<(&'static str, u64)>,
}

impl Default for Shown {
    fn default() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(1)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, stage: None }
    }
}

impl Shown {
    fn show(&mut self, progress: Progress) {
        let (what, done, total) = match progress {
            Progress::Headers { done, total } => ("checking headers", done, total),
            Progress::State { done, total } => ("fetching the state", done as u64, total as u64),
            Progress::Installing => ("building the state", 0, 1),
        };
        self.bar.set_message(what);
        self.bar.set_length(total);
        self.bar.set_position(done);
        let stage = Some((what, done * 10 / total.max(1)));
        if self.stage != stage {
            self.stage = stage;
            tracing::info!(done, total, "{what}");
        }
    }
}
