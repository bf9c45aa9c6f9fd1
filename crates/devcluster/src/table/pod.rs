//! The row of a pod: how many containers are ready, and in one word what it is doing.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::duration;
use super::value::{NONE, items, number, or_none, text};

/// What the containers say together.
struct Summary {
    ready: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// Cells of a pod.
pub fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let sidecars = items(&spec["initContainers"]).filter(|c| is_sidecar(c)).count();
    let summary = summarise(pod);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            let ago = duration::words(now.as_second() - last.as_second());
            format!("{} ({ago} ago)", summary.restarts)
        }
        _ => summary.restarts.to_string(),
    };
    let gates = items(&spec["readinessGates"]).count();
    let passed = items(&spec["readinessGates"])
        .filter(|gate| holds(status, text(&gate["conditionType"])))
        .count();
    let address = items(&status["podIPs"])
        .next()
        .map_or(&status["podIP"], |first| &first["ip"]);
    vec![
        pod["metadata"]["name"].clone(),
        format!("{}/{}", summary.ready, items(&spec["containers"]).count() + sidecars).into(),
        summary.reason.into(),
        restarts.into(),
        duration::since(&pod["metadata"]["creationTimestamp"], now).into(),
        or_none(address),
        or_none(&spec["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        if gates == 0 {
            NONE.into()
        } else {
            json!(format!("{passed}/{gates}"))
        },
    ]
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn holds(status: &Value, condition: &str) -> bool {
    items(&status["conditions"]).any(|c| c["type"] == condition && c["status"] == "True")
}

fn later(last: &mut Option<Timestamp>, container: &Value) {
    let ended = text(&container["lastState"]["terminated"]["finishedAt"]).parse().ok();
    *last = (*last).max(ended);
}

/// Why a container ended: its reason, else its signal or exit code.
fn ending(terminated: &Value) -> String {
    match (text(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}

fn summarise(pod: &Value) -> Summary {
    let status = &pod["status"];
    let phase = text(&status["phase"]);
    let mut summary = Summary {
        ready: 0,
        reason: if text(&status["reason"]).is_empty() {
            phase
        } else {
            text(&status["reason"])
        }
        .into(),
        restarts: 0,
        last_restart: None,
    };
    let gated = |c: &Value| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated";
    if items(&status["conditions"]).any(gated) {
        summary.reason = "SchedulingGated".into();
    }
    let sidecar_restarts = initialising(pod, &mut summary);
    if sidecar_restarts.is_none() || holds(status, "Initialized") {
        summary.restarts = sidecar_restarts.unwrap_or_default();
        running(status, &mut summary);
    }
    if !text(&pod["metadata"]["deletionTimestamp"]).is_empty() {
        if status["reason"] == "NodeLost" {
            summary.reason = "Unknown".into();
        } else if !["Failed", "Succeeded"].contains(&phase) {
            summary.reason = "Terminating".into();
        }
    }
    summary
}

/// Reads the init containers. `None` if all have ended well, else what sidecars restarted until there.
fn initialising(pod: &Value, summary: &mut Summary) -> Option<i64> {
    let specs = &pod["spec"]["initContainers"];
    let total = items(specs).count();
    let mut sidecar_restarts = 0;
    for (index, container) in items(&pod["status"]["initContainerStatuses"]).enumerate() {
        let state = &container["state"];
        let sidecar = items(specs).any(|spec| spec["name"] == container["name"] && is_sidecar(spec));
        summary.restarts += number(&container["restartCount"]);
        later(&mut summary.last_restart, container);
        if sidecar {
            sidecar_restarts += number(&container["restartCount"]);
        }
        if state["terminated"].is_object() && number(&state["terminated"]["exitCode"]) == 0 {
            continue;
        }
        if sidecar && container["started"] == true {
            summary.ready += usize::from(container["ready"] == true);
            continue;
        }
        let waiting = text(&state["waiting"]["reason"]);
        summary.reason = if state["terminated"].is_object() {
            format!("Init:{}", ending(&state["terminated"]))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{total}")
        };
        return Some(sidecar_restarts);
    }
    summary.restarts = sidecar_restarts;
    None
}

fn running(status: &Value, summary: &mut Summary) {
    let mut any_runs = false;
    for container in items(&status["containerStatuses"]).rev() {
        let state = &container["state"];
        summary.restarts += number(&container["restartCount"]);
        later(&mut summary.last_restart, container);
        let waiting = text(&state["waiting"]["reason"]);
        if !waiting.is_empty() {
            summary.reason = waiting.into();
        } else if state["terminated"].is_object() {
            summary.reason = ending(&state["terminated"]);
        } else if container["ready"] == true && state["running"].is_object() {
            any_runs = true;
            summary.ready += 1;
        }
    }
    // A container that has ended beside one that runs does not make the pod complete.
    if summary.reason == "Completed" && any_runs {
        let word = if holds(status, "Ready") { "Running" } else { "NotReady" };
        summary.reason = word.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: Value) -> Vec<Value> {
        let pod = json!({
            "metadata": { "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }] },
            "status": status,
        });
        cells(&pod, "2026-01-01T00:01:40Z".parse().expect("a time"))[1..5].to_vec()
    }

    #[test]
    fn a_pod_is_what_its_containers_say() {
        assert_eq!(row(json!({ "phase": "Pending" })), ["0/2", "Pending", "0", "100s"]);
        let init =
            json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "running": {} } }] });
        assert_eq!(row(init)[1], "Init:0/1");
        let crash = json!({ "phase": "Running", "containerStatuses": [
            { "name": "a", "ready": true, "restartCount": 0, "state": { "running": {} } },
            { "name": "b", "ready": false, "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
              "lastState": { "terminated": { "finishedAt": "2026-01-01T00:01:30Z" } } },
        ] });
        assert_eq!(row(crash), ["1/2", "CrashLoopBackOff", "3 (10s ago)", "100s"]);
        let ended = json!({ "phase": "Failed", "containerStatuses": [
            { "name": "a", "restartCount": 0, "state": { "terminated": { "exitCode": 7 } } }] });
        assert_eq!(row(ended)[1], "ExitCode:7");
    }
}
