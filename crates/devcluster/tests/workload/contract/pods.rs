//! Pods on their own.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, LogParams},
};
use serde_json::json;

use super::*;

fn phase_is(phase: &'static str) -> impl Fn(&Pod) -> bool {
    move |pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase)
}

/// Standard output and error can be read while it runs, the last lines alone, and of the run before.
pub async fn logs_can_be_read(client: Client) {
    let space = Space::new(client, "logs").await;
    let text = "echo one; echo two >&2; echo three; sleep 1000";
    space.create::<Pod>(script("talk", "Always", text)).await;
    space.wait::<Pod>("talk", "ready", is_ready).await;
    let pods: Api<Pod> = space.api();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let text = pods.logs("talk", &LogParams::default()).await.unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        if lines == ["one", "three", "two"] {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
        sleep(Duration::from_millis(20)).await;
    }
    let tail = LogParams {
        tail_lines: Some(1),
        ..LogParams::default()
    };
    assert_eq!(pods.logs("talk", &tail).await.unwrap().lines().count(), 1);

    let crash = "echo attempt; exit 1";
    space.create::<Pod>(script("again", "Always", crash)).await;
    let restarted = |pod: &Pod| {
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        statuses.is_some_and(|statuses| statuses[0].restart_count > 0)
    };
    space.wait::<Pod>("again", "restarted", restarted).await;
    let previous = LogParams {
        previous: true,
        ..LogParams::default()
    };
    assert_eq!(pods.logs("again", &previous).await.unwrap(), "attempt\n");
    space.delete().await;
}

/// ConfigMaps, Secrets and the downward API, as variables and as files. In the development cluster files are
/// below `$HANSE_POD_ROOT`, which is empty on a real one.
pub async fn configuration_arrives(client: Client) {
    let space = Space::new(client, "configuration").await;
    space
        .create::<ConfigMap>(json!({"metadata": {"name": "settings"}, "data": {"color": "blue", "file.txt": "text"}}))
        .await;
    space
        .create::<Secret>(json!({"metadata": {"name": "keys"}, "stringData": {"password": "hunter2"}}))
        .await;
    let checks = [
        "set -e",
        "test \"$COLOR\" = blue",
        "test \"$PASSWORD\" = hunter2",
        "test \"$ALL_color\" = blue",
        "test \"$GREETING\" = 'hello blue'",
        "test \"$NAMESPACE\" = \"$(cat $HANSE_POD_ROOT/info/namespace)\"",
        "test \"$(cat $HANSE_POD_ROOT/etc/settings/file.txt)\" = text",
        "test \"$(cat $HANSE_POD_ROOT/etc/keys/password)\" = hunter2",
        "test \"$(cat $HANSE_POD_ROOT/shared/from-init)\" = prepared",
        "test \"$1\" = blue",
    ];
    let mut pod = script("reader", "Never", &checks.join("\n"));
    let container = &mut pod["spec"]["containers"][0];
    container["args"] = json!(["script", "$(COLOR)"]);
    container["envFrom"] = json!([{"prefix": "ALL_", "configMapRef": {"name": "settings"}}]);
    container["env"] = json!([
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "GREETING", "value": "hello $(COLOR)"},
    ]);
    container["volumeMounts"] = json!([
        {"name": "settings", "mountPath": "/etc/settings"}, {"name": "keys", "mountPath": "/etc/keys"},
        {"name": "info", "mountPath": "/info"}, {"name": "shared", "mountPath": "/shared"}]);
    pod["spec"]["volumes"] = json!([
        {"name": "settings", "configMap": {"name": "settings"}}, {"name": "keys", "secret": {"secretName": "keys"}},
        {"name": "info", "downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        {"name": "shared", "emptyDir": {}}]);
    pod["spec"]["initContainers"] = json!([{"name": "prepare", "image": IMAGE,
        "command": ["sh", "-c", "echo prepared >$HANSE_POD_ROOT/shared/from-init"],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}]);
    space.create::<Pod>(pod).await;
    space
        .wait::<Pod>(
            "reader",
            "Succeeded (each line of its script held)",
            phase_is("Succeeded"),
        )
        .await;
    space.delete().await;
}

/// A container whose liveness probe fails is restarted; one whose readiness probe fails is not ready.
pub async fn probes_decide(client: Client) {
    let space = Space::new(client, "probes").await;
    let here = "cd ${HANSE_POD_ROOT:-/}";
    let mut pod = script("probed", "Always", &format!("{here}; echo x >tmp/alive; sleep 1000"));
    let exec =
        |command: &str| json!({"exec": {"command": ["sh", "-c", command]}, "periodSeconds": 1, "failureThreshold": 1});
    let container = &mut pod["spec"]["containers"][0];
    container["readinessProbe"] = exec(&format!("{here}; test ! -e tmp/busy"));
    container["livenessProbe"] = exec(&format!("{here}; test -e tmp/alive"));
    // The second container plays the part of what goes wrong.
    let shared = json!([{"name": "shared", "mountPath": "/tmp"}]);
    container["volumeMounts"] = shared.clone();
    pod["spec"]["volumes"] = json!([{"name": "shared", "emptyDir": {}}]);
    let wrong = format!("{here}; sleep 6; echo x >tmp/busy; sleep 6; rm tmp/busy; sleep 6; rm tmp/alive; sleep 1000");
    let other = json!({"name": "trouble", "image": IMAGE, "command": ["sh", "-c", wrong], "volumeMounts": shared});
    pod["spec"]["containers"].as_array_mut().unwrap().push(other);
    space.create::<Pod>(pod).await;
    space.wait::<Pod>("probed", "ready", is_ready).await;
    space
        .wait::<Pod>("probed", "not ready while busy", |pod| !is_ready(pod))
        .await;
    space.wait::<Pod>("probed", "ready again", is_ready).await;
    let restarted = |pod: &Pod| {
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        statuses
            .into_iter()
            .flatten()
            .any(|status| status.name == "main" && status.restart_count > 0)
    };
    space
        .wait::<Pod>("probed", "restarted when no longer alive", restarted)
        .await;
    space.wait_event("Unhealthy", "Liveness probe failed").await;
    space
        .wait_event("Killing", "Container main failed liveness probe, will be restarted")
        .await;
    space.delete().await;
}

/// A pod that ignores SIGTERM is killed when its grace is over, and not before.
pub async fn grace_is_given_and_ends(client: Client) {
    let space = Space::new(client, "grace").await;
    let mut pod = script(
        "deaf",
        "Always",
        "trap '' TERM; echo deaf; while true; do sleep 0.1; done",
    );
    pod["spec"]["terminationGracePeriodSeconds"] = json!(2);
    let created: Pod = space.create(pod).await;
    let pods: Api<Pod> = space.api();
    space.wait::<Pod>("deaf", "running", is_ready).await;
    let deadline = Instant::now() + DEADLINE;
    while pods
        .logs("deaf", &LogParams::default())
        .await
        .unwrap_or_default()
        .is_empty()
    {
        assert!(Instant::now() < deadline, "the trap is not set");
        sleep(Duration::from_millis(20)).await;
    }
    let begin = Instant::now();
    pods.delete("deaf", &DeleteParams::default()).await.unwrap();
    gone(pods, "deaf", created.uid().unwrap()).await;
    assert!(
        begin.elapsed() >= Duration::from_millis(1900),
        "gone after {:?}",
        begin.elapsed()
    );
    space.delete().await;
}

/// A probe's command that hangs counts as failed.
pub async fn a_hanging_probe_is_ended(client: Client) {
    let space = Space::new(client, "hang").await;
    let mut pod = script("hang", "Always", "sleep 1000");
    let hang = json!({"exec": {"command": ["sh", "-c", "sleep 1000 & wait"]}, "periodSeconds": 1, "timeoutSeconds": 1});
    pod["spec"]["containers"][0]["readinessProbe"] = hang;
    space.create::<Pod>(pod).await;
    space.wait_event("Unhealthy", "timed out after 1s").await;
    space.delete().await;
}

/// A `preStop` hook runs before SIGTERM: the pod serves until it is done.
pub async fn a_pre_stop_hook_comes_first(client: Client) {
    let space = Space::new(client, "hook").await;
    let mut pod = script("polite", "Always", "trap 'exit 0' TERM; while true; do sleep 0.1; done");
    pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
    pod["spec"]["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 2}}});
    let created: Pod = space.create(pod).await;
    space.wait::<Pod>("polite", "running", is_ready).await;
    let begin = Instant::now();
    space
        .api::<Pod>()
        .delete("polite", &DeleteParams::default())
        .await
        .unwrap();
    gone(space.api::<Pod>(), "polite", created.uid().unwrap()).await;
    let took = begin.elapsed();
    assert!(
        took >= Duration::from_millis(1900),
        "gone after {took:?}: the hook was not waited for"
    );
    assert!(
        took < Duration::from_secs(45),
        "gone after {took:?}: it was not told to stop after the hook"
    );
    space.delete().await;
}
