//! Whole experiments with one call.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::SERVICE;
use super::workloads::wait_ready;
use crate::api::v1::agreements::{AgreementPage, wait_settled};
use crate::api::{Api, Problem};
use crate::model::{Outcome, Scenario};
use crate::request::FederationRequest;

type Answer = Result<Json<Value>, Problem>;

const WITHIN: Duration = Duration::from_secs(600);

/// `export_to_csv` and `replicas`.
#[derive(Debug, Deserialize)]
pub struct ExperimentQuery {
    #[serde(default)]
    export_to_csv: bool,
    replicas: Option<u32>,
}

/// Scenario 1.
pub async fn consumer_whole(state: State<Api>, query: Query<ExperimentQuery>) -> Answer {
    consumer(state.0, query.0, Scenario::Whole).await
}

/// Scenario 2.
pub async fn consumer_component(state: State<Api>, query: Query<ExperimentQuery>) -> Answer {
    consumer(state.0, query.0, Scenario::Component).await
}

/// Scenario 3.
pub async fn consumer_scale(state: State<Api>, query: Query<ExperimentQuery>) -> Answer {
    consumer(state.0, query.0, Scenario::Scale).await
}

async fn consumer(api: Api, query: ExperimentQuery, scenario: Scenario) -> Answer {
    wait_ready(&api).await?;
    let request = FederationRequest {
        replicas: query.replicas,
        ..FederationRequest::new(SERVICE, scenario)
    };
    let record = api.orchestrator.federate(&request).await?;
    let page = wait_settled(&api, record.id(), Instant::now() + WITHIN).await?;
    if let Some(Outcome::Cancelled { reason } | Outcome::Expired { reason }) = &page.outcome {
        return Err(Problem::conflict(format!(
            "agreement {} came to nothing: {reason}",
            page.id
        )));
    }
    let csv = if query.export_to_csv {
        Some(export(&api, &page).await?)
    } else {
        None
    };
    Ok(Json(json!({
        "message": format!("Federation of {SERVICE} ({scenario}) finished"),
        "service_id": page.id,
        "csv": csv,
        "agreement": page,
    })))
}

async fn export(api: &Api, page: &AgreementPage) -> Result<String, Problem> {
    let origin = page
        .requested_ms
        .or(page.timeline.first().map(|mark| mark.at_ms))
        .unwrap_or_default();
    let mut timeline = crate::model::Timeline::default();
    for mark in &page.timeline {
        timeline.mark(mark.step, mark.at_ms);
    }
    let short = page.id.trim_start_matches("0x").get(..8).unwrap_or("agreement");
    let path = api
        .shared()
        .config
        .experiments
        .join(format!("federation_{}_{short}.csv", page.role));
    let failed = |error: std::io::Error| Problem::conflict(format!("{} can't be written: {error}", path.display()));
    tokio::fs::create_dir_all(&api.shared().config.experiments)
        .await
        .map_err(failed)?;
    tokio::fs::write(&path, timeline.csv(origin)).await.map_err(failed)?;
    Ok(path.display().to_string())
}

/// Makes sure that this domain bids. With `export_to_csv`, writes the steps of the next agreement it provides for.
pub async fn provider(State(api): State<Api>, Query(query): Query<ExperimentQuery>) -> Answer {
    let mut bidding = api.shared().bidding()?;
    if !bidding.enabled {
        bidding.enabled = true;
        api.orchestrator.set_bidding(bidding).await?;
    }
    if query.export_to_csv {
        let (exporter, stop) = (api.clone(), api.shared().stop.clone());
        api.shared().tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                result = tokio::time::timeout(WITHIN, export_next_provided(&exporter)) => match result {
                    Ok(Ok(path)) => tracing::info!(path, "experiment written"),
                    Ok(Err(problem)) => tracing::warn!(problem = problem.detail, "experiment not written"),
                    Err(_) => tracing::warn!("no agreement within {} s; no experiment written", WITHIN.as_secs()),
                },
            }
        });
    }
    Ok(Json(
        json!({ "message": "Listening for service announcements", "export_to_csv": query.export_to_csv }),
    ))
}

async fn export_next_provided(api: &Api) -> Result<String, Problem> {
    let known: Vec<_> = api.shared().store.providers()?.iter().map(|record| record.id).collect();
    let mut changes = api.shared().changes.subscribe();
    loop {
        for record in api.shared().store.providers()? {
            if known.contains(&record.id) || record.sealed_endpoint.is_none() {
                continue;
            }
            let page = wait_settled(api, record.id, Instant::now() + WITHIN).await?;
            return export(api, &page).await;
        }
        changes
            .changed()
            .await
            .map_err(|_| Problem::conflict("the agent is stopping"))?;
    }
}
