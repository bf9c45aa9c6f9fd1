//! Keeps the domain's own services as their owner wants them: deploys what is new, removes what is no longer wanted, and
//! says what is wrong.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::StepError;
use crate::model::{LocalService, ServiceDefinition, Want};
use crate::parts;
use crate::service::{Orchestrator, Shared};

const RETRY: Duration = Duration::from_secs(2);

impl Orchestrator {
    /// Takes up a service, or changes it, and deploys it into the own cluster.
    pub async fn put_service(
        &self,
        definition: ServiceDefinition,
        manifest: String,
        replicas: Option<u32>,
    ) -> Result<LocalService, StepError> {
        let parsed = parts::parse(&manifest)?;
        parts::wires(&parsed)?;
        if let Some(component) = &definition.component
            && !(parts::deployments(&parsed).contains(component) && parts::services(&parsed).contains(component))
        {
            return Err(StepError::Unusable(format!(
                "component {component}: the manifest has no Deployment and Service of that name"
            )));
        }
        let in_manifest = definition
            .component
            .as_ref()
            .and_then(|component| parts::replicas(&parsed, component));
        let service = LocalService {
            namespace: self.shared.config.namespace.clone(),
            replicas: replicas.or(in_manifest).unwrap_or(1),
            wanted: true,
            ready: false,
            trouble: None,
            definition,
            manifest,
        };
        let stored = service.clone();
        self.shared
            .store
            .commit(move |batch| batch.put_service(&stored))
            .await?;
        self.shared.services_changed.notify_one();
        Ok(service)
    }

    /// Ends a service: agreements about it are called off or terminated, and its objects are removed.
    pub async fn remove_service(&self, name: &str) -> Result<bool, StepError> {
        if self.shared.store.service(name)?.is_none() {
            return Ok(false);
        }
        let owned = name.to_owned();
        self.shared
            .store
            .commit(move |batch| {
                batch.update_service(&owned, |service| {
                    service.wanted = false;
                    service.ready = false;
                })
            })
            .await?;
        // After it is no longer wanted, so that nothing is brought back only to be removed.
        for record in self.shared.live_consumers_of(name)? {
            self.end_consumer(record.id(), "the service was deleted by its owner")
                .await?;
        }
        self.shared.services_changed.notify_one();
        Ok(true)
    }

    /// Ends an agreement of ours, in whichever way its state allows.
    pub async fn end_consumer(&self, id: hanse_agreement::AgreementId, reason: &str) -> Result<(), StepError> {
        let confirmed = self
            .shared
            .ledger
            .agreement(id)
            .await?
            .is_some_and(|agreement| agreement.state == hanse_agreement::State::Confirmed);
        let reason = reason.to_owned();
        self.shared
            .update_consumer(id, move |record| {
                record.want = if confirmed {
                    Want::Terminate
                } else {
                    Want::Cancel { reason }
                };
            })
            .await
    }
}

impl Shared {
    pub(crate) async fn keep_services(self: &Arc<Self>) {
        loop {
            let all_well = match self.store.services() {
                Ok(services) => {
                    let mut all_well = true;
                    for service in services {
                        tokio::select! {
                            () = self.stop.cancelled() => return,
                            well = self.keep(&service) => all_well &= well,
                        }
                    }
                    all_well
                }
                Err(error) => {
                    tracing::error!(%error, "the list of services can't be read");
                    false
                }
            };
            let pause = if all_well { Duration::from_secs(3600) } else { RETRY };
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = timeout(pause, self.services_changed.notified()) => {}
            }
        }
    }

    async fn keep(&self, service: &LocalService) -> bool {
        let name = service.definition.name.clone();
        if service.wanted && service.ready {
            return true;
        }
        let result = self.settle_own_share(&name).await;
        let trouble = result.as_ref().err().map(ToString::to_string);
        if let Some(trouble) = &trouble {
            tracing::warn!(service = name, trouble, "the service is not as its owner wants it");
        }
        // An agreement that is being wound up still needs to know the service.
        let forget = !service.wanted && self.live_consumers_of(&name).is_ok_and(|live| live.is_empty());
        let well = trouble.is_none() && (service.wanted || forget);
        let written = self
            .store
            .commit(move |batch| {
                if well && forget {
                    return batch.remove_service(&name);
                }
                batch.update_service(&name, |service| {
                    service.ready = well && service.wanted;
                    service.trouble = trouble;
                })
            })
            .await;
        self.changes.send_modify(|count| *count += 1);
        well && written.is_ok()
    }
}
