//! The domain's own services.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{Api, Problem};
use crate::error::StepError;
use crate::model::{LocalService, Scenario, ServiceDefinition};
use crate::{manifests, parts, traffic};

/// What to deploy: a service of the catalogue by name, or a definition with its manifest.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRequest {
    /// Name in the agent's catalogue.
    #[serde(default)]
    pub catalogue: Option<String>,
    /// What it is, if it is not in the catalogue.
    #[serde(default)]
    pub definition: Option<ServiceDefinition>,
    /// YAML, if it is not in the catalogue.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Replicas of the component; those in the manifest unless said otherwise.
    #[serde(default)]
    pub replicas: Option<u32>,
}

/// A service and how it stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePage {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Where it runs.
    pub namespace: String,
    /// The part that can move alone.
    pub component: Option<String>,
    /// Replicas of the component that the owner asked for.
    pub replicas: u32,
    /// Those that the live agreements leave here.
    pub own_replicas: u32,
    /// Those that run here.
    pub running_replicas: u32,
    /// External addresses of its Services that run here.
    pub addresses: BTreeMap<String, String>,
    /// Whether all of it is ready.
    pub ready: bool,
    /// Why not.
    pub trouble: Option<String>,
    /// Whether it is being removed.
    pub removing: bool,
    /// CID of its manifest as it would be announced if all of it moved; an agreement about a part of it has another.
    pub manifest: String,
    /// Ids of live agreements about it.
    pub agreements: Vec<String>,
}

impl ServicePage {
    async fn of(api: &Api, service: &LocalService) -> Result<Self, Problem> {
        let records = api.shared().live_consumers_of(&service.definition.name)?;
        let running = match &service.definition.component {
            Some(component) => api
                .shared()
                .running_replicas(&service.namespace, component)
                .await?
                .unwrap_or(0),
            None => 0,
        };
        let (manifest, _) = parts::announced(service, Scenario::Whole, service.replicas)?;
        Ok(Self {
            name: service.definition.name.clone(),
            description: service.definition.description.clone(),
            namespace: service.namespace.clone(),
            component: service.definition.component.clone(),
            replicas: service.replicas,
            own_replicas: traffic::own_replicas(service.replicas, &records),
            running_replicas: running,
            addresses: api.shared().own_addresses(service).await?,
            ready: service.ready,
            trouble: service.trouble.clone(),
            removing: !service.wanted,
            manifest: manifests::cid(&manifests::hash(&manifest)).to_string(),
            agreements: records.iter().map(|record| record.id().to_string()).collect(),
        })
    }
}

/// All services of this domain.
#[utoipa::path(get, path = "/api/v1/services", tag = "services", responses((status = 200, body = [ServicePage])))]
pub async fn list(State(api): State<Api>) -> Result<Json<Vec<ServicePage>>, Problem> {
    let services = api.shared().store.services()?;
    let mut pages = Vec::with_capacity(services.len());
    for service in &services {
        pages.push(ServicePage::of(&api, service).await?);
    }
    Ok(Json(pages))
}

/// One service.
#[utoipa::path(get, path = "/api/v1/services/{name}", tag = "services", params(("name" = String, Path)),
    responses((status = 200, body = ServicePage), (status = 404, body = Problem)))]
pub async fn show(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<ServicePage>, Problem> {
    let service = api.shared().store.service(&name)?;
    let service = service.ok_or_else(|| Problem::not_found(format!("this domain has no service named {name}")))?;
    Ok(Json(ServicePage::of(&api, &service).await?))
}

/// Deploys a service into the own cluster; repeating it changes the service.
#[utoipa::path(post, path = "/api/v1/services", tag = "services", request_body = ServiceRequest,
    responses((status = 202, body = ServicePage), (status = 422, body = Problem)))]
pub async fn create(
    State(api): State<Api>,
    Json(request): Json<ServiceRequest>,
) -> Result<(StatusCode, Json<ServicePage>), Problem> {
    let (definition, manifest) = match request {
        ServiceRequest {
            catalogue: Some(name),
            definition: None,
            manifest: None,
            ..
        } => api.catalogue.load(&name).await?,
        ServiceRequest {
            catalogue: None,
            definition: Some(definition),
            manifest: Some(manifest),
            ..
        } => (definition, manifest),
        _ => {
            return Err(Problem::invalid(
                "give either `catalogue`, or `definition` and `manifest`",
            ));
        }
    };
    let service = api
        .orchestrator
        .put_service(definition, manifest, request.replicas)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(ServicePage::of(&api, &service).await?)))
}

/// Ends a service: its agreements are called off, its objects removed.
#[utoipa::path(delete, path = "/api/v1/services/{name}", tag = "services", params(("name" = String, Path)),
    responses((status = 202), (status = 404, body = Problem)))]
pub async fn remove(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    if api
        .orchestrator
        .remove_service(&name)
        .await
        .map_err(|error: StepError| Problem::from(error))?
    {
        Ok(StatusCode::ACCEPTED)
    } else {
        Err(Problem::not_found(format!("this domain has no service named {name}")))
    }
}
