//! Jobs.

use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use serde_json::json;

use super::*;

fn job(name: &str, script: &str, extra: Value) -> Value {
    let mut job = json!({"metadata": {"name": name}, "spec": {"template": {"metadata": {"labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": IMAGE,
            "command": ["sh", "-c", script]}]}}}});
    job["spec"]
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    job
}

fn has(job: &Job, type_: &str, reason: &str) -> bool {
    let conditions = job
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    conditions.iter().any(|condition| {
        condition.type_ == type_ && condition.status == "True" && condition.reason.as_deref() == Some(reason)
    })
}

/// Every completion runs, never more at a time than allowed.
pub async fn a_job_completes(client: Client) {
    let space = Space::new(client, "job").await;
    space
        .create::<Job>(job("work", "echo done", json!({"completions": 3, "parallelism": 2})))
        .await;
    let job = space
        .wait::<Job>("work", "Complete", |job| has(job, "Complete", "CompletionsReached"))
        .await;
    let status = job.status.unwrap();
    assert_eq!((status.succeeded, status.failed.unwrap_or(0)), (Some(3), 0));
    assert!(status.completion_time.is_some());
    assert_eq!(space.pods("work").await.len(), 3, "the pods stay for their logs");
    space.delete().await;
}

/// A Job that always fails ends at its back-off limit.
pub async fn a_failing_job_ends_at_its_limit(client: Client) {
    let space = Space::new(client, "fail").await;
    space
        .create::<Job>(job("work", "exit 1", json!({"backoffLimit": 1})))
        .await;
    let job = space
        .wait::<Job>("work", "Failed", |job| has(job, "Failed", "BackoffLimitExceeded"))
        .await;
    assert_eq!(job.status.unwrap().failed, Some(2));
    space.delete().await;
}

/// A finished Job with a time to live removes itself.
pub async fn a_finished_job_expires(client: Client) {
    let space = Space::new(client, "ttl").await;
    let created: Job = space
        .create(job("work", "true", json!({"ttlSecondsAfterFinished": 1})))
        .await;
    gone(space.api::<Job>(), "work", created.uid().unwrap()).await;
    space.delete().await;
}
