#![allow(clippy::unwrap_used)]
//! What the cluster shows, and what is made of it: one row per promise.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

pub(super) fn from<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

pub(super) fn patience() -> Patience {
    Patience::default()
}

/// A Deployment of 2 replicas whose controller has seen generation 3.
fn deployment(status: Value) -> Deployment {
    let mut object = json!({
        "metadata": {"name": "d", "uid": "d-uid", "generation": 3, "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": {"observedGeneration": 3}
    });
    object["status"]
        .as_object_mut()
        .unwrap()
        .extend(status.as_object().unwrap().clone());
    from(object)
}

fn pod(status: Value) -> Pod {
    from(json!({"metadata": {"name": "d-1", "uid": "p-uid"}, "status": status}))
}

fn container(state: Value, last: Value, restarts: i32) -> Pod {
    pod(json!({"phase": "Pending", "containerStatuses": [{
        "name": "main", "image": "img:1", "imageID": "", "ready": false, "restartCount": restarts, "state": state, "lastState": last
    }]}))
}

fn waiting(reason: &str, message: &str) -> Pod {
    container(json!({"waiting": {"reason": reason, "message": message}}), json!({}), 0)
}

fn event(reason: &str, message: &str, at: &str) -> Event {
    from(
        json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "uid": "p-uid"}, "type": "Warning",
        "reason": reason, "message": message, "lastTimestamp": at}),
    )
}

/// A pod whose program has no readiness probe and started some seconds ago.
fn running(probe: Value, seconds: u64, restarts: i32) -> Pod {
    let started = now() - Duration::from_secs(seconds);
    from(
        json!({"metadata": {"name": "d-1"}, "spec": {"containers": [{"name": "main", "readinessProbe": probe}]},
        "status": {"containerStatuses": [{"name": "main", "image": "i", "imageID": "", "ready": true,
            "restartCount": restarts, "state": {"running": {"startedAt": started.to_string()}}}]}}),
    )
}

const STARTING: &str = r#"{"replicas": 2, "updatedReplicas": 2, "unavailableReplicas": 2}"#;

fn judge(pods: &[Pod], events: &[Event]) -> Vec<Cause> {
    let deployment = deployment(serde_json::from_str(STARTING).unwrap());
    let pods: Vec<&Pod> = pods.iter().collect();
    let events: Vec<&Event> = events.iter().collect();
    match deployment_readiness(Some(&deployment), &pods, &events, &patience(), now()) {
        Readiness::Waiting(causes) => causes,
        other => panic!("not expected: {other:?}"),
    }
}

#[test]
fn a_deployment_is_ready_when_the_wanted_number_of_its_newest_version_is_available_and_nothing_else_is_left() {
    for (status, ready, why) in [
        (
            json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
            true,
            "rolled out",
        ),
        (
            json!({"replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}),
            false,
            "one old pod left",
        ),
        (
            json!({"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2}),
            false,
            "one pod is of the old version",
        ),
        (
            json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
            false,
            "one is not available yet",
        ),
        (
            json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
            false,
            "scaling down is under way",
        ),
        (json!({}), false, "nothing has been created yet"),
        (
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
            false,
            "the numbers are those of the previous generation",
        ),
    ] {
        let pod = running(json!(null), 90, 0);
        let readiness = deployment_readiness(Some(&deployment(status)), &[&pod, &pod], &[], &patience(), now());
        assert_eq!(readiness == Readiness::Ready, ready, "{why}: {readiness:?}");
    }
}

#[test]
fn pods_that_have_not_been_seen_are_not_judged() {
    let ready = deployment(json!({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}));
    assert!(matches!(
        deployment_readiness(Some(&ready), &[], &[], &patience(), now()),
        Readiness::Waiting(_)
    ));
}

#[test]
fn zero_replicas_are_ready_when_none_is_left() {
    let mut none = deployment(json!({}));
    none.spec.replicas = Some(0);
    assert_eq!(
        deployment_readiness(Some(&none), &[], &[], &patience(), now()),
        Readiness::Ready
    );
}

#[test]
fn a_program_without_a_probe_that_has_just_started_has_yet_to_prove_itself() {
    let mut ready = deployment(json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}));
    ready.spec.replicas = Some(1);
    let judge = |pod: Pod| deployment_readiness(Some(&ready), &[&pod], &[], &patience(), now());
    let settling = |programs: &str, restarted| Readiness::Settling {
        programs: programs.to_owned(),
        restarted,
    };
    assert_eq!(judge(running(json!(null), 2, 0)), settling("d-1/main#0", false));
    assert_eq!(judge(running(json!(null), 2, 1)), settling("d-1/main#1", true));
    assert_eq!(
        judge(running(json!(null), 90, 0)),
        Readiness::Ready,
        "it has run for long"
    );
    let probed = running(json!({"tcpSocket": {"port": 1}}), 2, 0);
    assert_eq!(judge(probed), Readiness::Ready, "its probe vouches for it");
}

#[test]
fn what_kubelet_says_of_a_container_becomes_a_reason_and_a_grace() {
    let p = patience();
    for (pod, reason, grace, said) in [
        (
            waiting("InvalidImageName", "couldn't parse"),
            Reason::ImagePull,
            Some(Duration::ZERO),
            "img:1",
        ),
        (
            waiting("ErrImageNeverPull", ""),
            Reason::ImagePull,
            Some(Duration::ZERO),
            "ErrImageNeverPull",
        ),
        (
            waiting("ErrImagePull", "img:1: not found"),
            Reason::ImagePull,
            Some(Duration::ZERO),
            "not found",
        ),
        (
            waiting("ImagePullBackOff", "pull access denied"),
            Reason::ImagePull,
            Some(Duration::ZERO),
            "denied",
        ),
        (
            waiting("ErrImagePull", "i/o timeout"),
            Reason::ImagePull,
            Some(p.image_pull),
            "i/o timeout",
        ),
        (
            waiting("CreateContainerConfigError", "configmap \"x\" not found"),
            Reason::Configuration,
            Some(p.configuration),
            "configmap \"x\" not found",
        ),
        (
            waiting("RunContainerError", "no such file"),
            Reason::CannotStart,
            Some(p.configuration),
            "no such file",
        ),
        (
            waiting("ContainerCreating", ""),
            Reason::Starting,
            None,
            "0 of 2 replicas are available",
        ),
    ] {
        let causes = judge(&[pod], &[]);
        assert_eq!((causes[0].reason, causes[0].grace), (reason, grace), "{causes:?}");
        assert!(causes[0].message.contains(said), "{said}: {causes:?}");
    }
}

#[test]
fn a_crash_is_a_loop_after_the_restarts_that_patience_allows() {
    let back_off = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
    let ended = |code: i32, reason: &str| json!({"terminated": {"exitCode": code, "reason": reason}});
    for (last, restarts, grace, said) in [
        (
            ended(3, "Error"),
            1,
            None,
            "ended with exit code 3 and was restarted once",
        ),
        (
            ended(3, "Error"),
            2,
            Some(Duration::ZERO),
            "ended with exit code 3 and was restarted 2 times",
        ),
        (
            ended(0, "Completed"),
            2,
            Some(Duration::ZERO),
            "ended by itself (exit code 0)",
        ),
        (
            ended(137, "OOMKilled"),
            5,
            Some(Duration::ZERO),
            "more memory than its limit",
        ),
        (
            ended(128, "StartError"),
            2,
            Some(Duration::ZERO),
            "could not be started",
        ),
    ] {
        let causes = judge(&[container(back_off.clone(), last, restarts)], &[]);
        assert_eq!(
            (causes[0].reason, causes[0].grace),
            (Reason::CrashLoop, grace),
            "{causes:?}"
        );
        assert!(causes[0].message.contains(said), "{said}: {causes:?}");
        assert_eq!(causes[0].log, Some(("d-1".to_owned(), "main".to_owned())));
    }
    // between the crash and kubelet's verdict
    let causes = judge(&[container(ended(1, "Error"), json!({}), 2)], &[]);
    assert_eq!(
        (causes[0].reason, causes[0].grace),
        (Reason::CrashLoop, Some(Duration::ZERO))
    );
}

#[test]
fn a_finished_init_container_is_no_crash() {
    let fine = pod(json!({"phase": "Pending", "initContainerStatuses": [{
        "name": "init", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}
    }]}));
    assert_eq!(judge(&[fine], &[])[0].reason, Reason::Starting);
}

#[test]
fn an_unschedulable_pod_says_why() {
    let pod = pod(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: 1 Insufficient cpu."}
    ]}));
    let causes = judge(&[pod], &[]);
    assert_eq!(
        (causes[0].reason, causes[0].grace),
        (Reason::Unschedulable, Some(patience().scheduling))
    );
    assert!(causes[0].message.contains("Insufficient cpu"));
}

#[test]
fn the_deployments_own_conditions_count() {
    for (condition, reason, grace) in [
        (
            json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                "message": "pods \"d-1\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"}),
            Reason::QuotaExceeded,
            Some(patience().admission),
        ),
        (
            json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                "message": "pods \"d-1\" is forbidden: violates PodSecurity \"restricted:latest\""}),
            Reason::Rejected,
            Some(patience().admission),
        ),
        (
            json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}),
            Reason::ProgressDeadline,
            Some(Duration::ZERO),
        ),
    ] {
        let status = json!({"replicas": 1, "updatedReplicas": 1, "conditions": [condition]});
        let Readiness::Waiting(causes) = deployment_readiness(Some(&deployment(status)), &[], &[], &patience(), now())
        else {
            panic!()
        };
        assert_eq!((causes[0].reason, causes[0].grace), (reason, grace), "{causes:?}");
    }
}

#[test]
fn a_condition_of_the_previous_generation_is_no_verdict() {
    let status = json!({"observedGeneration": 2, "conditions": [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    ]});
    let Readiness::Waiting(causes) = deployment_readiness(Some(&deployment(status)), &[], &[], &patience(), now())
    else {
        panic!()
    };
    assert_eq!(causes[0].reason, Reason::Starting);
}

#[test]
fn events_tell_what_the_pods_status_does_not() {
    let creating = waiting("ContainerCreating", "");
    let mount = event("FailedMount", "configmap \"x\" not found", "2026-01-01T00:00:02Z");
    let causes = judge(std::slice::from_ref(&creating), std::slice::from_ref(&mount));
    assert_eq!(
        (causes[0].reason, causes[0].grace),
        (Reason::Configuration, Some(patience().configuration))
    );

    let running = container(json!({"running": {}}), json!({}), 0);
    let probe = event(
        "Unhealthy",
        "Readiness probe failed: connection refused",
        "2026-01-01T00:00:03Z",
    );
    let causes = judge(std::slice::from_ref(&running), std::slice::from_ref(&probe));
    assert_eq!((causes[0].reason, causes[0].grace), (Reason::ProbeFailing, None));

    // The mount succeeded meanwhile: the old event says nothing any more, and the newest one counts.
    assert_eq!(
        judge(std::slice::from_ref(&running), &[probe, mount.clone()])[0].reason,
        Reason::ProbeFailing
    );
    assert_eq!(
        judge(std::slice::from_ref(&running), std::slice::from_ref(&mount))[0].reason,
        Reason::Starting
    );

    // Another pod's event.
    let mut other = mount;
    other.involved_object.uid = Some("other".to_owned());
    assert_eq!(judge(&[creating], &[other])[0].reason, Reason::Starting);
}

#[test]
fn the_most_telling_cause_comes_first() {
    let unschedulable =
        pod(json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}));
    let causes = judge(&[unschedulable, waiting("ErrImagePull", "not found")], &[]);
    assert_eq!(
        causes.iter().map(|c| c.reason).collect::<Vec<_>>(),
        [Reason::ImagePull, Reason::Unschedulable]
    );
}

#[test]
fn only_pods_of_the_current_roll_out_count() {
    let replica_set = |uid: &str, revision: &str| -> ReplicaSet {
        from(
            json!({"metadata": {"name": uid, "uid": uid, "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "d-uid", "controller": true}]},
            "spec": {"selector": {}}}),
        )
    };
    let pod = |name: &str, owner: &str, ending: bool| -> Pod {
        let mut pod: Pod = from(json!({"metadata": {"name": name, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true}]}}));
        if ending {
            pod.metadata.deletion_timestamp = Some(from(json!("2026-01-01T00:00:00Z")));
        }
        pod
    };
    let sets = [replica_set("old", "1"), replica_set("new", "2")];
    let pods = [
        pod("a", "old", false),
        pod("b", "new", false),
        pod("c", "new", true),
        pod("d", "foreign", false),
    ];
    let found = |deployment: &Deployment| -> Vec<String> {
        let pods = pods_of_deployment(deployment, sets.iter(), pods.iter());
        pods.iter().map(|p| p.metadata.name.clone().unwrap()).collect()
    };
    let mut deployment = deployment(json!({}));
    assert_eq!(found(&deployment), ["b"]);
    deployment.metadata.annotations = None;
    assert_eq!(
        found(&deployment),
        ["a", "b"],
        "while the controller has not numbered them, all count"
    );
}
