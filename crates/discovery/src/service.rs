//! The wiring.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use hanse_metrics::Registry;
use hanse_swarm::model::Membership;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::controller::identities::Identities;
use crate::controller::peers::Peers;
use crate::controller::pools::Pools;
use crate::controller::{Events, Shared, definitions, own, route_kind, run};
use crate::credentials;
use crate::metrics::{DiscoveryReading, Row};
use crate::settings::{DefaultSwarm, Settings};
use crate::swarms::{Swarms, Waker};
use crate::watched::Watched;

/// How long the end of discovery may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// Discovery at work. It ends when this is dropped.
#[derive(Debug)]
pub struct Discovery {
    stop: CancellationToken,
    tasks: TaskTracker,
    swarms: Arc<Swarms>,
    rows: Arc<Mutex<Vec<Row>>>,
}

impl Discovery {
    /// Starts. That the cluster does not answer is no error: it is tried again until it does.
    ///
    /// `membership` goes into the record in the default swarm, and only there.
    pub fn start(
        settings: Settings,
        client: Client,
        default_swarm: Option<DefaultSwarm>,
        membership: watch::Receiver<Option<Membership>>,
    ) -> Self {
        let discovery = Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            swarms: Arc::default(),
            rows: Arc::default(),
        };
        let start = Start {
            settings,
            client,
            default_swarm,
            membership,
            stop: discovery.stop.clone(),
            tasks: discovery.tasks.clone(),
            swarms: Arc::clone(&discovery.swarms),
            rows: Arc::clone(&discovery.rows),
        };
        discovery.tasks.spawn(start.run());
        discovery
    }

    /// Has the figures asked at each scrape of `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let reading = DiscoveryReading {
            swarms: Arc::clone(&self.swarms),
            rows: Arc::clone(&self.rows),
        };
        hanse_metrics::register(registry, reading);
    }

    /// Ends. The swarms of its own are left; nothing is withdrawn, since the domain comes back.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_LIMIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("discovery did not end in time");
        }
        let members = std::mem::take(&mut self.swarms.now().members);
        self.swarms.set(crate::swarms::Snapshot::default());
        for member in members.into_values() {
            member.leave().await;
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the first task needs to start the others.
struct Start {
    settings: Settings,
    client: Client,
    default_swarm: Option<DefaultSwarm>,
    membership: watch::Receiver<Option<Membership>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    swarms: Arc<Swarms>,
    rows: Arc<Mutex<Vec<Row>>>,
}

impl Start {
    async fn run(self) {
        // What is watched must be defined first: else the watches fail, and are slow to try again.
        if self.settings.install_definitions {
            definitions::install(&self.client, &self.stop).await;
        }
        own::install(&self.settings, &self.client, &self.stop).await;
        let waker = Waker::default();
        let (events, write_events) = Events::new(self.client.clone());
        let client = self.client.clone();
        let shared = Arc::new(Shared {
            pools: self.reflect(&waker),
            identities: self.reflect(&waker),
            peers: self.reflect(&waker),
            secrets: Watched::new(namespaced(&client), waker.clone()),
            services: Watched::new(namespaced(&client), waker.clone()),
            slices: Watched::new(namespaced(&client), waker.clone()),
            routes: Watched::new(
                move |namespace| Api::namespaced_with(client.clone(), namespace, &route_kind()),
                waker.clone(),
            ),
            swarms: Arc::clone(&self.swarms),
            speaks: watch::channel(Vec::new()).0,
            settings: self.settings,
            client: self.client,
            waker: waker.clone(),
            events,
            membership: self.membership,
        });
        let membership = follow(shared.membership.clone(), waker.clone(), self.stop.clone());
        let party = follow(shared.settings.party.clone(), waker.clone(), self.stop.clone());
        self.tasks.spawn(membership);
        self.tasks.spawn(party);
        let (tasks, stop) = (&self.tasks, &self.stop);
        let until_stop = |task: futures::future::BoxFuture<'static, ()>| {
            let stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = task => {}
                }
            });
        };
        until_stop(Box::pin(write_events));
        let ready = async {
            let _ = tokio::join!(
                shared.pools.wait_until_ready(),
                shared.identities.wait_until_ready(),
                shared.peers.wait_until_ready()
            );
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = ready => {}
        }
        let pools = Pools::new(Arc::clone(&shared), self.default_swarm);
        let identities = Identities::new(Arc::clone(&shared), self.rows);
        let peers = Peers::new(Arc::clone(&shared));
        let given = shared.settings.credentials.clone();
        let sources = credentials::Sources {
            policy: given.policy,
            agreements: given.agreements,
            speaks: shared.speaks.subscribe(),
            server: given.server,
        };
        tasks.spawn(credentials::run(shared.client.clone(), sources, stop.clone()));
        tasks.spawn(run(pools, waker.clone(), stop.clone()));
        tasks.spawn(run(identities, waker.clone(), stop.clone()));
        tasks.spawn(run(peers, waker, stop.clone()));
    }

    /// Keeps a copy of all objects of a kind, and wakes the controllers when one changes.
    fn reflect<K>(&self, waker: &Waker) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Hash + Eq + Clone,
    {
        let (reader, writer) = reflector::store();
        let watch = watcher(Api::<K>::all(self.client.clone()), watcher::Config::default()).default_backoff();
        let events = reflector::reflector(writer, watch);
        let (waker, stop) = (waker.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            futures::pin_mut!(events);
            loop {
                let event = tokio::select! {
                    () = stop.cancelled() => return,
                    event = events.next() => event,
                };
                match event {
                    Some(Ok(_)) => waker.wake(),
                    Some(Err(error)) => {
                        tracing::debug!(%error, kind = %K::kind(&()), "a watch was interrupted; it goes on")
                    }
                    None => return,
                }
            }
        });
        reader
    }
}

fn namespaced<K>(client: &Client) -> impl Fn(&str) -> Api<K> + Send + Sync + 'static
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let client = client.clone();
    move |namespace| Api::namespaced(client.clone(), namespace)
}

/// Wakes the controllers when something that is published with the Identity changes.
async fn follow<T>(mut published: watch::Receiver<T>, waker: Waker, stop: CancellationToken) {
    loop {
        let changed = tokio::select! {
            () = stop.cancelled() => return,
            changed = published.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        waker.wake();
    }
}
