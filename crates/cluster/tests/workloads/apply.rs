//! Applying: idempotent, complete, and never over someone else.

use anyhow::{Result, ensure};
use hanse_cluster::{Change, ClusterError, Kind, ObjectRef, Owner, Permanent};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::bed::{Case, SOON, config_map, deployment, idle, job, script, service};

fn config_maps(case: &Case) -> Api<ConfigMap> {
    Api::namespaced(case.cluster.client().clone(), &case.namespace)
}

pub async fn applying_twice_changes_nothing(case: &Case) -> Result<()> {
    let secret =
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {text: hello}\ndata: {bytes: aGk=}\n";
    let yaml = config_map("c", "{k: v}")
        + secret
        + &service("web", "ClusterIP")
        + &deployment("web", 1, &idle(), "")
        + &job("once", &script("echo worked", ""));
    let manifest = case.manifest(&yaml);
    let first = case.cluster.apply(&case.namespace, &manifest, &case.owner).await?;
    let order: Vec<Kind> = first.iter().map(|(object, _)| object.kind).collect();
    assert_eq!(
        order,
        [
            Kind::ConfigMap,
            Kind::Secret,
            Kind::Service,
            Kind::Deployment,
            Kind::Job
        ]
    );
    assert!(first.iter().all(|(_, change)| *change == Change::Created), "{first:?}");
    // Controllers write status meanwhile, which is no change of ours; once they are done nothing moves at all.
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let second = case.cluster.apply(&case.namespace, &manifest, &case.owner).await?;
    assert!(
        second.iter().all(|(_, change)| *change == Change::Unchanged),
        "{second:?}"
    );
    Ok(())
}

pub async fn an_interrupted_apply_is_completed(case: &Case) -> Result<()> {
    let yaml = config_map("a", "{k: v}") + &config_map("b", "{k: v}");
    let manifest = case.applied(&yaml).await?;
    config_maps(case).delete("b", &DeleteParams::default()).await?;
    let again = case.cluster.apply(&case.namespace, &manifest, &case.owner).await?;
    let wanted = [
        (ObjectRef::new(Kind::ConfigMap, "a"), Change::Unchanged),
        (ObjectRef::new(Kind::ConfigMap, "b"), Change::Created),
    ];
    assert_eq!(again, wanted);
    Ok(())
}

pub async fn fields_that_a_newer_manifest_drops_go_away(case: &Case) -> Result<()> {
    case.applied(&config_map("c", "{keep: v, drop: v}")).await?;
    case.applied(&config_map("c", "{keep: w}")).await?;
    let data = config_maps(case).get("c").await?.data.unwrap_or_default();
    assert_eq!(
        data.into_iter().collect::<Vec<_>>(),
        [("keep".to_owned(), "w".to_owned())]
    );
    Ok(())
}

pub async fn a_conflict_names_the_other_manager_and_the_field(case: &Case) -> Result<()> {
    let manifest = case.applied(&config_map("c", "{k: ours}")).await?;
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "theirs"}});
    config_maps(case)
        .patch("c", &PatchParams::apply("alice").force(), &Patch::Apply(&theirs))
        .await?;
    match case.cluster.apply(&case.namespace, &manifest, &case.owner).await {
        Err(ClusterError::Permanent(Permanent::Conflict {
            object,
            managers,
            fields,
        })) => {
            assert_eq!(object, ObjectRef::new(Kind::ConfigMap, "c"));
            assert_eq!(
                (managers, fields),
                (vec!["alice".to_owned()], vec![".data.k".to_owned()])
            );
        }
        other => panic!("expected a conflict with alice, got {other:?}"),
    }
    let data = config_maps(case).get("c").await?.data.unwrap_or_default();
    assert_eq!(data["k"], "theirs", "nothing was overwritten");
    Ok(())
}

pub async fn the_manifest_wins_over_our_own_earlier_changes(case: &Case) -> Result<()> {
    let manifest = case
        .applied(&(config_map("c", "{k: v}") + &deployment("web", 1, &idle(), "")))
        .await?;
    case.cluster.scale(&case.namespace, "web", 2).await?;
    case.cluster.patch_config_map(&case.namespace, "c", "k", "w").await?;
    case.cluster.apply(&case.namespace, &manifest, &case.owner).await?;
    assert_eq!(case.cluster.replicas(&case.namespace, "web").await?.wanted, 1);
    assert_eq!(config_maps(case).get("c").await?.data.unwrap_or_default()["k"], "v");
    Ok(())
}

pub async fn someone_elses_object_is_not_taken(case: &Case) -> Result<()> {
    let theirs: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "c"}, "data": {"k": "theirs"}}))?;
    let params = PostParams {
        field_manager: Some("their-tool".to_owned()),
        ..PostParams::default()
    };
    config_maps(case).create(&params, &theirs).await?;
    let error = case
        .applied(&config_map("c", "{other: ours}"))
        .await
        .expect_err("it is not ours")
        .to_string();
    assert!(
        error.contains("belongs to someone else (managed by: their-tool)"),
        "{error}"
    );
    assert!(error.contains("choose another name"), "{error}");
    Ok(())
}

pub async fn another_agreements_object_is_not_taken(case: &Case) -> Result<()> {
    let manifest = case.applied(&config_map("c", "{k: v}")).await?;
    let other = Owner::new("another-agreement")?;
    let error = case
        .cluster
        .apply(&case.namespace, &manifest, &other)
        .await
        .expect_err("it is not theirs")
        .to_string();
    assert!(
        error.contains(&format!("belongs to agreement \"{}\"", case.owner.id())),
        "{error}"
    );
    Ok(())
}

pub async fn a_namespace_that_is_not_there_is_said_to_be_missing(case: &Case) -> Result<()> {
    let manifest = case.manifest(&config_map("c", "{k: v}"));
    let result = case
        .cluster
        .apply("hanse-test-never-made", &manifest, &case.owner)
        .await;
    let Err(error @ ClusterError::Permanent(Permanent::NotFound { .. })) = result else {
        panic!("{result:?}")
    };
    assert!(
        error
            .to_string()
            .contains("namespaces \"hanse-test-never-made\" not found"),
        "{error}"
    );
    Ok(())
}

pub async fn pods_carry_their_owner(case: &Case) -> Result<()> {
    let manifest = case.applied(&deployment("web", 2, &idle(), "")).await?;
    case.cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    let pods: Api<Pod> = Api::namespaced(case.cluster.client().clone(), &case.namespace);
    let ours = pods.list(&ListParams::default().labels(&case.owner.selector())).await?;
    ensure!(ours.items.len() == 2, "{} pods", ours.items.len());
    for pod in ours {
        assert_eq!(pod.spec.and_then(|s| s.automount_service_account_token), Some(false));
    }
    Ok(())
}
