//! Events about what changed.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::mpsc;

use super::within;
use crate::plan::Transition;

/// How many events may wait to be written. When the cluster is slower, events are lost: what is so stands in the conditions.
const WAITING: usize = 256;

/// Where events go. They are written one after the other, beside the controllers.
#[derive(Debug, Clone)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Events on this cluster, and the task that writes them; it ends when the last handle has gone.
    pub fn new(client: Client) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(WAITING);
        let recorder = Recorder::new(
            client,
            Reporter {
                controller: "hanse-discovery".into(),
                instance: None,
            },
        );
        let write = async move {
            while let Some((event, about)) = receiver.recv().await {
                // The namespace may be ending, and the right to write events missing: neither is a reason to do anything.
                if let Err(error) = within(recorder.publish(&event, &about)).await {
                    tracing::debug!(%error, reason = event.reason, "an event could not be written");
                }
            }
        };
        (Self(sender), write)
    }

    /// Tells of what changed about an object.
    pub fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, transitions: &[Transition]) {
        for transition in transitions {
            let event = Event {
                type_: if transition.warning {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: transition.reason.clone(),
                note: Some(transition.message.clone()),
                action: transition.kind.to_owned(),
                secondary: None,
            };
            if self.0.try_send((event, object.object_ref(&()))).is_err() {
                tracing::debug!(reason = transition.reason, "too many events wait; one is left out");
            }
        }
    }
}
