//! Deployments and the Services in front of them.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::*;

fn rolled_out(deployment: &Deployment, replicas: i32) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) == replicas
        && status.replicas.unwrap_or(0) == replicas
        && status.available_replicas.unwrap_or(0) == replicas
}

fn condition(deployment: &Deployment, type_: &str) -> Option<(String, String)> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let found = serde_json::to_value(conditions).unwrap();
    let found = found
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == type_)?
        .clone();
    Some((
        found["status"].as_str()?.to_owned(),
        found["reason"].as_str()?.to_owned(),
    ))
}

async fn address(space: &Space, name: &str) -> String {
    let ip = |service: &Service| -> Option<String> {
        service
            .status
            .as_ref()?
            .load_balancer
            .as_ref()?
            .ingress
            .as_ref()?
            .first()?
            .ip
            .clone()
    };
    let service = space
        .wait::<Service>(name, "a load-balancer address", |service| ip(service).is_some())
        .await;
    ip(&service).unwrap()
}

/// A client for the tests.
pub fn http() -> reqwest::Client {
    // Built with the whole workspace, the client has TLS but no provider of its cryptography.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A connection for each request: what is tested is who answers new connections.
    reqwest::Client::builder()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

/// Asks until there is an answer.
pub async fn answered(http: &reqwest::Client, url: &str) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let error = match http.get(url).send().await {
            Ok(answer) => return answer.text().await.unwrap(),
            Err(error) => error,
        };
        assert!(Instant::now() < deadline, "{url} does not answer: {error:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A Deployment becomes available, says so, and all its pods answer at the load balancer's address.
pub async fn becomes_ready_and_answers_at_its_address(client: Client) {
    let space = Space::new(client, "deployment").await;
    space.create::<Deployment>(server("web", 2, "1")).await;
    space.create::<Service>(load_balancer("web")).await;
    let deployment = space
        .wait::<Deployment>("web", "rolled out", |deployment| rolled_out(deployment, 2))
        .await;
    assert_eq!(
        condition(&deployment, "Available"),
        Some(("True".into(), "MinimumReplicasAvailable".into()))
    );
    let done = |deployment: &Deployment| {
        condition(deployment, "Progressing") == Some(("True".into(), "NewReplicaSetAvailable".into()))
    };
    let deployment = space.wait::<Deployment>("web", "progress is complete", done).await;
    assert_eq!(deployment.annotations()["deployment.kubernetes.io/revision"], "1");

    let url = format!("http://{}/", address(&space, "web").await);
    let pods: HashSet<String> = space.pods("web").await.iter().map(|pod| pod.name_any()).collect();
    let (http, mut seen) = (http(), HashSet::new());
    answered(&http, &url).await;
    for _ in 0..60 {
        seen.insert(answered(&http, &url).await.split(' ').next().unwrap().to_owned());
        if seen == pods {
            break;
        }
    }
    assert_eq!(seen, pods, "every pod has its turn");
    space.delete().await;
}

/// While a new version is rolled out every connection is answered, and in the end by the new version only.
pub async fn a_rolling_update_refuses_no_connection(client: Client) {
    let space = Space::new(client, "rolling").await;
    space.create::<Deployment>(server("web", 2, "one")).await;
    space.create::<Service>(load_balancer("web")).await;
    space
        .wait::<Deployment>("web", "rolled out", |deployment| rolled_out(deployment, 2))
        .await;
    let url = format!("http://{}/", address(&space, "web").await);
    answered(&http(), &url).await;

    let over = Arc::new(AtomicBool::new(false));
    let (stop, watched) = (Arc::clone(&over), url.clone());
    let asking = tokio::spawn(async move {
        let http = http();
        let mut answers = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let answer = http
                .get(&watched)
                .send()
                .await
                .unwrap_or_else(|error| panic!("refused: {error:?}"));
            answers.push(answer.text().await.unwrap_or_else(|error| panic!("cut off: {error:?}")));
            sleep(Duration::from_millis(2)).await;
        }
        answers
    });
    let deployments: Api<Deployment> = space.api();
    let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": environment("two")}]}}}});
    deployments
        .patch("web", &PatchParams::default(), &Patch::Strategic(change))
        .await
        .unwrap();
    space
        .wait::<Deployment>("web", "rolled out again", |deployment| rolled_out(deployment, 2))
        .await;
    space
        .wait_pods("web", "the old pods are gone", |pods| pods.len() == 2)
        .await;
    over.store(true, Ordering::Relaxed);
    let answers = asking.await.unwrap();
    assert!(
        answers.iter().any(|answer| answer.ends_with("one")) && answers.len() > 10,
        "{}",
        answers.len()
    );
    assert!(answered(&http(), &url).await.ends_with("two"));
    let sets = space
        .api::<ReplicaSet>()
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let mut sizes: Vec<i32> = sets.iter().map(|set| set.spec.replicas.unwrap_or(1)).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 2], "the old set is kept for a roll-back");
    space.delete().await;
}

/// `kubectl rollout restart`: an annotation of the template makes new pods and a new revision.
pub async fn a_restart_by_annotation_replaces_the_pods(client: Client) {
    let space = Space::new(client, "restart").await;
    space.create::<Deployment>(server("web", 1, "1")).await;
    space
        .wait::<Deployment>("web", "rolled out", |deployment| rolled_out(deployment, 1))
        .await;
    let before = space.pods("web").await[0].name_any();
    let now = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
    let change = json!({"spec": {"template": {"metadata": {"annotations": now}}}});
    space
        .api::<Deployment>()
        .patch("web", &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
    let deployment = space
        .wait::<Deployment>("web", "rolled out again", |deployment| rolled_out(deployment, 1))
        .await;
    let pods = space
        .wait_pods("web", "the old pod is gone", |pods| pods.len() == 1)
        .await;
    assert_ne!(pods[0].name_any(), before);
    assert_eq!(deployment.annotations()["deployment.kubernetes.io/revision"], "2");
    space.delete().await;
}

/// Scaling through the subresource adds pods and takes them away, down to none.
pub async fn scales_up_and_down(client: Client) {
    let space = Space::new(client, "scale").await;
    space.create::<Deployment>(server("web", 1, "1")).await;
    let deployments: Api<Deployment> = space.api();
    for replicas in [3, 1, 0, 2] {
        let change = json!({"spec": {"replicas": replicas}});
        deployments
            .patch_scale("web", &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
        space
            .wait::<Deployment>("web", "scaled", |deployment| rolled_out(deployment, replicas))
            .await;
        let number = usize::try_from(replicas).unwrap();
        space
            .wait_pods("web", "as many pods as wanted", |pods| {
                pods.len() == number && pods.iter().all(is_ready)
            })
            .await;
    }
    space.delete().await;
}

/// Strategy `Recreate`: no pod of the new version exists before the last of the old one is gone.
pub async fn recreate_never_runs_two_versions(client: Client) {
    let space = Space::new(client, "recreate").await;
    let mut deployment = server("web", 2, "one");
    deployment["spec"]["strategy"] = json!({"type": "Recreate"});
    space.create::<Deployment>(deployment).await;
    space
        .wait::<Deployment>("web", "rolled out", |deployment| rolled_out(deployment, 2))
        .await;
    let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "env": environment("two")}]}}}});
    space
        .api::<Deployment>()
        .patch("web", &PatchParams::default(), &Patch::Strategic(change))
        .await
        .unwrap();
    let hash = |pod: &Pod| pod.labels()["pod-template-hash"].clone();
    let deadline = Instant::now() + DEADLINE;
    while !rolled_out(&space.api::<Deployment>().get("web").await.unwrap(), 2) {
        let pods = space.pods("web").await;
        let versions: HashSet<String> = pods.iter().map(hash).collect();
        assert!(versions.len() < 2, "two versions at once");
        assert!(Instant::now() < deadline, "not rolled out in time");
        sleep(Duration::from_millis(10)).await;
    }
    space.delete().await;
}

/// Deleting a Deployment in the foreground ends its pods before it is gone itself.
pub async fn deletion_takes_the_pods_along(client: Client) {
    let space = Space::new(client, "delete").await;
    let deployment: Deployment = space.create(server("web", 2, "1")).await;
    space.create::<Service>(load_balancer("web")).await;
    space
        .wait::<Deployment>("web", "rolled out", |deployment| rolled_out(deployment, 2))
        .await;
    let url = format!("http://{}/", address(&space, "web").await);
    answered(&http(), &url).await;
    let deployments: Api<Deployment> = space.api();
    deployments.delete("web", &DeleteParams::foreground()).await.unwrap();
    gone(deployments, "web", deployment.uid().unwrap()).await;
    assert_eq!(space.pods("web").await.len(), 0);
    assert!(http().get(&url).send().await.is_err(), "nobody answers any more");
    space.delete().await;
}
