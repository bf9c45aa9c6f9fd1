//! A domain's own services in its own cluster: deployed for its users, and adjusted to what the live agreements leave of
//! them. Everything is derived from the records, so each function may be repeated at any time.

use std::collections::BTreeMap;
use std::time::Duration;

use hanse_agreement::AgreementId;
use hanse_cluster::{ClusterError, Manifest, Owner, Permanent};
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::deploy::{DeployError, Place};
use crate::error::StepError;
use crate::model::{LocalService, Parameters, Scenario};
use crate::service::Shared;
use crate::wiring::{self, Source, Wire};
use crate::{parts, traffic};

const ADDRESS: Duration = Duration::from_secs(30);
const ROLL_OUT: Duration = Duration::from_secs(60);
const REMOVAL: Duration = Duration::from_secs(60);

impl Shared {
    /// The external address of one of the domain's own Services.
    pub(crate) async fn own_host(&self, service: &LocalService, name: &str) -> Result<String, StepError> {
        let only_it = self
            .place(service, &service_owner(service)?)
            .external_address(name, ADDRESS)
            .await;
        only_it.map_err(not_yet)
    }

    /// Values for the wires of `part` whose Services lie outside it, in the domain's own cluster.
    pub(crate) async fn addresses_from_outside(
        &self,
        service: &LocalService,
        part: &Manifest,
    ) -> Result<Parameters, StepError> {
        let inside = parts::services(part);
        let outside: Vec<Wire> = parts::wires(part)?
            .into_iter()
            .filter(|wire| matches!(&wire.source, Source::Service(name) if !inside.contains(name)))
            .collect();
        let mut hosts = BTreeMap::new();
        for wire in &outside {
            if let Source::Service(name) = &wire.source {
                hosts.insert(name.clone(), self.own_host(service, name).await?);
            }
        }
        Ok(Parameters {
            config: wiring::values(&outside, &hosts, None),
            ..Parameters::default()
        })
    }

    /// Writes where the component's traffic goes into the ConfigMaps that are wired to it, and rolls out what reads them.
    pub(crate) async fn point_traffic(
        &self,
        service: &LocalService,
        restoring: Option<AgreementId>,
    ) -> Result<(), StepError> {
        let Some(component) = &service.definition.component else {
            return Ok(());
        };
        let all = parts::parse(&service.manifest)?;
        let records = self.live_consumers_of(&service.definition.name)?;
        let own = if traffic::keeps_a_share(&records, restoring) {
            Some(self.own_host(service, component).await?)
        } else {
            None
        };
        let value = traffic::destinations(own.as_deref(), component, &records, restoring).join(",");
        let mut rolled_out = Vec::new();
        for wire in parts::wires(&all)? {
            if wire.source != Source::Service(component.clone()) {
                continue;
            }
            self.cluster
                .patch_config_map(&service.namespace, &wire.config_map, &wire.key, &value)
                .await?;
            for deployment in parts::deployments_reading(&all, &wire.config_map) {
                // Named after the value: a restart that was already made for it is not made again.
                self.cluster
                    .rollout_for(&service.namespace, &deployment, &value)
                    .await?;
                rolled_out.push(deployment);
            }
        }
        for deployment in rolled_out {
            self.wait_rollout(service, &deployment).await?;
        }
        Ok(())
    }

    /// Brings the own share of a service to what the live agreements leave of it.
    pub(crate) async fn settle_own_share(&self, name: &str) -> Result<(), StepError> {
        let service = self.local_service(name)?;
        let all = parts::parse(&service.manifest)?;
        let records = self.live_consumers_of(name)?;
        let given = |scenario| {
            records
                .iter()
                .any(|r| r.scenario == scenario && r.stage.gives_share_away())
        };
        if !service.wanted || given(Scenario::Whole) {
            return self.delete_own(&service, &all).await;
        }
        let Some(component) = &service.definition.component else {
            return self.deploy_own(&service, &all).await;
        };
        let part = all.only(&[component])?;
        if given(Scenario::Component) {
            return self.delete_component(&service, &all.without(&[component])?).await;
        }
        let replicas = traffic::own_replicas(service.replicas, &records);
        if !self.runs(&service, &all.without(&[component])?).await? {
            return self
                .deploy_own(&service, &all.with_replicas(component, replicas)?)
                .await;
        }
        if !self.runs(&service, &part).await? {
            return self
                .deploy_own(&service, &part.with_replicas(component, replicas)?)
                .await;
        }
        self.cluster.scale(&service.namespace, component, replicas).await?;
        self.wait_rollout(&service, component).await
    }

    async fn deploy_own(&self, service: &LocalService, part: &Manifest) -> Result<(), StepError> {
        let parameters = self.addresses_from_outside(service, part).await?;
        self.cluster.ensure_namespace(&service.namespace, None).await?;
        let owner = service_owner(service)?;
        let deployed = self
            .place(service, &owner)
            .deploy(part, &parameters, self.config.deploy_timeout)
            .await;
        deployed.map(drop).map_err(not_yet)
    }

    async fn delete_own(&self, service: &LocalService, part: &Manifest) -> Result<(), StepError> {
        self.cluster
            .delete(&service.namespace, part, &service_owner(service)?, REMOVAL)
            .await?;
        Ok(())
    }

    /// Deletes everything of the service but `keep`: what the component shares with the rest stays.
    async fn delete_component(&self, service: &LocalService, keep: &Manifest) -> Result<(), StepError> {
        let owner = service_owner(service)?;
        self.cluster
            .prune(&service.namespace, &owner, Some(keep), REMOVAL)
            .await?;
        Ok(())
    }

    /// Whether all Deployments of `part` exist in the own cluster.
    async fn runs(&self, service: &LocalService, part: &Manifest) -> Result<bool, StepError> {
        for deployment in parts::deployments(part) {
            if self.running_replicas(&service.namespace, &deployment).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Replicas of a Deployment that are available; `None` if there is no such Deployment.
    pub(crate) async fn running_replicas(&self, namespace: &str, deployment: &str) -> Result<Option<u32>, StepError> {
        match self.cluster.replicas(namespace, deployment).await {
            Ok(found) => Ok(Some(found.available)),
            Err(ClusterError::Permanent(Permanent::NotFound { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// External addresses of the service's own Services that have one now; nothing is waited for.
    pub(crate) async fn own_addresses(&self, service: &LocalService) -> Result<BTreeMap<String, String>, StepError> {
        let api: Api<Service> = Api::namespaced(self.cluster.client().clone(), &service.namespace);
        let mut addresses = BTreeMap::new();
        for name in parts::services(&parts::parse(&service.manifest)?) {
            let found = api.get_opt(&name).await.ok().flatten();
            let status = found.and_then(|found| found.status?.load_balancer?.ingress?.into_iter().next());
            if let Some(host) = status.and_then(|ingress| ingress.ip.or(ingress.hostname)) {
                addresses.insert(name, host);
            }
        }
        Ok(addresses)
    }

    fn place<'a>(&'a self, service: &'a LocalService, owner: &'a Owner) -> Place<'a> {
        Place {
            cluster: &self.cluster,
            namespace: &service.namespace,
            owner,
            domain: &self.config.domain,
        }
    }

    async fn wait_rollout(&self, service: &LocalService, deployment: &str) -> Result<(), StepError> {
        let rolled_out = self
            .cluster
            .wait_rollout(&service.namespace, deployment, ROLL_OUT)
            .await;
        rolled_out.map(drop).map_err(|error| not_yet(error.into()))
    }
}

fn service_owner(service: &LocalService) -> Result<Owner, StepError> {
    Owner::new(service.definition.name.as_str()).map_err(|error| StepError::Unusable(error.to_string()))
}

/// Own workload that is not ready is a matter of time, or of the owner mending it; the agreement waits.
fn not_yet(error: DeployError) -> StepError {
    match error {
        DeployError::NotReady(cause) => StepError::NotYet(cause.to_string()),
        DeployError::Step(error) => error,
    }
}
