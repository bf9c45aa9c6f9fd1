//! Removal: what is ours, all of it, and not before it is gone.

use std::time::Duration;

use anyhow::{Result, ensure};
use hanse_cluster::{Cluster, ClusterError, Kind, ObjectRef, Owner, Permanent, Temporary};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::bed::{Case, SOON, config_map, deployment, idle, script, service};

async fn pods(case: &Case) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(case.cluster.client().clone(), &case.namespace);
    Ok(pods
        .list(&ListParams::default())
        .await?
        .iter()
        .map(|p| p.name_any())
        .collect())
}

async fn left(case: &Case) -> Result<Vec<String>> {
    Ok(case
        .cluster
        .list(&case.namespace, &case.owner)
        .await?
        .iter()
        .map(|o| o.object.to_string())
        .collect())
}

fn video() -> String {
    let shared = |name: &str| {
        deployment(
            name,
            1,
            &idle().replace("}", ", envFrom: [{configMapRef: {name: shared}}]}"),
            "",
        )
    };
    config_map("shared", "{k: v}")
        + &service("object-detector", "ClusterIP")
        + &shared("object-detector")
        + &shared("sampler-sender")
}

pub async fn deleting_a_manifest_returns_when_its_pods_are_gone(case: &Case) -> Result<()> {
    let manifest = case.applied(&video()).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    ensure!(pods(case).await?.len() == 2);
    let deleted = case
        .cluster
        .delete(&case.namespace, &manifest, &case.owner, SOON)
        .await?;
    assert_eq!(deleted.len(), 4);
    assert_eq!(pods(case).await?, Vec::<String>::new());
    assert_eq!(left(case).await?, Vec::<String>::new());
    let again = case
        .cluster
        .delete(&case.namespace, &manifest, &case.owner, SOON)
        .await?;
    assert_eq!(again, [], "deleting what is gone is fine");
    Ok(())
}

pub async fn pruning_takes_one_component_and_leaves_what_is_shared(case: &Case) -> Result<()> {
    let manifest = case.applied(&video()).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let keep = manifest.without(&["object-detector"])?;
    let gone = case
        .cluster
        .prune(&case.namespace, &case.owner, Some(&keep), SOON)
        .await?;
    let wanted = [
        ObjectRef::new(Kind::Service, "object-detector"),
        ObjectRef::new(Kind::Deployment, "object-detector"),
    ];
    assert_eq!(gone, wanted);
    assert_eq!(
        left(case).await?,
        ["ConfigMap \"shared\"", "Deployment \"sampler-sender\""]
    );
    let pods = pods(case).await?;
    ensure!(pods.len() == 1 && pods[0].starts_with("sampler-sender-"), "{pods:?}");
    case.cluster.prune(&case.namespace, &case.owner, None, SOON).await?;
    assert_eq!(left(case).await?, Vec::<String>::new());
    Ok(())
}

pub async fn a_pod_prefix_takes_the_deployment_and_its_service(case: &Case) -> Result<()> {
    let manifest = case.applied(&video()).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let gone = case
        .cluster
        .delete_pods_by_prefix(&case.namespace, &["object-detector-"], SOON)
        .await?;
    let wanted = [
        ObjectRef::new(Kind::Deployment, "object-detector"),
        ObjectRef::new(Kind::Service, "object-detector"),
    ];
    assert_eq!(gone, wanted);
    assert_eq!(
        left(case).await?,
        ["ConfigMap \"shared\"", "Deployment \"sampler-sender\""]
    );
    let none = case
        .cluster
        .delete_pods_by_prefix(&case.namespace, &["object-detector-"], SOON)
        .await?;
    assert_eq!(none, []);
    let everything = case.cluster.delete_pods_by_prefix(&case.namespace, &["-"], SOON).await;
    assert!(
        matches!(everything, Err(ClusterError::Permanent(Permanent::Request(_)))),
        "{everything:?}"
    );
    Ok(())
}

pub async fn what_is_someone_elses_stays(case: &Case) -> Result<()> {
    let manifest = case.manifest(&config_map("c", "{k: v}"));
    let config_maps: Api<ConfigMap> = Api::namespaced(case.cluster.client().clone(), &case.namespace);
    config_maps
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": "c"}}))?,
        )
        .await?;
    assert_eq!(
        case.cluster
            .delete(&case.namespace, &manifest, &case.owner, SOON)
            .await?,
        []
    );
    let other = Owner::new("another-agreement")?;
    let theirs = case.manifest(&config_map("d", "{k: v}"));
    case.cluster.apply(&case.namespace, &theirs, &other).await?;
    assert_eq!(case.cluster.prune(&case.namespace, &case.owner, None, SOON).await?, []);
    assert!(config_maps.get_opt("c").await?.is_some() && config_maps.get_opt("d").await?.is_some());
    Ok(())
}

pub async fn a_pod_that_will_not_end_is_named_at_the_deadline_and_waited_for_again(case: &Case) -> Result<()> {
    let stubborn = script("trap '' TERM; echo started; while true; do sleep 0.2; done", "");
    let yaml = deployment("web", 1, &stubborn, "").replace("GracePeriodSeconds: 1", "GracePeriodSeconds: 6");
    let manifest = case.applied(&yaml).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let early = case
        .cluster
        .delete(&case.namespace, &manifest, &case.owner, Duration::from_secs(1))
        .await;
    let Err(error @ ClusterError::Temporary(Temporary::Deadline { .. })) = early else {
        panic!("{early:?}")
    };
    assert!(error.to_string().contains("Deployment \"web\""), "{error}");
    case.cluster
        .delete(&case.namespace, &manifest, &case.owner, SOON)
        .await?;
    assert_eq!(pods(case).await?, Vec::<String>::new());
    Ok(())
}

pub async fn an_object_that_is_ending_is_not_applied_over(case: &Case) -> Result<()> {
    let stubborn = script("trap '' TERM; while true; do sleep 0.2; done", "");
    let yaml = deployment("web", 1, &stubborn, "").replace("GracePeriodSeconds: 1", "GracePeriodSeconds: 6");
    let manifest = case.applied(&yaml).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let deleting = case
        .cluster
        .delete(&case.namespace, &manifest, &case.owner, Duration::from_millis(100))
        .await;
    assert!(deleting.is_err());
    let result = case.cluster.apply(&case.namespace, &manifest, &case.owner).await;
    assert!(
        matches!(result, Err(ClusterError::Temporary(Temporary::StillEnding { .. }))),
        "{result:?}"
    );
    Ok(())
}

pub async fn a_namespace_that_is_ending_is_not_used(case: &Case) -> Result<()> {
    let (cluster, client) = (&case.cluster, case.cluster.client().clone());
    let name = format!("{}-held", case.namespace);
    cluster.ensure_namespace(&name, None).await?;
    let held = json!({"metadata": {"name": "held", "finalizers": ["hanse.dev/test"]}});
    let config_maps: Api<ConfigMap> = Api::namespaced(client, &name);
    config_maps
        .create(&PostParams::default(), &serde_json::from_value(held)?)
        .await?;

    let slow = cluster.delete_namespace(&name, Duration::from_millis(500)).await;
    assert!(
        matches!(slow, Err(ClusterError::Temporary(Temporary::Deadline { .. }))),
        "{slow:?}"
    );
    let ensured = cluster.ensure_namespace(&name, None).await;
    assert!(
        matches!(ensured, Err(ClusterError::Temporary(Temporary::StillEnding { .. }))),
        "{ensured:?}"
    );
    let applied = cluster
        .apply(&name, &case.manifest(&config_map("c", "{k: v}")), &case.owner)
        .await;
    assert!(
        matches!(applied, Err(ClusterError::Temporary(Temporary::StillEnding { .. }))),
        "{applied:?}"
    );

    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    config_maps.patch("held", &PatchParams::default(), &release).await?;
    cluster.delete_namespace(&name, SOON).await?;
    cluster.ensure_namespace(&name, None).await?;
    cluster.delete_namespace(&name, SOON).await?;
    Ok(())
}

pub async fn a_namespace_goes_with_everything_in_it_but_only_if_it_is_ours(case: &Case) -> Result<()> {
    let cluster: &Cluster = &case.cluster;
    let name = format!("{}-more", case.namespace);
    cluster.ensure_namespace(&name, Some(&case.owner)).await?;
    cluster.ensure_namespace(&name, Some(&case.owner)).await?;
    cluster
        .apply(&name, &case.manifest(&deployment("web", 1, &idle(), "")), &case.owner)
        .await?;
    cluster.wait_rollout(&name, "web", SOON).await?;
    cluster.delete_namespace(&name, SOON).await?;
    let namespaces: Api<Namespace> = Api::all(cluster.client().clone());
    assert!(namespaces.get_opt(&name).await?.is_none());
    cluster.delete_namespace(&name, SOON).await?;

    let refused = cluster.delete_namespace("default", SOON).await;
    assert!(
        matches!(refused, Err(ClusterError::Permanent(Permanent::NotOurs { .. }))),
        "{refused:?}"
    );
    Ok(())
}
