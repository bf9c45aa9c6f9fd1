//! Whatever is not as asked is told.

use hanse_discovery::model::{Identity, IdentityState, SwarmPool};
use hanse_swarm::SwarmKey;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::bed::{Domain, Wish, published, reason};

pub fn pool(name: &str, swarm: &str, rest: &str) -> String {
    format!(
        "apiVersion: peerdiscovery.irt-saintexupery.com/v1alpha1\nkind: SwarmPool\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  swarms:\n  - name: {swarm}\n{rest}"
    )
}

pub fn identity(name: &str, pool: &str, swarm: &str) -> String {
    format!(
        "apiVersion: peerdiscovery.irt-saintexupery.com/v1alpha1\nkind: Identity\nmetadata:\n  name: {name}\n  namespace: default\nspec:\n  swarms:\n  - swarmPool: {pool}\n    swarm: {swarm}\n  name: {name}\n  URL: https://192.0.2.7\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_a_swarm_to_be_in_says_what_to_do() {
    let domain = Domain::start().await;
    domain.apply(&pool("open", "a", "")).await;
    let found = domain
        .pool("default", "open", "it has no swarm", |pool| {
            reason(pool, "KeyReady") == "NoDefaultSwarm"
        })
        .await;
    assert_eq!(reason(&found, "Ready"), "NoDefaultSwarm");
    let status = found.status.unwrap();
    assert_eq!(status.observed_generation, found.metadata.generation.unwrap());
    // An Identity in it waits, and is told for what.
    domain.apply(&identity("me", "open", "a")).await;
    let me = domain
        .identity("default", "me", "it is told", |me| {
            published(me).is_some_and(|found| found.reason == "SwarmNotReady")
        })
        .await;
    assert!(published(&me).unwrap().message.contains("swarm.keyFile"));
    assert_eq!(me.status.unwrap().state, Some(IdentityState::NotPublished));
    let events = domain.api::<Event>("default");
    domain
        .until("there are events", async || {
            let events = events.list(&ListParams::default()).await.unwrap().items;
            let told = |reason: &str| events.iter().any(|event| event.reason.as_deref() == Some(reason));
            (told("NoDefaultSwarm") && told("SwarmNotReady")).then_some(())
        })
        .await;
    domain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_and_the_right_one_is_taken_at_once() {
    let domain = Domain::start().await;
    let write = async |data: serde_json::Value| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": data});
        let params = PatchParams::apply("test").force();
        domain
            .api::<Secret>("default")
            .patch("key", &params, &Patch::Apply(&secret))
            .await
            .unwrap();
    };
    write(json!({"swarm.key": "YQ=="})).await;
    domain
        .apply(&pool(
            "own",
            "a",
            "    swarmDefinition:\n      swarmKeySecretRef: key\n",
        ))
        .await;
    let found = domain
        .pool("default", "own", "the key is missing", |pool| {
            reason(pool, "KeyReady") == "KeyMissing"
        })
        .await;
    let message = |pool: &SwarmPool| {
        crate::bed::condition(&pool.status.as_ref().unwrap().conditions, "KeyReady")
            .unwrap()
            .message
            .clone()
    };
    assert!(message(&found).contains("but swarm.key"), "{}", message(&found));
    let key = SwarmKey::generate();
    let encode = |text: &str| serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap();
    write(json!({"swarm-key": encode(&key.to_file()[..80])})).await;
    let found = domain
        .pool("default", "own", "the key is malformed", |pool| {
            reason(pool, "KeyReady") == "KeyMalformed"
        })
        .await;
    assert!(message(&found).contains("64 hexadecimal digits"), "{}", message(&found));
    write(json!({"swarm-key": encode(&key.to_file())})).await;
    let found = domain
        .pool("default", "own", "the key is taken", |pool| {
            reason(pool, "Ready") == "Ready"
        })
        .await;
    assert!(message(&found).contains(&key.fingerprint().to_string()));
    let peer_id = found.status.unwrap().status["a"].peer_id.clone();

    // A Secret that somebody deletes is written again with the key of the swarm that runs.
    domain
        .api::<Secret>("default")
        .delete("key", &Default::default())
        .await
        .unwrap();
    domain
        .until("the Secret is back", async || {
            let secret = domain.api::<Secret>("default").get_opt("key").await.unwrap()?;
            let text = String::from_utf8(secret.data?.get("swarm-key")?.0.clone()).ok()?;
            (text.parse::<SwarmKey>().ok()?.fingerprint() == key.fingerprint()).then_some(())
        })
        .await;
    // A pool that is made again is the same peer.
    domain.delete::<SwarmPool>("default", "own").await;
    domain
        .apply(&pool(
            "own",
            "a",
            "    swarmDefinition:\n      swarmKeySecretRef: key\n",
        ))
        .await;
    let found = domain
        .pool("default", "own", "it runs again", |pool| {
            reason(pool, "Ready") == "Ready"
        })
        .await;
    assert_eq!(found.status.unwrap().status["a"].peer_id, peer_id);
    domain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_each_swarm_the_oldest_identity_speaks() {
    let key = SwarmKey::generate();
    let domain = Domain::start_with(Wish {
        default: Some((key, Vec::new())),
        ..Wish::default()
    })
    .await;
    domain.apply(&pool("open", "a", "")).await;
    domain.apply(&identity("first", "open", "a")).await;
    let state = |expected: IdentityState| {
        move |identity: &Identity| {
            identity
                .status
                .as_ref()
                .is_some_and(|status| status.state == Some(expected))
        }
    };
    domain
        .identity("default", "first", "it is published", state(IdentityState::Published))
        .await;
    domain.apply(&identity("second", "open", "a")).await;
    let second = domain
        .identity("default", "second", "it is told", |identity| {
            published(identity).is_some_and(|found| found.reason == "Conflict")
        })
        .await;
    assert!(published(&second).unwrap().message.contains("default/first"));
    // A pool of its own with the same swarm changes nothing.
    domain.apply(&pool("other", "b", "")).await;
    domain.apply(&identity("third", "other", "b")).await;
    domain
        .identity("default", "third", "it is told", |identity| {
            published(identity).is_some_and(|found| found.reason == "Conflict")
        })
        .await;
    domain.apply(&identity("fourth", "other", "x")).await;
    let fourth = domain
        .identity("default", "fourth", "it is told", |identity| {
            published(identity).is_some_and(|found| found.reason == "SwarmNotFound")
        })
        .await;
    assert!(published(&fourth).unwrap().message.contains("it has: b"));
    // Nobody is there who could be told, so the deletion waits for nobody; and the next one speaks.
    let before = tokio::time::Instant::now();
    domain.delete::<Identity>("default", "first").await;
    assert!(before.elapsed() < crate::bed::SOON / 2);
    domain
        .identity("default", "second", "now it speaks", state(IdentityState::Published))
        .await;
    domain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_honoured_is_said() {
    let domain = Domain::start().await;
    let rest = "    swarmDefinition:\n      swarmKeySecretRef: key\n      bootstrapNodeAddresses: [/ip4/127.0.0.1/tcp/1/p2p/12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7]\n    storage:\n      capacity: 1Gi\n    network:\n      traefik:\n        traefikEntryPoint: ipfs\n        traefikLoadBalancerServiceName: traefik\n        traefikLoadBalancerNamespace: traefik-v2\n  IPFSVersion: v0.8.0\n";
    domain.apply(&pool("own", "a", rest)).await;
    let found = domain
        .pool("default", "own", "everything is said", |pool| {
            reason(pool, "Exposed") == "TraefikNotInstalled" && reason(pool, "BootstrapReachable") == "NobodyAnswers"
        })
        .await;
    assert_eq!(reason(&found, "VersionHonoured"), "SpokenByAgent");
    assert!(!reason(&found, "StorageBounded").is_empty());
    assert_eq!(reason(&found, "KeyReady"), "Generated");
    assert_eq!(reason(&found, "Ready"), "TraefikNotInstalled");
    assert_eq!(found.name_any(), "own");
    domain.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_meant_is_refused_with_what_to_write() {
    let domain = Domain::start().await;
    let network = |text: &str| format!("    network:\n{text}");
    let traefik = "      traefik:\n        traefikEntryPoint: a\n        traefikLoadBalancerServiceName: a\n        traefikLoadBalancerNamespace: a\n";
    for (manifest, words) in [
        (
            pool("p", "a", &network("      swarmPort: 4001\n")),
            "exactly one of loadBalancer and traefik",
        ),
        (
            pool("p", "a", &network(&format!("      loadBalancer: {{}}\n{traefik}"))),
            "exactly one of loadBalancer and traefik",
        ),
        (
            pool("p", "a", &network("      loadBalancer: {}\n      swarmPort: 5001\n")),
            "must be different",
        ),
        (
            pool("p", "a", &network("      loadBalancer: {}\n      swarmPort: 70000\n")),
            "65535",
        ),
        (
            pool(
                "p",
                "a",
                &network("      loadBalancer:\n        loadBalancerIP: somewhere\n"),
            ),
            "auto or an IP address",
        ),
        (pool("p", "a", "    storage:\n      capacity: much\n"), "such as 1Gi"),
        (pool("p", "A b", ""), "lower-case letters"),
        (pool("p", "a", "  - name: a\n"), "uplicate"),
        (
            pool(
                "p",
                "a",
                "    swarmDefinition:\n      swarmKeySecretRef: key\n      bootstrapNodeAddresses: [\"192.0.2.7:4001\"]\n",
            ),
            "/p2p/",
        ),
        (pool("p", "a", "    swarmDefinition: {}\n"), "swarmKeySecretRef"),
        (
            identity("i", "p", "a").replace("https://", "ftp://"),
            "http or https URL",
        ),
    ] {
        let refused = domain.try_apply(&manifest).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{manifest}\n{refused}");
    }
    domain.stop().await;
}
