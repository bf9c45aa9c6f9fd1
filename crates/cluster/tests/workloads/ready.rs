//! Waiting: until it runs, or until it is clear why it does not.

use std::time::{Duration, Instant};

use anyhow::Result;
use hanse_cluster::{Cluster, ClusterError, Kind, NotReady, ObjectRef, Patience, Permanent, Reason, Temporary};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Event, ResourceQuota, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{ListParams, PostParams};
use kube::config::AuthInfo;
use serde_json::json;

use crate::bed::{Case, SOON, config_map, deployment, idle, job, script, service};

/// Applies and expects it not to become ready, early unless the deadline is expected.
async fn failure(case: &Case, yaml: &str, within: Duration) -> Result<NotReady> {
    let manifest = case.applied(yaml).await?;
    // On a loaded machine even a program that ends at once may take a while to do so.
    let patience = Patience {
        settle: Duration::from_secs(20),
        ..Patience::default()
    };
    let cluster = case.cluster.clone().with_patience(patience);
    match cluster.wait_ready(&case.namespace, &manifest, within).await {
        Ok(ready) => panic!("became ready: {ready:?}"),
        Err(not_ready) => {
            assert!(!not_ready.hint.is_empty());
            Ok(not_ready)
        }
    }
}

async fn early_failure(case: &Case, yaml: &str) -> Result<NotReady> {
    let start = Instant::now();
    let not_ready = failure(case, yaml, SOON).await?;
    assert_eq!(
        not_ready.deadline, None,
        "should have ended before the deadline: {not_ready}"
    );
    assert!(start.elapsed() < SOON);
    Ok(not_ready)
}

pub async fn an_image_that_is_not_there(case: &Case) -> Result<()> {
    let container = "{name: main, image: \"localhost:1/hanse/no-such-image:1\"}";
    let not_ready = early_failure(case, &deployment("web", 1, container, "")).await?;
    assert_eq!(
        (not_ready.reason, &not_ready.object),
        (Reason::ImagePull, &ObjectRef::new(Kind::Deployment, "web"))
    );
    assert!(
        not_ready.message.contains("localhost:1/hanse/no-such-image:1"),
        "{not_ready}"
    );
    assert!(!not_ready.is_retryable());
    Ok(())
}

pub async fn an_image_name_that_is_none(case: &Case) -> Result<()> {
    let not_ready = early_failure(
        case,
        &deployment("web", 1, "{name: main, image: \"UPPER/Case:::\"}", ""),
    )
    .await?;
    assert_eq!(not_ready.reason, Reason::ImagePull);
    assert!(not_ready.message.contains("UPPER/Case:::"), "{not_ready}");
    Ok(())
}

pub async fn a_crash_loop_with_exit_code_and_last_words(case: &Case) -> Result<()> {
    let container = script("echo no configuration; echo giving up; exit 7", "");
    let not_ready = early_failure(case, &deployment("web", 1, &container, "")).await?;
    assert_eq!(not_ready.reason, Reason::CrashLoop);
    assert!(
        not_ready.message.contains("exit code 7") && not_ready.message.contains("restarted"),
        "{not_ready}"
    );
    assert_eq!(not_ready.log, ["no configuration", "giving up"]);
    Ok(())
}

pub async fn a_program_that_ends_by_itself(case: &Case) -> Result<()> {
    let not_ready = early_failure(case, &deployment("web", 1, &script("echo done", ""), "")).await?;
    assert_eq!(not_ready.reason, Reason::CrashLoop);
    assert!(not_ready.message.contains("ended by itself"), "{not_ready}");
    Ok(())
}

pub async fn a_program_that_is_not_in_the_image(case: &Case) -> Result<()> {
    let container = "{name: main, image: \"busybox:1.36\", command: [/no/such/program]}";
    let not_ready = early_failure(case, &deployment("web", 1, container, "")).await?;
    assert!(
        matches!(not_ready.reason, Reason::CannotStart | Reason::CrashLoop),
        "{not_ready}"
    );
    Ok(())
}

pub async fn more_cpu_than_any_node_has(case: &Case) -> Result<()> {
    let container = script("sleep 1000", ", resources: {requests: {cpu: \"100000\"}}");
    let yaml = deployment("web", 1, &container, "");
    let impatient = Patience {
        scheduling: Duration::from_secs(2),
        ..Patience::default()
    };
    let cluster = case.cluster.clone().with_patience(impatient);
    let manifest = case.applied(&yaml).await?;
    let not_ready = cluster
        .wait_ready(&case.namespace, &manifest, SOON)
        .await
        .expect_err("no node is that large");
    assert_eq!((not_ready.reason, not_ready.deadline), (Reason::Unschedulable, None));
    assert!(
        not_ready.message.to_lowercase().contains("insufficient cpu"),
        "{not_ready}"
    );
    assert!(not_ready.is_retryable());
    Ok(())
}

pub async fn a_quota_that_is_used_up(case: &Case) -> Result<()> {
    let quota: ResourceQuota =
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}))?;
    let quotas: Api<ResourceQuota> = Api::namespaced(case.cluster.client().clone(), &case.namespace);
    quotas.create(&PostParams::default(), &quota).await?;
    let not_ready = early_failure(case, &deployment("web", 3, &idle(), "")).await?;
    assert_eq!(not_ready.reason, Reason::QuotaExceeded);
    assert!(not_ready.message.contains("exceeded quota: q"), "{not_ready}");
    Ok(())
}

pub async fn a_config_map_that_is_missing(case: &Case) -> Result<()> {
    let container = script("sleep 1000", ", envFrom: [{configMapRef: {name: nowhere}}]");
    let not_ready = early_failure(case, &deployment("web", 1, &container, "")).await?;
    assert_eq!(not_ready.reason, Reason::Configuration);
    assert!(
        not_ready.message.contains("configmap \"nowhere\" not found"),
        "{not_ready}"
    );
    Ok(())
}

pub async fn a_key_that_is_missing(case: &Case) -> Result<()> {
    let env = ", env: [{name: K, valueFrom: {configMapKeyRef: {name: c, key: nowhere}}}]";
    let yaml = config_map("c", "{k: v}") + &deployment("web", 1, &script("sleep 1000", env), "");
    let not_ready = early_failure(case, &yaml).await?;
    assert_eq!(not_ready.reason, Reason::Configuration);
    assert!(not_ready.message.contains("nowhere"), "{not_ready}");
    Ok(())
}

pub async fn a_volume_that_cannot_be_mounted(case: &Case) -> Result<()> {
    let yaml = deployment("web", 1, &idle(), "").replace(
        "      containers:",
        "      volumes: [{name: v, configMap: {name: nowhere}}]\n      containers:",
    );
    let not_ready = early_failure(case, &yaml).await?;
    assert_eq!(not_ready.reason, Reason::Configuration);
    assert!(not_ready.message.contains("nowhere"), "{not_ready}");
    Ok(())
}

pub async fn a_probe_that_fails_is_told_at_the_deadline(case: &Case) -> Result<()> {
    let container = script(
        "sleep 1000",
        ", readinessProbe: {periodSeconds: 1, exec: {command: [sh, -c, \"echo sick; exit 1\"]}}",
    );
    let manifest = case.applied(&deployment("web", 1, &container, "")).await?;
    let events: Api<Event> = Api::namespaced(case.cluster.client().clone(), &case.namespace);
    let unhealthy = ListParams::default().fields("reason=Unhealthy");
    let deadline = Instant::now() + SOON;
    while events.list(&unhealthy).await?.items.is_empty() {
        assert!(Instant::now() < deadline, "the probe should have failed by now");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let within = Duration::from_secs(2);
    let not_ready = case
        .cluster
        .wait_ready(&case.namespace, &manifest, within)
        .await
        .expect_err("its probe fails");
    assert_eq!(
        (not_ready.reason, not_ready.deadline),
        (Reason::ProbeFailing, Some(within)),
        "{not_ready}"
    );
    assert!(
        not_ready.to_string().contains("after 2 s") && not_ready.message.contains("sick"),
        "{not_ready}"
    );
    Ok(())
}

pub async fn the_deployments_own_progress_deadline(case: &Case) -> Result<()> {
    let container = script(
        "sleep 1000",
        ", readinessProbe: {periodSeconds: 1, exec: {command: [\"false\"]}}",
    );
    let not_ready = early_failure(case, &deployment("web", 1, &container, "progressDeadlineSeconds: 3")).await?;
    // The probe is the more telling cause, if its event was seen.
    assert!(
        matches!(not_ready.reason, Reason::ProgressDeadline | Reason::ProbeFailing),
        "{not_ready}"
    );
    Ok(())
}

pub async fn what_was_never_applied_is_missing(case: &Case) -> Result<()> {
    let manifest = case.manifest(&deployment("web", 1, &idle(), ""));
    let impatient = Patience {
        missing: Duration::from_millis(300),
        ..Patience::default()
    };
    let cluster = case.cluster.clone().with_patience(impatient);
    let not_ready = cluster
        .wait_ready(&case.namespace, &manifest, SOON)
        .await
        .expect_err("nothing is there");
    assert_eq!((not_ready.reason, not_ready.deadline), (Reason::Missing, None));
    Ok(())
}

pub async fn a_program_that_is_still_starting_at_the_deadline(case: &Case) -> Result<()> {
    let container = script(
        "exec sleep 1000",
        ", readinessProbe: {timeoutSeconds: 60, exec: {command: [sleep, \"50\"]}}",
    );
    let not_ready = failure(case, &deployment("web", 1, &container, ""), Duration::from_secs(4)).await?;
    assert_eq!(
        (not_ready.reason, not_ready.deadline),
        (Reason::Starting, Some(Duration::from_secs(4)))
    );
    assert!(
        not_ready.message.contains("0 of 1 replicas are available"),
        "{not_ready}"
    );
    Ok(())
}

pub async fn a_load_balancer_that_nobody_serves(case: &Case) -> Result<()> {
    let yaml =
        service("web", "LoadBalancer").replace("  ports:", "  loadBalancerClass: hanse.dev/no-such-class\n  ports:");
    let not_ready = failure(case, &yaml, Duration::from_secs(3)).await?;
    assert_eq!(
        (not_ready.reason, &not_ready.object),
        (Reason::NoAddress, &ObjectRef::new(Kind::Service, "web"))
    );
    assert!(not_ready.hint.contains("MetalLB"), "{not_ready}");
    Ok(())
}

/// A client with a service account's rights: none.
async fn nobody(case: &Case) -> Result<Cluster> {
    let client = case.cluster.client().clone();
    let accounts: Api<ServiceAccount> = Api::namespaced(client, &case.namespace);
    let account = serde_json::from_value(json!({"metadata": {"name": "nobody"}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let token: TokenRequest = accounts
        .create_subresource("token", "nobody", &PostParams::default(), &request)
        .await?;
    let mut config = case.config.clone();
    let token = token.status.map(|s| s.token.unwrap_or_default()).unwrap_or_default();
    config.auth_info = AuthInfo {
        token: Some(token.into()),
        ..AuthInfo::default()
    };
    Ok(Cluster::new(kube::Client::try_from(config)?))
}

pub async fn an_account_without_rights_is_told_at_once(case: &Case) -> Result<()> {
    let cluster = nobody(case).await?;
    let manifest = case.manifest(&deployment("web", 1, &idle(), ""));
    let not_ready = cluster
        .wait_ready(&case.namespace, &manifest, SOON)
        .await
        .expect_err("it may not look");
    assert_eq!((not_ready.reason, not_ready.deadline), (Reason::Forbidden, None));
    assert!(
        not_ready.message.contains("system:serviceaccount:") && not_ready.hint.contains("hanse check"),
        "{not_ready}"
    );
    let error = cluster
        .apply(&case.namespace, &manifest, &case.owner)
        .await
        .expect_err("it may not write");
    assert!(
        matches!(error, ClusterError::Permanent(Permanent::Forbidden { .. })),
        "{error:?}"
    );
    let report = cluster.check_access(&case.namespace).await?;
    assert_eq!(report.missing().count(), report.checks.len());
    Ok(())
}

pub async fn a_broken_new_version_is_told_while_the_old_one_runs_on(case: &Case) -> Result<()> {
    let good = case.applied(&deployment("web", 1, &idle(), "")).await?;
    case.cluster.wait_ready(&case.namespace, &good, SOON).await?;
    let broken = deployment("web", 1, "{name: main, image: \"localhost:1/no-such:2\"}", "");
    assert_eq!(early_failure(case, &broken).await?.reason, Reason::ImagePull);
    assert_eq!(
        case.cluster.replicas(&case.namespace, "web").await?.available,
        1,
        "the old version still runs"
    );
    case.cluster.apply(&case.namespace, &good, &case.owner).await?;
    case.cluster.wait_ready(&case.namespace, &good, SOON).await?;
    Ok(())
}

pub async fn without_the_right_to_read_events_the_wait_works_all_the_same(case: &Case) -> Result<()> {
    let cluster = nobody(case).await?;
    let client = case.cluster.client().clone();
    let roles: Api<Role> = Api::namespaced(client.clone(), &case.namespace);
    let rules = json!([
        {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
    ]);
    roles
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": "r"}, "rules": rules}))?,
        )
        .await?;
    let bindings: Api<RoleBinding> = Api::namespaced(client, &case.namespace);
    let binding = json!({"metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "nobody", "namespace": case.namespace}]});
    bindings
        .create(&PostParams::default(), &serde_json::from_value(binding)?)
        .await?;
    let manifest = case.applied(&deployment("web", 1, &idle(), "")).await?;
    cluster.wait_ready(&case.namespace, &manifest, SOON).await?;
    Ok(())
}

pub async fn a_job_that_completes_and_one_that_fails(case: &Case) -> Result<()> {
    let good = case.applied(&job("good", &script("echo worked", ""))).await?;
    case.cluster.wait_ready(&case.namespace, &good, SOON).await?;
    let not_ready = early_failure(case, &job("bad", &script("echo cannot; exit 9", ""))).await?;
    assert_eq!(not_ready.reason, Reason::JobFailed);
    assert!(not_ready.message.contains("exit code 9"), "{not_ready}");
    assert_eq!(not_ready.log, ["cannot"]);
    Ok(())
}

pub async fn a_cluster_that_does_not_answer(case: &Case) -> Result<()> {
    // Port 1 of this machine: nothing listens there.
    let nowhere = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse()?))?;
    let cluster = Cluster::new(nowhere);
    let manifest = case.manifest(&deployment("web", 1, &idle(), ""));
    let within = Duration::from_secs(2);
    let not_ready = cluster
        .wait_ready(&case.namespace, &manifest, within)
        .await
        .expect_err("nothing answers");
    assert_eq!(
        (not_ready.reason, not_ready.deadline),
        (Reason::Unreachable, Some(within))
    );
    assert!(not_ready.is_retryable());
    let error = cluster
        .apply(&case.namespace, &manifest, &case.owner)
        .await
        .expect_err("nothing answers");
    assert!(
        matches!(error, ClusterError::Temporary(Temporary::Unreachable { .. })),
        "{error:?}"
    );
    Ok(())
}
