#![allow(clippy::unwrap_used)]
//! Jobs and Services: one row per promise.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::{Value, json};

use super::tests::{from, now, patience};
use super::*;

#[test]
fn a_job_is_ready_when_complete_and_final_when_it_says_so() {
    let job = |status: Value| {
        from(json!({"metadata": {"name": "j", "uid": "j-uid"}, "spec": {"template": {}}, "status": status}))
    };
    let crashed: Pod = from(json!({"metadata": {"name": "j-1", "uid": "p-uid", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j-uid", "controller": true}]},
        "status": {"phase": "Failed", "containerStatuses": [{"name": "main", "image": "i", "imageID": "", "ready": false,
            "restartCount": 0, "state": {"terminated": {"exitCode": 7, "reason": "Error"}}}]}}));

    let complete = job(json!({"conditions": [{"type": "Complete", "status": "True"}]}));
    assert_eq!(job_readiness(Some(&complete), &[], &[], &patience()), Readiness::Ready);

    let Readiness::Waiting(causes) = job_readiness(Some(&job(json!({}))), &[&crashed], &[], &patience()) else {
        panic!()
    };
    assert_eq!(
        (causes[0].reason, causes[0].grace),
        (Reason::CrashLoop, None),
        "the Job counts its crashes itself"
    );

    let failed = job(json!({"conditions": [{"type": "Failed", "status": "True", "message": "reached backoff limit"}]}));
    let Readiness::Waiting(causes) = job_readiness(Some(&failed), &[&crashed], &[], &patience()) else {
        panic!()
    };
    assert_eq!(
        (causes[0].reason, causes[0].grace),
        (Reason::JobFailed, Some(Duration::ZERO))
    );
    assert!(
        causes[0]
            .message
            .contains("reached backoff limit: container main of pod j-1 ended with exit code 7")
    );
    assert!(causes[0].log.is_some());

    let Readiness::Waiting(causes) = job_readiness(Some(&failed), &[], &[], &patience()) else {
        panic!()
    };
    assert_eq!(
        (causes[0].reason, causes[0].grace),
        (Reason::JobFailed, Some(patience().missing)),
        "its pods may be seen later"
    );
}

#[test]
fn a_job_that_may_not_create_pods_says_so_through_its_events() {
    let job = from(json!({"metadata": {"name": "j", "uid": "j-uid"}, "spec": {"template": {}}}));
    let refused: Event = from(
        json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Job", "uid": "j-uid"},
        "reason": "FailedCreate", "message": "forbidden: exceeded quota: q"}),
    );
    let Readiness::Waiting(causes) = job_readiness(Some(&job), &[], &[&refused], &patience()) else {
        panic!()
    };
    assert_eq!(causes[0].reason, Reason::QuotaExceeded);
}

#[test]
fn a_service_is_ready_with_the_address_its_type_promises() {
    let service = |spec: Value, status: Value| from(json!({"metadata": {"name": "s"}, "spec": spec, "status": status}));
    for (spec, status, ready) in [
        (json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"}), json!({}), true),
        (json!({"type": "ClusterIP", "clusterIP": "None"}), json!({}), true),
        (json!({"type": "ClusterIP"}), json!({}), false),
        (
            json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}),
            json!({}),
            false,
        ),
        (
            json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}),
            json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.9"}]}}),
            true,
        ),
        (
            json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}),
            json!({"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}),
            true,
        ),
    ] {
        let service = service(spec, status);
        let readiness = service_readiness(Some(&service), &patience());
        assert_eq!(readiness == Readiness::Ready, ready, "{service:?}");
    }
}

#[test]
fn what_does_not_exist_is_missing_after_a_grace() {
    let Readiness::Waiting(causes) = deployment_readiness(None, &[], &[], &patience(), now()) else {
        panic!()
    };
    assert_eq!(
        (causes[0].reason, causes[0].grace),
        (Reason::Missing, Some(patience().missing))
    );
}
