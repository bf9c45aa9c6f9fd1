//! What one cluster shows of the others: its Peers, watched; and the means to say something there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use hanse_discovery::model::{Identity, Peer, PeerPresence, SwarmPool};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// As the agent names them itself for the identity of its configuration.
const NAMESPACE: &str = "default";
const POOL: &str = "hanse";
const SWARM: &str = "hanse";
/// For every wait.
const WITHIN: Duration = Duration::from_secs(120);

/// A domain as another one's cluster shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub description: String,
    pub online: bool,
}

/// By the names that the domains give themselves.
pub type AllSeen = BTreeMap<String, Seen>;

/// A cluster, watched.
pub struct Sight {
    client: Client,
    seen: watch::Receiver<AllSeen>,
    task: JoinHandle<()>,
}

impl Sight {
    /// Watches the Peers of the cluster to which this kubeconfig leads.
    pub async fn open(kubeconfig: &Path) -> anyhow::Result<Self> {
        let file = Kubeconfig::read_from(kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let (sender, seen) = watch::channel(AllSeen::new());
        let task = tokio::spawn(follow(Api::all(client.clone()), sender));
        Ok(Self { client, seen, task })
    }

    /// A SwarmPool with the agent's default swarm.
    pub async fn apply_pool(&self) -> anyhow::Result<()> {
        let pool = json!({
            "apiVersion": "peerdiscovery.irt-saintexupery.com/v1alpha1", "kind": "SwarmPool",
            "metadata": {"name": POOL, "namespace": NAMESPACE}, "spec": {"swarms": [{"name": SWARM}]},
        });
        let pools: Api<SwarmPool> = Api::namespaced(self.client.clone(), NAMESPACE);
        apply(&pools, POOL, &pool).await.context("the SwarmPool is not taken")
    }

    /// Has the domain `name` say `description`.
    pub async fn apply_identity(&self, name: &str, description: &str) -> anyhow::Result<()> {
        let identity = json!({
            "apiVersion": "peerdiscovery.irt-saintexupery.com/v1alpha1", "kind": "Identity",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "swarms": [{"swarmPool": POOL, "swarm": SWARM}], "name": name, "description": description,
                "URL": format!("https://{name}.example"), "categories": [{"name": "computing"}],
            },
        });
        let applied = apply(&self.identities(), name, &identity).await;
        applied.with_context(|| format!("the Identity of {name} is not taken"))
    }

    /// Deletes the Identity; returns before it has gone.
    pub async fn delete_identity(&self, name: &str) -> anyhow::Result<()> {
        let deleted = self.identities().delete(name, &DeleteParams::default()).await;
        deleted
            .map(drop)
            .with_context(|| format!("the Identity of {name} can't be deleted"))
    }

    /// Waits until the Identity has gone, finalizers and all.
    pub async fn until_identity_gone(&self, name: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + WITHIN;
        while self.identities().get_opt(name).await?.is_some() {
            if Instant::now() > deadline {
                bail!("the Identity of {name} does not go");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn identities(&self) -> Api<Identity> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Waits until what is seen is as `expected`; how long that was after `since`.
    pub async fn until(
        &self,
        since: Instant,
        what: &str,
        expected: impl FnMut(&AllSeen) -> bool,
    ) -> anyhow::Result<Duration> {
        let mut seen = self.seen.clone();
        let arrived = timeout(WITHIN, seen.wait_for(expected)).await;
        match arrived {
            Ok(Ok(_)) => Ok(since.elapsed()),
            Ok(Err(_)) => bail!("the Peers are no longer watched"),
            Err(_) => bail!(
                "not within {} s: {what}; seen: {:?}",
                WITHIN.as_secs(),
                self.seen.borrow()
            ),
        }
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn parameters() -> PatchParams {
    PatchParams::apply("hanse-bench").force()
}

/// Applies an object. The agent may only just have applied the definition of its kind.
async fn apply<K>(objects: &Api<K>, name: &str, object: &serde_json::Value) -> anyhow::Result<()>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let deadline = Instant::now() + WITHIN;
    loop {
        match objects.patch(name, &parameters(), &Patch::Apply(object)).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Keeps what is seen up to date.
async fn follow(peers: Api<Peer>, sender: watch::Sender<AllSeen>) {
    let mut objects = BTreeMap::new();
    // An interrupted watch begins anew; what was seen meanwhile counts when it is seen.
    let mut events = Box::pin(watcher(peers, watcher::Config::default()));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(peer) | Event::InitApply(peer)) => {
                let status = peer.status.as_ref().and_then(|status| status.status);
                let seen = Seen {
                    description: peer.spec.description.clone(),
                    online: status == Some(PeerPresence::Online),
                };
                objects.insert(peer.name_any(), (peer.spec.name.clone(), seen));
            }
            Ok(Event::Delete(peer)) => {
                objects.remove(&peer.name_any());
            }
            Ok(Event::Init) => objects.clear(),
            Ok(Event::InitDone) => {}
            Err(_) => {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        }
        sender.send_replace(objects.values().cloned().collect());
    }
}
