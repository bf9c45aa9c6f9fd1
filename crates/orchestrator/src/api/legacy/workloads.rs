//! Deploying and deleting, as the original's routes did with Helm.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, timeout_at};

use super::SERVICE;
use crate::api::{Api, Problem};
use crate::error::StepError;
use crate::model::Want;
use crate::parts;

type Answer = Result<Json<Value>, Problem>;

const WITHIN: Duration = Duration::from_secs(200);

/// `replicas`.
#[derive(Debug, Deserialize)]
pub struct DeployQuery {
    replicas: Option<u32>,
}

/// Deploys the service of the catalogue and waits until it is ready.
pub async fn deploy_service(State(api): State<Api>, Query(query): Query<DeployQuery>) -> Answer {
    let (definition, manifest) = api.catalogue.load(SERVICE).await?;
    api.orchestrator
        .put_service(definition, manifest, query.replicas)
        .await?;
    wait_ready(&api).await?;
    Ok(Json(json!({ "message": "Service deployed", "service": SERVICE })))
}

/// Waits until the service runs in this domain.
pub(super) async fn wait_ready(api: &Api) -> Result<(), Problem> {
    let until = Instant::now() + WITHIN;
    let mut changes = api.shared().changes.subscribe();
    loop {
        let service = api.shared().store.service(SERVICE)?;
        let service = service.ok_or_else(|| {
            Problem::conflict(format!(
                "{SERVICE} is not deployed here; POST /deploy_{}",
                "object_detection_service"
            ))
        })?;
        if service.ready {
            return Ok(());
        }
        if timeout_at(until, changes.changed()).await.is_err() {
            let trouble = service.trouble.unwrap_or_else(|| "it is still starting".into());
            return Err(Problem::timed_out(format!("{SERVICE} is not ready: {trouble}")));
        }
    }
}

/// Removes the service here, whether it is this domain's own or was deployed for another.
pub async fn delete_service(State(api): State<Api>) -> Answer {
    let own = api.orchestrator.remove_service(SERVICE).await?;
    let returned = return_federated(&api).await?;
    wait_gone(&api).await?;
    Ok(Json(
        json!({ "message": "Service deleted", "own": own, "federated": returned }),
    ))
}

/// Ends what runs here for others; returns how many agreements that were.
async fn return_federated(api: &Api) -> Result<usize, Problem> {
    let mut returned = 0;
    for record in api.shared().store.providers()? {
        if record.outcome.is_none() && record.deploying {
            api.shared()
                .update_provider(record.id, |record| record.want = Want::Terminate)
                .await?;
            returned += 1;
        }
    }
    Ok(returned)
}

async fn wait_gone(api: &Api) -> Result<(), Problem> {
    let until = Instant::now() + WITHIN;
    let mut changes = api.shared().changes.subscribe();
    loop {
        let store = &api.shared().store;
        let own = store.service(SERVICE)?.is_some_and(|service| !service.wanted);
        let federated = store
            .providers()?
            .iter()
            .any(|record| record.outcome.is_none() && record.deploying && record.want == Want::Terminate);
        if !own && !federated {
            return Ok(());
        }
        if timeout_at(until, changes.changed()).await.is_err() {
            return Err(Problem::timed_out(
                "the service is still being removed; look at GET /api/v1/agreements?live=true",
            ));
        }
    }
}

/// A provider deploys components by itself when its bid was chosen; there is nothing to start by hand.
pub async fn deploy_component(State(api): State<Api>) -> Answer {
    let running: Vec<String> = running_for_others(&api)?;
    if running.is_empty() {
        return Err(Problem::conflict(
            "no agreement asks this domain to run a component; a provider deploys by itself once its bid is chosen",
        ));
    }
    Ok(Json(
        json!({ "message": "Federated components run", "agreements": running }),
    ))
}

fn running_for_others(api: &Api) -> Result<Vec<String>, Problem> {
    let records = api.shared().store.providers()?.into_iter();
    let running = records.filter(|record| record.outcome.is_none() && record.sealed_endpoint.is_some());
    Ok(running.map(|record| record.id.to_string()).collect())
}

/// `{"domain": "provider", "pod_prefixes": ["object-detector-"]}`.
#[derive(Debug, Deserialize)]
pub struct DeleteComponent {
    domain: String,
    #[serde(default)]
    pod_prefixes: Vec<String>,
}

/// Ends the agreements under which the component runs here (`provider`), or removes the own component (`consumer`).
pub async fn delete_component(State(api): State<Api>, Json(request): Json<DeleteComponent>) -> Answer {
    match request.domain.as_str() {
        "provider" => {
            let returned = return_federated(&api).await?;
            wait_gone(&api).await?;
            Ok(Json(
                json!({ "message": "Federated component deleted", "federated": returned }),
            ))
        }
        "consumer" => {
            let shared = api.shared();
            let namespace = &shared.config.namespace;
            let prefixes: Vec<&str> = request.pod_prefixes.iter().map(String::as_str).collect();
            let deleted = shared.cluster.delete_pods_by_prefix(namespace, &prefixes, WITHIN).await;
            let names: Vec<String> = deleted
                .map_err(StepError::from)?
                .iter()
                .map(ToString::to_string)
                .collect();
            Ok(Json(json!({ "message": "Component deleted", "deleted": names })))
        }
        other => Err(Problem::invalid(format!(
            "domain {other:?}: use \"provider\" or \"consumer\""
        ))),
    }
}

/// `yaml_file`: a file in the agent's catalogue folder.
#[derive(Debug, Deserialize)]
pub struct ResourceQuery {
    yaml_file: String,
}

/// Applies a manifest of the catalogue to the own namespace.
pub async fn create_resource(State(api): State<Api>, Query(query): Query<ResourceQuery>) -> Answer {
    let manifest = parts::parse(&api.catalogue.file(&query.yaml_file).await?)?;
    let shared = api.shared();
    shared
        .cluster
        .apply(&shared.config.namespace, &manifest, &by_hand()?)
        .await
        .map_err(StepError::from)?;
    Ok(Json(
        json!({ "message": "Resource created", "yaml_file": query.yaml_file }),
    ))
}

/// Owner of what is created by these routes.
fn by_hand() -> Result<hanse_cluster::Owner, Problem> {
    hanse_cluster::Owner::new("by-hand").map_err(|error| Problem::invalid(error.to_string()))
}

/// Deletes what `create_k8s_resource` created.
pub async fn delete_resource(State(api): State<Api>, Query(query): Query<ResourceQuery>) -> Answer {
    let manifest = parts::parse(&api.catalogue.file(&query.yaml_file).await?)?;
    let shared = api.shared();
    shared
        .cluster
        .delete(&shared.config.namespace, &manifest, &by_hand()?, WITHIN)
        .await
        .map_err(StepError::from)?;
    Ok(Json(
        json!({ "message": "Resource deleted", "yaml_file": query.yaml_file }),
    ))
}

/// Removes every service of this domain, and everything it runs for others.
pub async fn delete_all(State(api): State<Api>) -> Answer {
    let mut names = Vec::new();
    for service in api.shared().store.services()? {
        api.orchestrator.remove_service(&service.definition.name).await?;
        names.push(service.definition.name);
    }
    let returned = return_federated(&api).await?;
    wait_gone(&api).await?;
    Ok(Json(
        json!({ "message": "Everything deleted", "services": names, "federated": returned }),
    ))
}
