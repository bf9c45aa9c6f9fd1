//! Events as controllers and the kubelet write them (core/v1), with repeats counted in one object.
//!
//! Writing is done in the background and never holds up a controller: when more than
//! [`QUEUE`] events wait, further ones are dropped, as in client-go. Events are hints for people.

use std::collections::HashMap;

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

/// Events that may wait to be written.
const QUEUE: usize = 1024;
/// Different events whose repeats are counted.
const REMEMBERED: usize = 128;

/// Whether an event tells of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

#[derive(Debug)]
struct Record {
    about: ObjectReference,
    severity: Severity,
    reason: &'static str,
    message: String,
    component: &'static str,
    time: Timestamp,
}

/// Writes events; clones write to the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<Record>);

impl Events {
    /// Starts the writer. It ends when the last clone is dropped.
    pub(crate) fn start(client: Client, host: String) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(client, host, receiver));
        Self(sender)
    }

    /// Writes an event about `object`, as from `component`.
    pub(crate) fn publish<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        component: &'static str,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let record = Record {
            about: object.object_ref(&()),
            severity,
            reason,
            message: message.into(),
            component,
            time: Timestamp::now(),
        };
        if self.0.try_send(record).is_err() {
            tracing::debug!(reason, "event dropped: too many wait to be written");
        }
    }
}

/// What makes two events the same.
type Key = (Option<String>, &'static str, String);

async fn write(client: Client, host: String, mut queue: mpsc::Receiver<Record>) {
    let mut known: HashMap<Key, (String, i32)> = HashMap::new();
    let mut number = 0u64;
    while let Some(record) = queue.recv().await {
        let namespace = record.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let key = (record.about.uid.clone(), record.reason, record.message.clone());
        if let Some((name, count)) = known.get_mut(&key) {
            *count = count.saturating_add(1);
            let patch = json!({"count": *count, "lastTimestamp": Time(record.time)});
            let parameters = PatchParams {
                field_manager: Some(record.component.to_owned()),
                ..PatchParams::default()
            };
            match api.patch(name, &parameters, &Patch::Merge(patch)).await {
                Ok(_) => continue,
                // Events expire; then it is written anew.
                Err(error) => tracing::debug!(%error, "event not counted"),
            }
        }
        number += 1;
        let event = new_event(&record, &host, &namespace, number);
        let parameters = PostParams {
            field_manager: Some(record.component.to_owned()),
            ..PostParams::default()
        };
        match api.create(&parameters, &event).await {
            Ok(_) => {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(key, (event.metadata.name.unwrap_or_default(), 1));
            }
            // A namespace that is being deleted takes no events.
            Err(error) => tracing::debug!(%error, reason = record.reason, "event not written"),
        }
    }
}

fn new_event(record: &Record, host: &str, namespace: &str, number: u64) -> Event {
    let object = record.about.name.as_deref().unwrap_or_default();
    let nanoseconds = u128::try_from(record.time.as_nanosecond()).unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            // As client-go: the object's name and a time; the number keeps two of one instant apart.
            name: Some(format!("{object}.{:x}", nanoseconds + u128::from(number))),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: record.about.clone(),
        type_: Some(
            if record.severity == Severity::Warning {
                "Warning"
            } else {
                "Normal"
            }
            .to_owned(),
        ),
        reason: Some(record.reason.to_owned()),
        message: Some(record.message.clone()),
        source: Some(EventSource {
            component: Some(record.component.to_owned()),
            host: Some(host.to_owned()),
        }),
        reporting_component: Some(record.component.to_owned()),
        reporting_instance: Some(host.to_owned()),
        count: Some(1),
        first_timestamp: Some(Time(record.time)),
        last_timestamp: Some(Time(record.time)),
        ..Event::default()
    }
}
