//! Single objects of others, watched for as long as somebody needs them: Secrets with swarm keys, Services, routes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use crate::swarms::Waker;

/// What is known of an object.
#[derive(Debug)]
pub enum Seen<K> {
    /// Nothing yet.
    NotYet,
    /// It is not there.
    Absent,
    /// The cluster does not know such objects.
    NoSuchKind,
    /// So it is.
    There(Arc<K>),
    /// It can't be read.
    Failed(String),
}

impl<K> Clone for Seen<K> {
    fn clone(&self) -> Self {
        match self {
            Self::NotYet => Self::NotYet,
            Self::Absent => Self::Absent,
            Self::NoSuchKind => Self::NoSuchKind,
            Self::There(object) => Self::There(Arc::clone(object)),
            Self::Failed(reason) => Self::Failed(reason.clone()),
        }
    }
}

/// Namespace and name.
pub type Name = (String, String);

struct Watch<K> {
    seen: Arc<Mutex<Seen<K>>>,
    _task: AbortOnDropHandle<()>,
}

/// The API of a kind in a namespace.
type ApiOf<K> = Box<dyn Fn(&str) -> Api<K> + Send + Sync>;

/// The watched objects of one kind.
pub struct Watched<K> {
    api: ApiOf<K>,
    waker: Waker,
    watches: Mutex<BTreeMap<Name, Watch<K>>>,
}

impl<K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Watched<K> {
    /// None yet.
    pub fn new(api: impl Fn(&str) -> Api<K> + Send + Sync + 'static, waker: Waker) -> Self {
        Self {
            api: Box::new(api),
            waker,
            watches: Mutex::default(),
        }
    }

    /// What is known of the object. It is watched from the first call on; the controllers are woken when it changes.
    pub fn get(&self, namespace: &str, name: &str) -> Seen<K> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = watches.entry(key).or_insert_with(|| {
            let seen = Arc::new(Mutex::new(Seen::NotYet));
            let task = tokio::spawn(follow(
                (self.api)(namespace),
                name.to_owned(),
                Arc::clone(&seen),
                self.waker.clone(),
            ));
            Watch {
                seen,
                _task: AbortOnDropHandle::new(task),
            }
        });
        watch.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets all others.
    pub fn keep(&self, needed: &BTreeSet<Name>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|name, _| needed.contains(name));
    }
}

async fn follow<K>(api: Api<K>, name: String, seen: Arc<Mutex<Seen<K>>>, waker: Waker)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher::watch_object(api, &name).default_backoff();
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        let now = match event {
            Ok(Some(object)) => Seen::There(Arc::new(object)),
            Ok(None) => Seen::Absent,
            Err(error) if is_unknown_kind(&error) => Seen::NoSuchKind,
            Err(error) => {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                // What was known stays so while the cluster does not answer.
                if matches!(*seen, Seen::There(_) | Seen::Absent) {
                    continue;
                }
                *seen = Seen::Failed(error.to_string());
                drop(seen);
                waker.wake();
                continue;
            }
        };
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        waker.wake();
    }
}

fn is_unknown_kind(error: &watcher::Error) -> bool {
    let refused = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 404);
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => refused(error),
        _ => false,
    }
}
