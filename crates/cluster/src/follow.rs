//! Following objects through watches: kube-runtime re-lists after 410 Gone and re-connects; this adds backoff and says which
//! errors no patience will cure.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::error::{ClusterError, Temporary, classify};

/// Pauses between attempts to reach a cluster that does not answer: short, because someone waits with a deadline.
#[derive(Debug, Clone)]
struct Pauses(Duration);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(3);
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LAST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

/// When a wait ends, and the time that was given for it (for the message).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    within: Duration,
}

impl Deadline {
    pub(crate) fn after(within: Duration) -> Self {
        // A caller's "for ever" is cut to a day, so that the sum cannot overflow.
        Self {
            at: Instant::now() + within.min(Duration::from_secs(86_400)),
            within,
        }
    }

    pub(crate) fn passed(self, doing: &str, pending: String) -> ClusterError {
        Temporary::Deadline {
            doing: doing.to_owned(),
            within: self.within,
            pending,
        }
        .into()
    }
}

/// What happened to a followed kind.
#[derive(Debug)]
pub(crate) enum Step {
    /// Its store is complete for the first time, or again after a re-list.
    Listed,
    /// One object changed, came or went.
    Changed,
    /// The watch failed; it goes on by itself if the error is temporary.
    Failed(ClusterError),
}

/// Follows a kind: a store that is always up to date, and a stream that tells when to look at it.
pub(crate) fn follow<K>(api: Api<K>, config: watcher::Config) -> (Store<K>, BoxStream<'static, Step>)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let doing = format!("watching {}", <K as Resource>::plural(&()));
    let steps = reflector::reflector(writer, watcher(api, config))
        .backoff(Pauses(Pauses::FIRST))
        .filter_map(move |event| {
            let step = match event {
                Ok(Event::InitDone) => Some(Step::Listed),
                Ok(Event::Apply(_) | Event::Delete(_)) => Some(Step::Changed),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(error) => Some(Step::Failed(failure(&doing, error))),
            };
            std::future::ready(step)
        });
    (store, steps.boxed())
}

/// The watch's error as ours. A 410 is temporary: the watch re-lists by itself.
pub(crate) fn failure(doing: &str, error: watcher::Error) -> ClusterError {
    match error {
        watcher::Error::InitialListFailed(e) | watcher::Error::WatchStartFailed(e) | watcher::Error::WatchFailed(e) => {
            classify(doing, e)
        }
        watcher::Error::WatchError(status) => classify(doing, kube::Error::Api(status)),
        watcher::Error::NoResourceVersion => {
            let message = "an object without resourceVersion".to_owned();
            Temporary::Busy {
                doing: doing.to_owned(),
                message,
            }
            .into()
        }
    }
}

/// One object as it changes: `None` while it does not exist. Ends never; errors are passed on and followed by more.
fn follow_object<K>(api: Api<K>, name: &str) -> impl Stream<Item = watcher::Result<Option<K>>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watch_object(api, name).backoff(Pauses(Pauses::FIRST))
}

impl Cluster {
    /// Waits until the object of this name is gone, or another one (with another uid) stands in its place.
    pub(crate) async fn wait_gone<K>(
        &self,
        api: Api<K>,
        name: &str,
        uid: Option<&str>,
        doing: &str,
        deadline: Deadline,
    ) -> Result<(), ClusterError>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let mut changes = pin!(follow_object(api, name));
        let mut pending = "it is still there".to_owned();
        loop {
            match tokio::time::timeout_at(deadline.at, changes.next()).await {
                Ok(Some(Ok(None))) => return Ok(()),
                Ok(Some(Ok(Some(found)))) if uid.is_some() && found.meta().uid.as_deref() != uid => return Ok(()),
                Ok(Some(Ok(Some(found)))) => {
                    let finalizers = found.finalizers().join(", ");
                    pending = if finalizers.is_empty() {
                        "it is still there".to_owned()
                    } else {
                        format!("it is still there, held by the finalizers {finalizers}")
                    };
                }
                Ok(Some(Err(error))) => match failure(doing, error) {
                    permanent @ ClusterError::Permanent(_) => return Err(permanent),
                    ClusterError::Temporary(error) => pending = error.to_string(),
                },
                Ok(None) | Err(_) => return Err(deadline.passed(doing, pending)),
            }
        }
    }
}
