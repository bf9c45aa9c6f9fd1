//! Domains for the tests: each with a development cluster and an agent's discovery, all in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hanse_devcluster::{DevCluster, DevClusterConfig};
use hanse_discovery::credentials::{ApiServer, Policy};
use hanse_discovery::model::{Condition, Identity, Peer, SwarmPool};
use hanse_discovery::settings::Credentials;
use hanse_discovery::{DefaultSwarm, Discovery, OwnIdentity, Settings};
use hanse_swarm::model::SwarmAddress;
use hanse_swarm::peers::Limits;
use hanse_swarm::{DomainKey, PeerId, SealingSecret, Swarm, SwarmConfig, SwarmKey};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Generous: machines that run tests are loaded.
pub const SOON: Duration = Duration::from_secs(60);

static NEXT: AtomicU8 = AtomicU8::new(0);

/// A part of the loopback network: distinct for each run and each domain.
fn range(domain: u8, part: u8) -> String {
    let [high, low] = u16::try_from(std::process::id() % 0xfff0).unwrap_or(0).to_be_bytes();
    let third = low.wrapping_add(domain * 3 + part);
    format!("127.{}.{third}.0/24", 64 + high % 128)
}

/// How discovery is started.
#[derive(Default)]
pub struct Wish {
    /// With a default swarm that has this key and these bootstrap members.
    pub default: Option<(SwarmKey, Vec<SwarmAddress>)>,
    /// With an Identity of the configuration.
    pub identity: Option<OwnIdentity>,
    /// What peers get, instead of what they get by default; here they can call the cluster.
    pub credentials: Option<watch::Receiver<Policy>>,
    /// With these peers as partners of an agreement, instead of none.
    pub agreements: Option<watch::Receiver<Option<BTreeSet<PeerId>>>>,
}

/// A domain.
pub struct Domain {
    pub tag: u8,
    pub cluster: DevCluster,
    pub client: Client,
    pub discovery: Option<Discovery>,
    pub default: Option<Arc<Swarm>>,
    pub folder: tempfile::TempDir,
}

fn secret(tag: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([tag; 32])
}

impl Domain {
    pub async fn start() -> Self {
        Self::start_with(Wish::default()).await
    }

    pub async fn start_with(wish: Wish) -> Self {
        let tag = NEXT.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = tempfile::tempdir().unwrap();
        let config = DevClusterConfig {
            pod_range: range(tag, 0).parse().unwrap(),
            service_range: range(tag, 1).parse().unwrap(),
            load_balancer_range: range(tag, 2).parse().unwrap(),
            ..DevClusterConfig::new(folder.path().join("cluster"))
        };
        let cluster = DevCluster::start(config).await.unwrap();
        let client = cluster.client();
        let mut domain = Self {
            tag,
            cluster,
            client,
            discovery: None,
            default: None,
            folder,
        };
        domain.start_discovery(wish).await;
        domain
    }

    /// The agent's part, with short times.
    pub async fn start_discovery(&mut self, wish: Wish) {
        let peers = Limits {
            look_every: Duration::from_millis(500),
            missed_looks: 12,
            ..Limits::default()
        };
        let key = DomainKey::from_secret(secret(self.tag));
        let sealing = SealingSecret::from_bytes(secret(self.tag));
        let mut settings = Settings::new(
            format!("Cluster {}", self.tag),
            key.clone(),
            sealing.clone(),
            self.folder.path().to_owned(),
        );
        settings.peers = peers;
        settings.identity = wish.identity;
        settings.credentials = Credentials::fixed(Policy::default(), Ok(self.server()));
        if let Some(policy) = wish.credentials {
            settings.credentials.policy = policy;
        }
        if let Some(agreements) = wish.agreements {
            settings.credentials.agreements = agreements;
        }
        let mut default = None;
        if let Some((swarm_key, bootstrap)) = wish.default {
            let folder = self.folder.path().join("default-swarm");
            std::fs::create_dir_all(&folder).unwrap();
            let mut config = SwarmConfig::new(swarm_key.clone(), key, sealing, folder);
            config.listen = vec![SwarmAddress::parse("/ip4/127.0.0.1/tcp/0").unwrap()];
            config.bootstrap = bootstrap.clone();
            config.peers = peers;
            let swarm = Arc::new(Swarm::start(config).await.unwrap());
            self.default = Some(Arc::clone(&swarm));
            default = Some(DefaultSwarm {
                swarm,
                key: swarm_key,
                bootstrap,
                port: 0,
            });
        }
        self.discovery = Some(Discovery::start(
            settings,
            self.client.clone(),
            default,
            watch::channel(None).1,
        ));
        self.until("the definitions are served", async || {
            let all = ListParams::default();
            Api::<SwarmPool>::all(self.client.clone()).list(&all).await.ok()?;
            Api::<Identity>::all(self.client.clone()).list(&all).await.ok()?;
            Api::<Peer>::all(self.client.clone()).list(&all).await.ok()
        })
        .await;
    }

    /// Where peers call the cluster.
    pub fn server(&self) -> ApiServer {
        let kubeconfig = self.cluster.kubeconfig();
        let cluster = kubeconfig.clusters[0].cluster.clone().unwrap();
        let authority = STANDARD.decode(cluster.certificate_authority_data.unwrap()).unwrap();
        ApiServer::new(cluster.server.unwrap(), Some(String::from_utf8(authority).unwrap())).unwrap()
    }

    /// Where the default swarm is called.
    pub async fn address(&self) -> SwarmAddress {
        self.default.as_ref().unwrap().status().await.unwrap().addresses[0].clone()
    }

    pub async fn stop_discovery(&mut self) {
        if let Some(discovery) = self.discovery.take() {
            discovery.shutdown().await;
        }
        if let Some(swarm) = self.default.take() {
            swarm.stop().await;
        }
    }

    pub async fn stop(mut self) {
        self.stop_discovery().await;
        self.cluster.shutdown().await;
    }

    fn dynamic(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&object["kind"]);
        let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", object["apiVersion"].as_str().unwrap()),
        };
        let plurals = BTreeMap::from([("Identity", "identities")]);
        let plural = plurals
            .get(kind.as_str())
            .map_or_else(|| format!("{}s", kind.to_lowercase()), ToString::to_string);
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &kind), &plural);
        let api = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        (api, text(&object["metadata"]["name"]))
    }

    /// Applies the documents of a manifest.
    pub async fn try_apply(&self, manifest: &str) -> kube::Result<()> {
        for document in manifest.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            let (api, name) = self.dynamic(&object);
            api.patch(&name, &PatchParams::apply("kubectl").force(), &Patch::Apply(&object))
                .await?;
        }
        Ok(())
    }

    pub async fn apply(&self, manifest: &str) {
        self.try_apply(manifest).await.unwrap();
    }

    pub fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Deletes an object and waits until it has gone.
    pub async fn delete<K>(&self, namespace: &str, name: &str)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let api = self.api::<K>(namespace);
        api.delete(name, &DeleteParams::default()).await.unwrap();
        self.until(&format!("{name} has gone"), async || {
            api.get_opt(name).await.unwrap().is_none().then_some(())
        })
        .await;
    }

    /// Waits until there is what is waited for.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let end = Instant::now() + SOON;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if Instant::now() >= end {
                self.print().await;
                panic!("domain {}: not so in time: {what}", self.tag);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn print(&self) {
        fn shown<K: serde::Serialize + Clone>(objects: kube::Result<kube::core::ObjectList<K>>) {
            for object in objects.into_iter().flat_map(|list| list.items) {
                let mut object = serde_json::to_value(object).unwrap();
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.remove("managedFields");
                }
                eprintln!("{object:#}");
            }
        }
        let all = ListParams::default();
        shown(Api::<SwarmPool>::all(self.client.clone()).list(&all).await);
        shown(Api::<Identity>::all(self.client.clone()).list(&all).await);
        shown(Api::<Peer>::all(self.client.clone()).list(&all).await);
    }

    pub async fn pool(&self, namespace: &str, name: &str, what: &str, so: impl Fn(&SwarmPool) -> bool) -> SwarmPool {
        let api = self.api::<SwarmPool>(namespace);
        self.until(what, async || api.get_opt(name).await.unwrap().filter(|pool| so(pool)))
            .await
    }

    pub async fn identity(&self, namespace: &str, name: &str, what: &str, so: impl Fn(&Identity) -> bool) -> Identity {
        let api = self.api::<Identity>(namespace);
        self.until(what, async || {
            api.get_opt(name).await.unwrap().filter(|identity| so(identity))
        })
        .await
    }

    /// Waits until the Peers of a namespace are as they should be.
    pub async fn peers(&self, namespace: &str, what: &str, so: impl Fn(&[Peer]) -> bool) -> Vec<Peer> {
        let api = self.api::<Peer>(namespace);
        let list = async || {
            let peers = api.list(&ListParams::default()).await.unwrap().items;
            so(&peers).then_some(peers)
        };
        self.until(what, list).await
    }
}

pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// The reason of a pool's condition.
pub fn reason(pool: &SwarmPool, kind: &str) -> String {
    let status = pool.status.as_ref();
    let found = status.and_then(|status| condition(&status.conditions, kind));
    found.map(|condition| condition.reason.clone()).unwrap_or_default()
}

/// The condition `Published` of an Identity.
pub fn published(identity: &Identity) -> Option<&Condition> {
    condition(&identity.status.as_ref()?.conditions, "Published")
}
