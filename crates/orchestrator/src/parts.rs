//! What a manifest is made of, as far as federation has to know.

use std::collections::BTreeSet;

use hanse_cluster::{KindPolicy, Manifest, ManifestError, Object, SecretValues};
use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec};

use crate::error::StepError;
use crate::model::{LocalService, Scenario};
use crate::wiring::{self, Wire};

impl From<ManifestError> for StepError {
    fn from(error: ManifestError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// Reads a manifest under the rules for what may be deployed.
pub fn parse(yaml: &str) -> Result<Manifest, StepError> {
    Ok(Manifest::parse(yaml, &KindPolicy::default())?)
}

/// The names of the Deployments.
pub fn deployments(manifest: &Manifest) -> BTreeSet<String> {
    manifest
        .deployments()
        .filter_map(|deployment| deployment.metadata.name.clone())
        .collect()
}

/// The names of the Services.
pub fn services(manifest: &Manifest) -> BTreeSet<String> {
    manifest
        .services()
        .filter_map(|service| service.metadata.name.clone())
        .collect()
}

/// The ConfigMaps and their names.
pub fn config_maps(manifest: &Manifest) -> impl Iterator<Item = (&str, &ConfigMap)> {
    manifest.objects().iter().filter_map(|object| match object {
        Object::ConfigMap(found) => Some((found.metadata.name.as_deref()?, found)),
        _ => None,
    })
}

/// The wires of all ConfigMaps.
pub fn wires(manifest: &Manifest) -> Result<Vec<Wire>, StepError> {
    let mut wires = Vec::new();
    for (name, config_map) in config_maps(manifest) {
        let annotations = config_map.metadata.annotations.as_ref();
        if let Some(annotation) = annotations.and_then(|annotations| annotations.get(wiring::ANNOTATION)) {
            wires.extend(wiring::parse(name, annotation).map_err(|error| StepError::Unusable(error.to_string()))?);
        }
    }
    Ok(wires)
}

/// Replicas of a Deployment as the manifest says.
pub fn replicas(manifest: &Manifest, deployment: &str) -> Option<u32> {
    let found = manifest
        .deployments()
        .find(|found| found.metadata.name.as_deref() == Some(deployment))?;
    found.spec.replicas.and_then(|replicas| u32::try_from(replicas).ok())
}

/// The Deployments whose pods read a ConfigMap into their environment; these see a change only when they are rolled out.
pub fn deployments_reading(manifest: &Manifest, config_map: &str) -> BTreeSet<String> {
    let reading = manifest.deployments().filter(|deployment| {
        deployment
            .spec
            .template
            .spec
            .as_ref()
            .is_some_and(|pod| reads(pod, config_map))
    });
    reading
        .filter_map(|deployment| deployment.metadata.name.clone())
        .collect()
}

fn reads(pod: &PodSpec, config_map: &str) -> bool {
    let by_name = |name: Option<&str>| name == Some(config_map);
    let in_container = |container: &Container| {
        let variables = container
            .env
            .iter()
            .flatten()
            .filter_map(|variable| variable.value_from.as_ref());
        let mut keys = variables.filter_map(|source| source.config_map_key_ref.as_ref());
        let mut whole = container
            .env_from
            .iter()
            .flatten()
            .filter_map(|source| source.config_map_ref.as_ref());
        keys.any(|key| by_name(Some(key.name.as_str()))) || whole.any(|map| by_name(Some(map.name.as_str())))
    };
    pod.containers
        .iter()
        .chain(pod.init_containers.iter().flatten())
        .any(in_container)
}

/// What of [`moved`] is announced, as the bytes whose hash goes on the ledger, and the values of Secrets, which are sealed.
pub fn announced(
    service: &LocalService,
    scenario: Scenario,
    replicas: u32,
) -> Result<(Vec<u8>, SecretValues), StepError> {
    let all = parse(&service.manifest)?;
    let (public, secrets) = moved(service, &all, scenario, replicas)?.without_secret_values();
    let yaml = public
        .to_yaml()
        .map_err(|error| StepError::Unusable(error.to_string()))?;
    Ok((yaml.into_bytes(), secrets))
}

/// What goes to the provider, with as many replicas of the component as are asked for.
pub fn moved(service: &LocalService, all: &Manifest, scenario: Scenario, replicas: u32) -> Result<Manifest, StepError> {
    match (scenario, &service.definition.component) {
        (Scenario::Whole, None) => Ok(all.clone()),
        (Scenario::Whole, Some(component)) => Ok(all.with_replicas(component, replicas)?),
        (Scenario::Component | Scenario::Scale, Some(component)) => {
            Ok(all.only(&[component])?.with_replicas(component, replicas)?)
        }
        (Scenario::Component | Scenario::Scale, None) => Err(StepError::Unusable(format!(
            "service {} names no component that could be moved alone; use scenario whole, or set `component`",
            service.definition.name
        ))),
    }
}
