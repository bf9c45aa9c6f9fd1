//! Rows of what makes pods: Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, autoscalers.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::duration;
use super::value::{NONE, containers, items, labels, number, or_none, plain, selector, text};

fn age(object: &Value, now: Timestamp) -> Value {
    duration::since(&object["metadata"]["creationTimestamp"], now).into()
}

fn with_template(mut cells: Vec<Value>, object: &Value, template: &Value) -> Vec<Value> {
    cells.extend(containers(template));
    cells.push(selector(&object["spec"]["selector"]));
    cells
}

pub fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let ready = format!(
        "{}/{}",
        number(&status["readyReplicas"]),
        number(&object["spec"]["replicas"])
    );
    let cells = vec![
        object["metadata"]["name"].clone(),
        ready.into(),
        number(&status["updatedReplicas"]).into(),
        number(&status["availableReplicas"]).into(),
        age(object, now),
    ];
    with_template(cells, object, &object["spec"]["template"])
}

pub fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let cells = vec![
        object["metadata"]["name"].clone(),
        number(&object["spec"]["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age(object, now),
    ];
    with_template(cells, object, &object["spec"]["template"])
}

pub fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = format!(
        "{}/{}",
        number(&object["status"]["readyReplicas"]),
        number(&object["spec"]["replicas"])
    );
    let mut cells = vec![object["metadata"]["name"].clone(), ready.into(), age(object, now)];
    cells.extend(containers(&object["spec"]["template"]));
    cells
}

pub fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let mut cells = vec![object["metadata"]["name"].clone()];
    for field in [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ] {
        cells.push(number(&status[field]).into());
    }
    cells.push(labels(&object["spec"]["template"]["spec"]["nodeSelector"]));
    cells.push(age(object, now));
    with_template(cells, object, &object["spec"]["template"])
}

pub fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owner = items(&object["metadata"]["ownerReferences"]).find(|owner| owner["controller"] == true);
    let owner = owner.map_or(NONE.to_string(), |owner| {
        let kind = text(&owner["kind"]).to_lowercase();
        match text(&owner["apiVersion"]).split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{}", text(&owner["name"])),
            None => format!("{kind}/{}", text(&owner["name"])),
        }
    });
    vec![
        object["metadata"]["name"].clone(),
        owner.into(),
        number(&object["revision"]).into(),
        age(object, now),
    ]
}

pub fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let succeeded = number(&status["succeeded"]);
    let completions = match (spec["completions"].as_i64(), number(&spec["parallelism"])) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let start = text(&status["startTime"]).parse::<Timestamp>().ok();
    let end = text(&status["completionTime"]).parse::<Timestamp>().unwrap_or(now);
    let took = start.map_or(String::new(), |start| {
        duration::words(end.as_second() - start.as_second())
    });
    let cells = vec![
        object["metadata"]["name"].clone(),
        job_state(object).into(),
        completions.into(),
        took.into(),
        age(object, now),
    ];
    with_template(cells, object, &spec["template"])
}

fn job_state(job: &Value) -> &'static str {
    let holds = |kind: &str| items(&job["status"]["conditions"]).any(|c| c["type"] == kind && c["status"] == "True");
    match () {
        () if holds("Complete") => "Complete",
        () if holds("Failed") => "Failed",
        () if !text(&job["metadata"]["deletionTimestamp"]).is_empty() => "Terminating",
        () if holds("Suspended") => "Suspended",
        () if holds("FailureTarget") => "FailureTarget",
        () if holds("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

pub fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let last = match text(&status["lastScheduleTime"]) {
        "" => NONE.to_string(),
        _ => duration::since(&status["lastScheduleTime"], now),
    };
    let template = &spec["jobTemplate"]["spec"]["template"];
    let mut cells = vec![
        object["metadata"]["name"].clone(),
        spec["schedule"].clone(),
        or_none(&spec["timeZone"]),
        json!(if spec["suspend"] == true { "True" } else { "False" }),
        items(&status["active"]).count().into(),
        last.into(),
        age(object, now),
    ];
    cells.extend(containers(template));
    cells.push(selector(&spec["jobTemplate"]["spec"]["selector"]));
    cells
}

pub fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let target = &spec["scaleTargetRef"];
    let mut targets: Vec<String> = items(&spec["metrics"])
        .enumerate()
        .map(|(index, metric)| {
            let name = text(&metric["resource"]["name"]);
            let wanted = &metric["resource"]["target"]["averageUtilization"];
            let current = &status["currentMetrics"][index]["resource"]["current"]["averageUtilization"];
            let percent = |value: &Value| value.as_i64().map_or("<unknown>".to_string(), |n| format!("{n}%"));
            format!("{name}: {}/{}", percent(current), percent(wanted))
        })
        .collect();
    if targets.is_empty() {
        targets.push(NONE.into());
    }
    vec![
        object["metadata"]["name"].clone(),
        format!("{}/{}", text(&target["kind"]), text(&target["name"])).into(),
        targets.join(", ").into(),
        spec["minReplicas"]
            .as_i64()
            .map_or("<unset>".to_string(), |n| n.to_string())
            .into(),
        number(&spec["maxReplicas"]).into(),
        number(&status["currentReplicas"]).into(),
        age(object, now),
    ]
}

pub fn disruption_budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let wanted = |field: &str| match &object["spec"][field] {
        Value::Null => "N/A".to_string(),
        value => plain(value),
    };
    vec![
        object["metadata"]["name"].clone(),
        wanted("minAvailable").into(),
        wanted("maxUnavailable").into(),
        number(&object["status"]["disruptionsAllowed"]).into(),
        age(object, now),
    ]
}
