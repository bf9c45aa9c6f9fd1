//! The development cluster as a controller sees it: through a `kube::Client`.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures::StreamExt;
use hanse_devcluster::{DevCluster, DevClusterConfig, StartError};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

async fn cluster() -> (tempfile::TempDir, DevCluster) {
    let folder = tempfile::tempdir().unwrap();
    let cluster = DevCluster::start_api(DevClusterConfig::new(folder.path()))
        .await
        .unwrap();
    (folder, cluster)
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": value}})).unwrap()
}

#[tokio::test]
async fn objects_are_created_read_listed_patched_applied_and_deleted() {
    let (_folder, cluster) = cluster().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    maps.create(&PostParams::default(), &config_map("a", "1"))
        .await
        .unwrap();
    let patched = maps
        .patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"l": "2"}})))
        .await
        .unwrap();
    assert_eq!(patched.data.unwrap().len(), 2);
    let apply = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"m": "3"}}));
    let applied = maps.patch("a", &PatchParams::apply("tester"), &apply).await.unwrap();
    assert_eq!(applied.data.unwrap().len(), 3);
    let list = maps
        .list(&ListParams::default().fields("metadata.name=a"))
        .await
        .unwrap();
    assert_eq!(list.items.len(), 1);
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let gone = maps.get_opt("a").await.unwrap();
    assert!(gone.is_none());
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_watcher_sees_every_change_in_order() {
    let (_folder, cluster) = cluster().await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    let config = watcher::Config::default().fields("metadata.name=w");
    let mut events = Box::pin(watcher(maps.clone(), config));
    let mut seen = Vec::new();
    maps.create(&PostParams::default(), &config_map("w", "1"))
        .await
        .unwrap();
    let watching = async {
        while let Some(event) = events.next().await {
            match event.unwrap() {
                watcher::Event::Apply(map) | watcher::Event::InitApply(map) => {
                    let value = map.data.unwrap()["k"].clone();
                    seen.push(value.clone());
                    if value == "1" {
                        maps.patch("w", &PatchParams::default(), &Patch::Merge(json!({"data": {"k": "2"}})))
                            .await
                            .unwrap();
                    } else {
                        maps.delete("w", &DeleteParams::default()).await.unwrap();
                    }
                }
                watcher::Event::Delete(_) => return,
                watcher::Event::Init | watcher::Event::InitDone => {}
            }
        }
    };
    tokio::time::timeout(DEADLINE, watching).await.unwrap();
    assert_eq!(seen, ["1", "2"]);
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_the_credentials_still_work() {
    let folder = tempfile::tempdir().unwrap();
    let first = DevCluster::start_api(DevClusterConfig::new(folder.path()))
        .await
        .unwrap();
    let credentials = |cluster: &DevCluster| {
        let kubeconfig = serde_json::to_value(cluster.kubeconfig()).unwrap();
        let authority = &kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"];
        [kubeconfig["users"][0]["user"]["token"].clone(), authority.clone()]
    };
    let before = credentials(&first);
    assert!(
        before.iter().all(Value::is_string),
        "a kubeconfig has a token and an authority"
    );
    let maps: Api<ConfigMap> = Api::namespaced(first.client(), "default");
    let created = maps
        .create(&PostParams::default(), &config_map("kept", "1"))
        .await
        .unwrap();
    drop(maps);
    first.shutdown().await;
    let config = DevClusterConfig::new(folder.path());
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let second = loop {
        match DevCluster::start_api(config.clone()).await {
            Ok(cluster) => break cluster,
            // The last connection of the first one may hold the file a moment longer.
            Err(StartError::Store(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let maps: Api<ConfigMap> = Api::namespaced(second.client(), "default");
    let found = maps.get("kept").await.unwrap();
    assert_eq!(found.metadata.resource_version, created.metadata.resource_version);
    assert_eq!(credentials(&second), before);
    second.shutdown().await;
}

#[tokio::test]
async fn only_loopback_is_listened_on_and_a_folder_belongs_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = DevClusterConfig::new(folder.path());
    config.listen = "0.0.0.0:0".parse().unwrap();
    let refused = DevCluster::start_api(config.clone()).await.err().unwrap();
    assert!(refused.to_string().contains("loopback only"), "{refused}");
    config.listen = "127.0.0.1:0".parse().unwrap();
    let cluster = DevCluster::start_api(config.clone()).await.unwrap();
    let refused = DevCluster::start_api(config.clone()).await.err().unwrap();
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    config.data_dir = folder.path().join("other");
    config.listen = cluster.addr();
    let refused = DevCluster::start_api(config).await.err().unwrap();
    assert!(matches!(refused, StartError::Listen { .. }), "{refused}");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_namespace_goes_with_everything_in_it() {
    let (_folder, cluster) = cluster().await;
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), "n");
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]}}},
    }))
    .unwrap();
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let scale = deployments
        .patch_scale(
            "d",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 3}})),
        )
        .await
        .unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), "n");
    let ready = async {
        while accounts.get_opt("default").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.unwrap();
    namespaces.delete("n", &DeleteParams::default()).await.unwrap();
    let gone = async {
        while namespaces.get_opt("n").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.unwrap();
    assert!(deployments.list(&ListParams::default()).await.unwrap().items.is_empty());
    cluster.shutdown().await;
}

/// A client as others have it: through TLS, with the authority of the kubeconfig.
async fn outside(cluster: &DevCluster) -> kube::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(cluster.kubeconfig(), &options)
        .await
        .unwrap();
    assert_eq!(config.cluster_url.scheme_str(), Some("https"));
    kube::Client::try_from(config).unwrap()
}

#[tokio::test]
async fn one_port_serves_with_tls_and_without() {
    let (_folder, cluster) = cluster().await;
    let inside: Api<ConfigMap> = Api::namespaced(cluster.client(), "default");
    inside
        .create(&PostParams::default(), &config_map("both", "1"))
        .await
        .unwrap();
    let outside: Api<ConfigMap> = Api::namespaced(outside(&cluster).await, "default");
    assert_eq!(outside.get("both").await.unwrap().data.unwrap()["k"], "1");
    cluster.shutdown().await;
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let (_folder, cluster) = cluster().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(tokio::net::TcpStream::connect(cluster.addr()).await.unwrap());
    }
    let namespaces: Api<Namespace> = Api::all(outside(&cluster).await);
    let listed = tokio::time::timeout(DEADLINE, namespaces.list(&ListParams::default())).await;
    assert!(!listed.expect("in time").unwrap().items.is_empty());
    cluster.shutdown().await;
}
