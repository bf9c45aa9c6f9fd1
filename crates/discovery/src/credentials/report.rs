//! What is told of credentials: conditions and events. Never a token.

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cluster::{CallError, FIELD_MANAGER, within};
use crate::model::{Condition, Truth};

/// Longest message: events take no more.
const LONGEST_MESSAGE: usize = 1000;

/// Condition of an Identity: whether every peer has what the policy grants it.
pub(crate) const DELIVERED: &str = "CredentialsDelivered";
/// Condition of a Peer: whether it gave this domain a credential.
pub(crate) const RECEIVED: &str = "CredentialReceived";

/// What was found to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub holds: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Finding {
    pub fn new(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self {
            holds,
            reason,
            message: message.chars().take(LONGEST_MESSAGE / 4).collect(),
        }
    }
}

/// Writes conditions and events.
#[derive(Clone)]
pub(super) struct Reports {
    client: Client,
    recorder: Recorder,
}

impl Reports {
    pub fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.into(),
            instance: None,
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
        }
    }

    /// Writes a condition beside those that others write, and an event if it is another one than before or a bad one.
    pub async fn put<K>(&self, object: &K, kind: &str, finding: &Finding) -> Result<(), CallError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + serde::Serialize
            + Debug,
    {
        let live = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        let old = conditions(&live).find(|condition| condition.kind == kind);
        let status = Truth::from(finding.holds);
        let observed_generation = object.meta().generation.unwrap_or_default();
        let same_status = old.as_ref().filter(|old| old.status == status);
        let last_transition_time = same_status.map_or_else(
            || Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            |old| old.last_transition_time.clone(),
        );
        let condition = Condition {
            kind: kind.into(),
            status,
            observed_generation,
            last_transition_time,
            reason: finding.reason.into(),
            message: finding.message.clone(),
        };
        if old.as_ref() == Some(&condition) {
            return Ok(());
        }
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            // An object of the same name that was made since is another one.
            "metadata": {"name": name, "uid": object.uid()},
            "status": {"conditions": [condition]},
        });
        let api: Api<K> = Api::namespaced(self.client.clone(), &namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        within(api.patch_status(&name, &params, &Patch::Apply(&patch))).await?;
        // That all is well from the beginning is no news: fifty peers would say what the conditions say.
        let news = same_status.is_none_or(|old| old.reason != finding.reason);
        if news && (old.is_some() || !finding.holds) {
            self.tell(object, kind, finding).await;
        }
        Ok(())
    }

    async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, kind: &str, finding: &Finding) {
        let event = Event {
            type_: if finding.holds {
                EventType::Normal
            } else {
                EventType::Warning
            },
            reason: finding.reason.into(),
            note: Some(finding.message.clone()),
            action: kind.into(),
            secondary: None,
        };
        if let Err(error) = within(self.recorder.publish(&event, &object.object_ref(&()))).await {
            tracing::debug!(%error, reason = finding.reason, "an event could not be written");
        }
    }
}

fn conditions(live: &Value) -> impl Iterator<Item = Condition> {
    let all = live["status"]["conditions"].as_array().into_iter().flatten();
    all.filter_map(|condition| serde_json::from_value(condition.clone()).ok())
}
