//! Swarm keys in Secrets.

use std::collections::BTreeMap;
use std::str;

use hanse_swarm::SwarmKey;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use serde_json::json;

use super::{CallError, Shared, within};
use crate::model::{MANAGED_BY, MANAGER, SWARM_KEY};
use crate::plan::Finding;
use crate::watched::{Name, Seen};

/// Type of the condition.
const KIND: &str = "KeyReady";

/// Keys that were made here and may not have come back from the cluster yet.
#[derive(Debug, Default)]
pub struct Keys {
    made: BTreeMap<Name, SwarmKey>,
}

impl Keys {
    /// The key in a Secret. When that is missing, it is made: with `running`, the key of the swarm that runs for it, so that the domain
    /// stays where it is; else with a new key.
    pub async fn get(
        &mut self,
        shared: &Shared,
        namespace: &str,
        name: &str,
        running: Option<&SwarmKey>,
    ) -> Result<(SwarmKey, Finding), Finding> {
        let at = (namespace.to_owned(), name.to_owned());
        match shared.secrets.get(namespace, name) {
            Seen::There(secret) => {
                let key = read(&secret, namespace, name)?;
                let made = self
                    .made
                    .get(&at)
                    .is_some_and(|made| made.fingerprint() == key.fingerprint());
                if !made {
                    self.made.remove(&at);
                }
                Ok((key.clone(), found(&key, namespace, name, made)))
            }
            Seen::Absent => {
                let key = self
                    .made
                    .entry(at)
                    .or_insert_with(|| running.cloned().unwrap_or_else(SwarmKey::generate));
                match make(shared, namespace, name, key).await {
                    Ok(()) => Ok((key.clone(), found(key, namespace, name, true))),
                    Err(error) if error.code() == Some(409) => Err(waiting(namespace, name)),
                    Err(error) => Err(Finding::bad(
                        KIND,
                        "SecretRefused",
                        format!("the Secret {namespace}/{name} is missing and can't be made: {error}"),
                    )),
                }
            }
            Seen::NotYet => Err(waiting(namespace, name)),
            Seen::NoSuchKind => Err(waiting(namespace, name)),
            Seen::Failed(reason) => Err(Finding::bad(
                KIND,
                "SecretUnreadable",
                format!(
                    "the Secret {namespace}/{name} can't be read: {reason}; does the agent have the right to get, list and watch Secrets there?"
                ),
            )),
        }
    }
}

fn waiting(namespace: &str, name: &str) -> Finding {
    let text = format!("the Secret {namespace}/{name} is being read");
    Finding::new(KIND, crate::model::Truth::Unknown, "Reading", text)
}

fn found(key: &SwarmKey, namespace: &str, name: &str, made: bool) -> Finding {
    let fingerprint = key.fingerprint();
    if made {
        let text = format!(
            "the Secret {namespace}/{name} was missing and was made with a new key, fingerprint {fingerprint}; this domain is alone in that swarm until others are given the key"
        );
        return Finding::good(KIND, "Generated", text);
    }
    let text = format!("the key in the Secret {namespace}/{name} has the fingerprint {fingerprint}");
    Finding::good(KIND, "Found", text)
}

fn read(secret: &Secret, namespace: &str, name: &str) -> Result<SwarmKey, Finding> {
    let data = secret.data.as_ref();
    let Some(ByteString(bytes)) = data.and_then(|data| data.get(SWARM_KEY)) else {
        let there: Vec<&str> = data
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .take(8)
            .collect();
        let there = if there.is_empty() {
            "nothing".into()
        } else {
            there.join(", ")
        };
        return Err(Finding::bad(
            KIND,
            "KeyMissing",
            format!(
                "the Secret {namespace}/{name} has no key {SWARM_KEY}, but {there}; put the text of the swarm.key file under {SWARM_KEY}"
            ),
        ));
    };
    let malformed = |reason: String| {
        Finding::bad(
            KIND,
            "KeyMalformed",
            format!("{SWARM_KEY} in the Secret {namespace}/{name} can't be used: {reason}"),
        )
    };
    let text = str::from_utf8(bytes).map_err(|_| malformed("it is no text".into()))?;
    text.parse()
        .map_err(|error: hanse_swarm::SwarmKeyError| malformed(error.to_string()))
}

async fn make(shared: &Shared, namespace: &str, name: &str, key: &SwarmKey) -> Result<(), CallError> {
    // Without a line's end after the digits, as the original writes it.
    let text = key.to_file().trim_end().as_bytes().to_vec();
    let secret = Secret {
        // It belongs to nobody: a swarm's key outlives the pool that had it made.
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: serde_json::from_value(json!({MANAGED_BY: MANAGER})).ok(),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        data: Some(BTreeMap::from([(SWARM_KEY.to_owned(), ByteString(text))])),
        ..Secret::default()
    };
    within(shared.api::<Secret>(namespace).create(&PostParams::default(), &secret)).await?;
    tracing::info!(namespace, name, fingerprint = %key.fingerprint(), "made a Secret with a new swarm key");
    Ok(())
}
