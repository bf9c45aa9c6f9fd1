//! Putting a service into a cluster so that its parts find each other: Services first, because the addresses they get go
//! into the ConfigMaps that the rest is started with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hanse_cluster::{AddressError, Cluster, ClusterError, Exposure, Kind, Manifest, NotReady, Owner};

use crate::error::StepError;
use crate::model::{Endpoint, ExternalAddress, Parameters};
use crate::parts;
use crate::wiring;

/// Why a deployment did not come up.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The workload itself can't run here; trying again does not help.
    #[error("{0}")]
    NotReady(#[from] NotReady),
    /// Something around it failed.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl From<ClusterError> for DeployError {
    fn from(error: ClusterError) -> Self {
        Self::Step(error.into())
    }
}

impl From<AddressError> for DeployError {
    fn from(error: AddressError) -> Self {
        match error {
            AddressError::NotReady(cause) => Self::NotReady(cause),
            AddressError::Cluster(error) => error.into(),
        }
    }
}

/// Where a manifest is to run, and for whom.
pub struct Place<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
    pub owner: &'a Owner,
    /// The domain that runs it.
    pub domain: &'a str,
}

impl Place<'_> {
    /// Deploys `manifest` and waits until all of it is ready and reachable. Safe to repeat.
    pub async fn deploy(
        &self,
        manifest: &Manifest,
        parameters: &Parameters,
        within: Duration,
    ) -> Result<Endpoint, DeployError> {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        let wires = parts::wires(manifest)?;
        let present: BTreeSet<&str> = parts::config_maps(manifest).map(|(name, _)| name).collect();
        self.cluster
            .apply(self.namespace, &manifest.of_kinds(&[Kind::Service]), self.owner)
            .await?;
        let services = self.external_addresses(manifest, left()).await?;
        let hosts: BTreeMap<String, String> = services
            .iter()
            .map(|(name, address)| (name.clone(), address.host.clone()))
            .collect();

        let mut config = wiring::values(&wires, &hosts, Some(self.domain));
        for (config_map, values) in &parameters.config {
            if !present.contains(config_map.as_str()) {
                let reason = format!("the parameters name ConfigMap {config_map}, which the manifest lacks");
                return Err(StepError::Unusable(reason).into());
            }
            config.entry(config_map.clone()).or_default().extend(values.clone());
        }
        let wired = manifest
            .override_config(&config)
            .and_then(|wired| wired.with_secret_values(&parameters.secrets))
            .map_err(|error| StepError::Unusable(error.to_string()))?;
        self.cluster.apply(self.namespace, &wired, self.owner).await?;
        self.cluster.wait_ready(self.namespace, &wired, left()).await?;

        let mut replicas = BTreeMap::new();
        for deployment in parts::deployments(&wired) {
            let found = self.cluster.replicas(self.namespace, &deployment).await?;
            replicas.insert(deployment, found.available);
        }
        Ok(Endpoint { services, replicas })
    }

    /// The external addresses of the manifest's Services, when all that are to have one have it.
    pub async fn external_addresses(
        &self,
        manifest: &Manifest,
        within: Duration,
    ) -> Result<BTreeMap<String, ExternalAddress>, DeployError> {
        let found = self
            .cluster
            .addresses(self.namespace, manifest, Exposure::LoadBalancer, within)
            .await?;
        let external = found.into_iter().filter_map(|address| {
            let host = address.hosts.first()?.to_string();
            let ports = address
                .ports
                .iter()
                .map(|port| (port.name.clone().unwrap_or_else(|| port.port.to_string()), port.port));
            Some((
                address.service,
                ExternalAddress {
                    host,
                    ports: ports.collect(),
                },
            ))
        });
        Ok(external.collect())
    }

    /// The external address of one Service.
    pub async fn external_address(&self, service: &str, within: Duration) -> Result<String, DeployError> {
        let found = self
            .cluster
            .service_address(self.namespace, service, Exposure::LoadBalancer, within)
            .await?;
        let host = found.and_then(|address| address.hosts.into_iter().next());
        let host = host.ok_or_else(|| StepError::Unusable(format!("Service {service} is not of type LoadBalancer")))?;
        Ok(host.to_string())
    }
}
