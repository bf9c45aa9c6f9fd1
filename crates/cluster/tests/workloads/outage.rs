//! What a cluster goes through while one waits: its API restarts, its history is forgotten (410 Gone).
//!
//! These make their own API server, whatever cluster the suite runs on; nothing can be demanded of a real one. No pod runs
//! in it: the tests write what controllers would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hanse_cluster::{Cluster, Ready};
use hanse_devcluster::{DevCluster, DevClusterConfig};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::bed::{Case, SOON, service};

const NAMESPACE: &str = "outage";

async fn api(folder: &Path, listen: SocketAddr) -> Result<DevCluster> {
    let config = DevClusterConfig {
        listen,
        ..DevClusterConfig::new(folder)
    };
    Ok(DevCluster::start_api(config).await?)
}

/// Applies a load balancer Service and starts to wait for its address, which nobody assigns yet.
async fn waiting(case: &Case, client: Client) -> Result<JoinHandle<Result<Ready>>> {
    let cluster = Cluster::new(client);
    let manifest = case.manifest(&service("web", "LoadBalancer"));
    cluster.ensure_namespace(NAMESPACE, None).await?;
    cluster.apply(NAMESPACE, &manifest, &case.owner).await?;
    // The wait must have begun: it is over only when an address is there, which this sees too.
    let short = cluster
        .wait_ready(NAMESPACE, &manifest, Duration::from_millis(200))
        .await;
    assert!(short.is_err(), "{short:?}");
    Ok(tokio::spawn(async move {
        Ok(cluster.wait_ready(NAMESPACE, &manifest, SOON).await?)
    }))
}

async fn assign(client: Client) -> Result<()> {
    let services: Api<Service> = Api::namespaced(client, NAMESPACE);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.9"}]}}});
    services
        .patch_status("web", &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}

pub async fn a_wait_survives_a_restart_of_the_api(case: &Case) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let first = api(folder.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let address = first.addr();
    let wait = waiting(case, first.client()).await?;
    first.shutdown().await;
    // The port was ours a moment ago; connections of the first server may still hold it for a while.
    let deadline = tokio::time::Instant::now() + SOON;
    let second = loop {
        match api(folder.path(), address).await {
            Ok(api) => break api,
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assign(second.client()).await?;
    wait.await.context("the wait")??;
    second.shutdown().await;
    Ok(())
}

pub async fn a_wait_survives_forgotten_history(case: &Case) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let api = api(folder.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let wait = waiting(case, api.client()).await?;
    // Between a list and its watch, or in the middle of one: the wait must not notice.
    for _ in 0..20 {
        let client = api.client();
        let namespace = json!({"metadata": {"annotations": {"at": format!("{:?}", std::time::Instant::now())}}});
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
        namespaces
            .patch(NAMESPACE, &PatchParams::default(), &Patch::Merge(&namespace))
            .await?;
        api.compact();
    }
    assign(api.client()).await?;
    api.compact();
    wait.await.context("the wait")??;
    api.shutdown().await;
    Ok(())
}
