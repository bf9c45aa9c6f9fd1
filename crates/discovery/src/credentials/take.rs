//! Taking what other domains give: each kubeconfig is checked, and stored beside the Peer that gave it.

use std::time::Duration;

use hanse_swarm::PeerId;
use hanse_swarm::service::Asked;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::cluster::{CallError, FIELD_MANAGER, within};
use super::kubeconfig::PeerKubeconfig;
use super::message::{Delivery, Receipt};
use super::report::{Finding, RECEIVED, Reports};
use super::{names, objects};
use crate::model::{KUBECONFIG_SECRET, PEER_ID, Peer};

/// How long taking one may last; who gave it is waiting.
const TAKING: Duration = Duration::from_secs(25);

/// Takes what the domains of one swarm give.
pub(super) struct Taker {
    pub client: Client,
    pub reports: Reports,
    /// Where the Peers of the swarm are.
    pub namespace: String,
}

/// Why a credential was not taken.
enum Refusal {
    /// The giver comes again.
    Later,
    /// It need not.
    Never(String),
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        tracing::debug!(%error, "a credential can't be taken now");
        Self::Later
    }
}

impl Taker {
    /// Until nobody asks any more.
    pub async fn run(self, mut asked: mpsc::Receiver<Asked>) {
        while let Some(Asked { from, body, reply }) = asked.recv().await {
            let receipt = match tokio::time::timeout(TAKING, self.take(&from, &body)).await {
                Ok(Ok(())) => Receipt::Done {},
                Ok(Err(Refusal::Never(reason))) => Receipt::Refused { reason },
                Ok(Err(Refusal::Later)) | Err(_) => Receipt::Later {},
            };
            // The giver may have gone; then it gives it again.
            let _ = reply.send(receipt.to_bytes());
        }
    }

    async fn take(&self, from: &PeerId, body: &[u8]) -> Result<(), Refusal> {
        let peers: Api<Peer> = Api::namespaced(self.client.clone(), &self.namespace);
        let peer = within(peers.get_opt(&names::peer(from))).await?.ok_or(Refusal::Later)?;
        // A Peer of the same name that is another domain's can't be: but nothing is taken on that.
        if peer
            .annotations()
            .get(PEER_ID)
            .is_some_and(|id| *id != from.to_string())
        {
            return Err(Refusal::Never("another domain has this peer id in lower case".into()));
        }
        let taken = match Delivery::from_bytes(body) {
            Ok(Delivery::Kubeconfig(kubeconfig)) => self.store(from, &peer, &kubeconfig).await,
            Ok(Delivery::Revoked) => self.remove(from, &peer).await,
            Err(error) => Err(Refusal::Never(error.to_string())),
        };
        let finding = match &taken {
            Ok(finding) => finding.clone(),
            Err(Refusal::Later) => return Err(Refusal::Later),
            Err(Refusal::Never(reason)) => Finding::new(
                false,
                "CredentialRefused",
                format!("what the domain sent was not taken: {reason}"),
            ),
        };
        // What is so stands in the Secret and the annotation; the condition says it again.
        if let Err(error) = self.reports.put(&peer, RECEIVED, &finding).await {
            tracing::debug!(%error, peer = %from, "the condition of a Peer could not be written");
        }
        taken.map(drop)
    }

    async fn store(&self, from: &PeerId, peer: &Peer, kubeconfig: &PeerKubeconfig) -> Result<Finding, Refusal> {
        let (api, name) = (self.secrets(), names::received(from));
        let uid = peer.uid().unwrap_or_default();
        if let Some(found) = within(api.get_opt(&name)).await?
            && !objects::is_owned_by(&found, &uid)
        {
            if objects::is_ours(&found, objects::RECEIVED) {
                // Of a Peer object that is gone: so will be its Secret.
                return Err(Refusal::Later);
            }
            return Err(Refusal::Never(format!("there is a Secret {name} that is not of Hanse")));
        }
        let secret = objects::received(from, peer, kubeconfig).map_err(|error| Refusal::Never(error.to_string()))?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        within(api.patch(&name, &params, &Patch::Apply(&secret))).await?;
        self.annotate(peer, name.clone().into()).await?;
        let message = format!("the domain gave a kubeconfig; it is in Secret {name}");
        Ok(Finding::new(true, "CredentialStored", message))
    }

    async fn remove(&self, from: &PeerId, peer: &Peer) -> Result<Finding, Refusal> {
        let (api, name) = (self.secrets(), names::received(from));
        self.annotate(peer, Value::Null).await?;
        let found = within(api.get_opt(&name)).await?;
        if let Some(found) = found.filter(|found| objects::is_ours(found, objects::RECEIVED)) {
            let params = DeleteParams::default().preconditions(Preconditions {
                uid: found.uid(),
                resource_version: None,
            });
            match within(api.delete(&name, &params)).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(Finding::new(
            false,
            "CredentialRevoked",
            "the domain took back what it had given",
        ))
    }

    /// Says at the Peer where the kubeconfig is, as the original does.
    async fn annotate(&self, peer: &Peer, secret: Value) -> Result<(), CallError> {
        let api: Api<Peer> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = json!({"metadata": {"uid": peer.uid(), "annotations": {KUBECONFIG_SECRET: secret}}});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        within(api.patch(&peer.name_any(), &params, &Patch::Merge(&patch)))
            .await
            .map(drop)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}
