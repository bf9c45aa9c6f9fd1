//! The walk-through of the original's README, at the level of the API, with its manifests as they stand there.

use hanse_discovery::model::{Identity, Peer, PeerPresence, SwarmPool};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::bed::Domain;

const NAMESPACE: &str = "private-network-peer-configuration";

const POOL_1: &str = r"apiVersion: v1
kind: Namespace
metadata:
  name: private-network-peer-configuration
---
apiVersion: peerdiscovery.irt-saintexupery.com/v1alpha1
kind: SwarmPool
metadata:
  name: cluster1-private
  namespace: private-network-peer-configuration
spec:
  swarms:
  - name: cluster1-private
    swarmDefinition:
      swarmKeySecretRef: private-swarm
    network:
      loadBalancer:
        loadBalancerIP: auto
        exposedAPI: false
      swarmPort: 4001
      apiPort: 5001
    storage:
      capacity: 1Gi
  IPFSVersion: v0.8.0
";

const POOL_2: &str = r#"apiVersion: v1
kind: Namespace
metadata:
  name: private-network-peer-configuration
---
apiVersion: v1
kind: Secret
metadata:
  name: private-swarm-key
  namespace: private-network-peer-configuration
type: Opaque
data:
  swarm-key: KEY
---
apiVersion: peerdiscovery.irt-saintexupery.com/v1alpha1
kind: SwarmPool
metadata:
  name: cluster2-private
  namespace: private-network-peer-configuration
spec:
  swarms:
  - name: cluster2-private
    swarmDefinition:
      swarmKeySecretRef: private-swarm-key
      bootstrapNodeAddresses: ["BOOTSTRAP"]
    network:
      loadBalancer:
        loadBalancerIP: auto
        exposedAPI: false
      swarmPort: 4001
      apiPort: 5001
    storage:
      capacity: 1Gi
  IPFSVersion: v0.8.0
"#;

fn identity(cluster: u8, pool: &str, url: &str, description: &str, categories: &[&str]) -> String {
    let categories: String = categories
        .iter()
        .map(|name| format!("  - name: \"{name}\"\n"))
        .collect();
    format!(
        r"apiVersion: peerdiscovery.irt-saintexupery.com/v1alpha1
kind: Identity
metadata:
  name: cluster{cluster}-identity
  namespace: private-network-peer-configuration
spec:
  swarms:
  - namespace: private-network-peer-configuration
    swarmPool: {pool}
    swarm: {pool}
  description: {description}
  name: Cluster {cluster}
  URL: {url}
  categories:
{categories}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_of_the_readme() {
    let (one, two) = tokio::join!(Domain::start(), Domain::start());
    one.apply(POOL_1).await;
    let address = |pool: &SwarmPool, name: &str| -> Option<String> {
        let swarm = pool.status.as_ref()?.status.get(name)?;
        let ready = crate::bed::reason(pool, "Exposed") == "Exposed";
        swarm.addresses.first().filter(|_| ready).cloned()
    };
    let pool = one
        .pool(NAMESPACE, "cluster1-private", "the first pool is ready", |pool| {
            crate::bed::reason(pool, "Ready") == "Ready" && address(pool, "cluster1-private").is_some()
        })
        .await;
    let status = pool.status.clone().unwrap();
    let swarm = &status.status["cluster1-private"];
    assert_eq!((swarm.bootstraps, swarm.connected), (0, 0));
    assert_eq!(swarm.name, "cluster1-private");
    assert!(
        swarm.addresses[0].ends_with(&format!("/tcp/4001/p2p/{}", swarm.peer_id)),
        "{swarm:?}"
    );
    assert_eq!(status.hash.len(), 24);
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["status"]["cluster1-private"]["Number of connected peers"], 0);

    let secret = one.api::<Secret>(NAMESPACE).get("private-swarm").await.unwrap();
    let text = String::from_utf8(secret.data.unwrap()["swarm-key"].0.clone()).unwrap();
    assert!(
        text.starts_with("/key/swarm/psk/1.0.0/\n/base16/\n") && !text.ends_with('\n'),
        "{text}"
    );

    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &text);
    let bootstrap = address(&pool, "cluster1-private").unwrap();
    two.apply(&POOL_2.replace("KEY", &key).replace("BOOTSTRAP", &bootstrap))
        .await;
    let connected = |name: &'static str, bootstraps: u32| {
        move |pool: &SwarmPool| {
            let status = pool.status.as_ref().and_then(|status| status.status.get(name));
            status.is_some_and(|swarm| (swarm.bootstraps, swarm.connected) == (bootstraps, 1))
        }
    };
    two.pool(
        NAMESPACE,
        "cluster2-private",
        "the second is connected",
        connected("cluster2-private", 1),
    )
    .await;
    one.pool(
        NAMESPACE,
        "cluster1-private",
        "the first is connected",
        connected("cluster1-private", 0),
    )
    .await;

    // As the README has it, the second Identity names the pool of the first domain. It is told so, and what there is.
    let categories = ["computing", "EO data", "IOT data"];
    one.apply(&identity(
        1,
        "cluster1-private",
        "https://35.240.24.118",
        "I'm cluster 1",
        &categories,
    ))
    .await;
    let categories = ["computing", "sentinel S3A", "weather forecast"];
    two.apply(&identity(
        2,
        "cluster1-private",
        "https://35.187.98.45",
        "I'm cluster 2",
        &categories,
    ))
    .await;
    let told = two
        .identity(NAMESPACE, "cluster2-identity", "it is told", |identity| {
            crate::bed::published(identity).is_some_and(|published| published.reason == "PoolNotFound")
        })
        .await;
    let message = &crate::bed::published(&told).unwrap().message;
    assert!(message.contains("cluster2-private"), "{message}");
    two.apply(&identity(
        2,
        "cluster2-private",
        "https://35.187.98.45",
        "I'm cluster 2",
        &categories,
    ))
    .await;

    let online = |peers: &[Peer]| {
        let status = peers.first().and_then(|peer| peer.status.as_ref());
        peers.len() == 1 && status.is_some_and(|status| status.status == Some(PeerPresence::Online))
    };
    let peers = one.peers(NAMESPACE, "the second is a Peer of the first", online).await;
    assert_eq!(peers[0].spec.name, "Cluster 2");
    assert_eq!(peers[0].spec.url, "https://35.187.98.45");
    assert_eq!(peers[0].spec.description, "I'm cluster 2");
    let names: Vec<&str> = peers[0]
        .spec
        .categories
        .iter()
        .map(|category| category.name.as_str())
        .collect();
    assert_eq!(names, categories);
    let peers = two.peers(NAMESPACE, "the first is a Peer of the second", online).await;
    assert_eq!(peers[0].name_any(), swarm.peer_id.to_lowercase());

    let categories = ["computing", "EO data", "IOT data", "new category"];
    let updated = "I'm cluster 1, but updated";
    one.apply(&identity(
        1,
        "cluster1-private",
        "https://35.240.24.118",
        updated,
        &categories,
    ))
    .await;
    two.peers(NAMESPACE, "the update is seen", |peers| {
        peers.len() == 1 && peers[0].spec.description == updated && peers[0].spec.categories.len() == 4
    })
    .await;

    // The first member may go, and the second goes on; and who deletes its Identity is a Peer of nobody and sees nobody.
    two.delete::<Identity>(NAMESPACE, "cluster2-identity").await;
    one.peers(NAMESPACE, "who withdrew is no Peer", <[Peer]>::is_empty)
        .await;
    two.peers(NAMESPACE, "who withdrew has no Peers", <[Peer]>::is_empty)
        .await;
    tokio::join!(one.stop(), two.stop());
}
