//! What goes wrong must be visible, with the reasons that tools look for.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, ResourceQuota},
};
use kube::Client;
use serde_json::json;

use super::*;

/// A program that ends with an error is restarted with longer and longer pauses.
pub async fn a_crash_loop_is_named(client: Client) {
    let space = Space::new(client, "crash").await;
    space
        .create::<Pod>(script("crash", "Always", "echo broken; exit 3"))
        .await;
    let looping = |pod: &Pod| waiting(pod).is_some_and(|text| text.starts_with("CrashLoopBackOff: back-off "));
    let pod = space.wait::<Pod>("crash", "CrashLoopBackOff", looping).await;
    let status = pod.status.unwrap().container_statuses.unwrap().remove(0);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    assert!(status.restart_count >= 1);
    space
        .wait_event("BackOff", "Back-off restarting failed container main in pod crash")
        .await;
    space.delete().await;
}

/// An image that does not exist.
pub async fn a_failed_image_pull_is_named(client: Client) {
    let space = Space::new(client, "image").await;
    let image = "registry.invalid/hanse/no-such-image:1";
    let mut pod = script("image", "Always", "true");
    pod["spec"]["containers"][0]["image"] = json!(image);
    space.create::<Pod>(pod).await;
    let backing_off = |pod: &Pod| waiting(pod).is_some_and(|text| text.starts_with("ImagePullBackOff: "));
    let pod = space.wait::<Pod>("image", "ImagePullBackOff", backing_off).await;
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
    space.wait_event("Failed", "Failed to pull image").await;
    space.wait_event("Failed", "Error: ErrImagePull").await;
    space
        .wait_event("BackOff", &format!("Back-off pulling image \"{image}\""))
        .await;
    space.delete().await;
}

/// A pod that no node can hold.
pub async fn an_unschedulable_pod_says_what_is_missing(client: Client) {
    let space = Space::new(client, "fit").await;
    let mut pod = script("big", "Always", "sleep 1000");
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "5000"}});
    space.create::<Pod>(pod).await;
    let refused = |pod: &Pod| {
        let conditions = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        conditions.iter().any(|condition| {
            condition.type_ == "PodScheduled"
                && condition.reason.as_deref() == Some("Unschedulable")
                && condition
                    .message
                    .as_deref()
                    .is_some_and(|message| message.contains("Insufficient cpu"))
        })
    };
    space.wait::<Pod>("big", "Unschedulable", refused).await;
    space.wait_event("FailedScheduling", "Insufficient cpu").await;
    space.delete().await;
}

/// A quota that leaves room for one pod of two.
pub async fn an_exceeded_quota_is_named(client: Client) {
    let space = Space::new(client, "quota").await;
    space
        .create::<ResourceQuota>(json!({"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}))
        .await;
    let counted = |quota: &ResourceQuota| {
        let used = quota.status.as_ref().and_then(|status| status.used.as_ref());
        used.and_then(|used| used.get("pods")).is_some()
    };
    space
        .wait::<ResourceQuota>("small", "usage is published", counted)
        .await;
    space.create::<Deployment>(server("web", 2, "1")).await;
    space
        .wait_event(
            "FailedCreate",
            "exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1",
        )
        .await;
    let failing = |deployment: &Deployment| {
        let text = serde_json::to_string(&deployment.status).unwrap();
        text.contains("ReplicaFailure") && text.contains("exceeded quota")
    };
    space.wait::<Deployment>("web", "ReplicaFailure", failing).await;
    assert_eq!(space.pods("web").await.len(), 1);
    space.delete().await;
}

/// A Deployment that makes no progress says so after its deadline.
pub async fn a_missed_progress_deadline_is_named(client: Client) {
    let space = Space::new(client, "deadline").await;
    let mut deployment = server("web", 1, "1");
    deployment["spec"]["progressDeadlineSeconds"] = json!(2);
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["port"] = json!(9999);
    space.create::<Deployment>(deployment).await;
    let late = |deployment: &Deployment| {
        serde_json::to_string(&deployment.status)
            .unwrap()
            .contains("ProgressDeadlineExceeded")
    };
    space.wait::<Deployment>("web", "ProgressDeadlineExceeded", late).await;
    space.wait_event("Unhealthy", "Readiness probe failed").await;
    space.delete().await;
}

/// Something that the environment refers to is not there, and then it is.
pub async fn a_missing_config_map_is_named_and_then_found(client: Client) {
    let space = Space::new(client, "config").await;
    let mut pod = script("needs", "Never", "test \"$VALUE\" = found");
    let from = json!({"configMapKeyRef": {"name": "later", "key": "value"}});
    pod["spec"]["containers"][0]["env"] = json!([{"name": "VALUE", "valueFrom": from}]);
    space.create::<Pod>(pod).await;
    let named = |pod: &Pod| {
        waiting(pod).is_some_and(|text| text == "CreateContainerConfigError: configmap \"later\" not found")
    };
    space.wait::<Pod>("needs", "CreateContainerConfigError", named).await;
    let map = json!({"metadata": {"name": "later"}, "data": {"value": "found"}});
    space.create::<k8s_openapi::api::core::v1::ConfigMap>(map).await;
    let done = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded");
    space.wait::<Pod>("needs", "Succeeded", done).await;
    space.delete().await;
}
