//! What a Job needs next, and its status. Pure.
//!
//! Pods are counted as they are in the store; a finished pod that somebody deletes is remembered only
//! through the status (upstream uses finalizers for that). Indexed completion is not supported.

use std::time::Duration;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::ResourceExt as _;

use crate::workload::pod_health;

/// The next step of a Job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) status: JobStatus,
    pub(super) create: usize,
    pub(super) delete: Vec<String>,
    /// When to look again although nothing happens.
    pub(super) again_at: Option<Timestamp>,
    /// The Job has ended and its time to live is over.
    pub(super) expired: bool,
    /// What ended the Job just now: reason and message for an event.
    pub(super) ended: Option<(&'static str, &'static str)>,
}

const COMPLETED: (&str, &str) = ("CompletionsReached", "Reached expected number of succeeded pods");
const EXHAUSTED: (&str, &str) = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
const LATE: (&str, &str) = ("DeadlineExceeded", "Job was active longer than specified deadline");

/// Plans the next step of `job`, whose pods are `pods`. After a failure the next pod waits `backoff`,
/// doubled for each failure up to `backoff_max`.
pub(super) fn plan(job: &Job, pods: &[Pod], backoff: Duration, backoff_max: Duration, now: Timestamp) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let before = job.status.clone().unwrap_or_default();
    let phase = |pod: &Pod| {
        pod.status
            .as_ref()
            .and_then(|status| status.phase.clone())
            .unwrap_or_default()
    };
    let count = |which: &dyn Fn(&&Pod) -> bool| i32::try_from(pods.iter().filter(which).count()).unwrap_or(i32::MAX);
    let succeeded = count(&|pod| phase(pod) == "Succeeded").max(before.succeeded.unwrap_or(0));
    let failed = count(&|pod| phase(pod) == "Failed").max(before.failed.unwrap_or(0));
    let active: Vec<&Pod> = pods.iter().filter(|pod| pod_health::active(pod)).collect();
    let active_count = i32::try_from(active.len()).unwrap_or(i32::MAX);
    let some = |number: i32| (number > 0).then_some(number);
    let suspended = spec.suspend == Some(true);
    let start_time = if suspended {
        None
    } else {
        before.start_time.clone().or(Some(Time(now)))
    };
    let mut plan = Plan {
        status: JobStatus {
            active: some(active_count),
            ready: Some(count(&|pod| pod_health::active(pod) && pod_health::ready(pod))),
            terminating: Some(count(&|pod| pod_health::terminating(pod))),
            succeeded: some(succeeded),
            failed: some(failed),
            start_time: start_time.clone(),
            ..before.clone()
        },
        create: 0,
        delete: Vec::new(),
        again_at: None,
        expired: false,
        ended: None,
    };
    if let Some(finished) = finished_at(&before) {
        if let Some(seconds) = spec.ttl_seconds_after_finished {
            let until = finished + Duration::from_secs(seconds.unsigned_abs().into());
            plan.expired = until <= now;
            plan.again_at = (!plan.expired).then_some(until);
        }
        return plan;
    }
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let deadline = spec
        .active_deadline_seconds
        .zip(start_time)
        .map(|(seconds, start)| start.0 + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
    let limit = spec.backoff_limit.unwrap_or(6).max(0);
    let failure = if deadline.is_some_and(|deadline| deadline <= now) {
        Some(LATE)
    } else if failed > limit || restarts_exhausted(&active, limit, &spec.template.spec) {
        Some(EXHAUSTED)
    } else {
        None
    };
    if let Some(failure) = failure {
        plan.delete = active.iter().map(|pod| pod.name_any()).collect();
        plan.status.active = None;
        end(&mut plan, ["FailureTarget", "Failed"], failure, now);
        return plan;
    }
    let complete = match spec.completions {
        Some(completions) => succeeded >= completions,
        // A work queue: the first success says that it is empty.
        None => succeeded > 0 && active.is_empty(),
    };
    if complete {
        plan.delete = active.iter().map(|pod| pod.name_any()).collect();
        plan.status.active = None;
        plan.status.completion_time = Some(Time(now));
        end(&mut plan, ["SuccessCriteriaMet", "Complete"], COMPLETED, now);
        return plan;
    }
    plan.again_at = deadline;
    let wanted = match spec.completions {
        _ if suspended => 0,
        Some(completions) => parallelism.min(completions - succeeded),
        None if succeeded > 0 => active_count.min(parallelism),
        None => parallelism,
    };
    if active_count > wanted {
        let surplus = usize::try_from(active_count - wanted).unwrap_or(0);
        plan.delete = active.iter().rev().take(surplus).map(|pod| pod.name_any()).collect();
        return plan;
    }
    let missing = usize::try_from(wanted - active_count).unwrap_or(0);
    match next_try(pods, failed, backoff, backoff_max).filter(|at| missing > 0 && *at > now) {
        Some(at) => plan.again_at = Some(plan.again_at.map_or(at, |other| other.min(at))),
        None => plan.create = missing,
    }
    plan
}

fn end(plan: &mut Plan, types: [&str; 2], (reason, message): (&'static str, &'static str), now: Timestamp) {
    plan.ended = Some((reason, message));
    let conditions = plan.status.conditions.get_or_insert_default();
    conditions.extend(types.into_iter().map(|type_| JobCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }));
}

/// When the Job ended, if it has.
fn finished_at(status: &JobStatus) -> Option<Timestamp> {
    let end =
        status.conditions.iter().flatten().find(|condition| {
            matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
        })?;
    Some(
        end.last_transition_time
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    )
}

/// With restart policy `OnFailure` the restarts of running pods count as failures.
fn restarts_exhausted(active: &[&Pod], limit: i32, template: &Option<k8s_openapi::api::core::v1::PodSpec>) -> bool {
    let policy = template.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let statuses = active.iter().filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
        status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .flatten()
    });
    let restarts: i32 = statuses.map(|status| status.restart_count).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// When the next pod may be created after the latest failure.
fn next_try(pods: &[Pod], failed: i32, backoff: Duration, max: Duration) -> Option<Timestamp> {
    let ended = |pod: &Pod| {
        let status = pod
            .status
            .as_ref()
            .filter(|status| status.phase.as_deref() == Some("Failed"))?;
        let states = status
            .container_statuses
            .iter()
            .flatten()
            .filter_map(|status| status.state.as_ref());
        states
            .filter_map(|state| Some(state.terminated.as_ref()?.finished_at.as_ref()?.0))
            .max()
    };
    let latest = pods.iter().filter_map(ended).max()?;
    let doublings = u32::try_from(failed - 1).unwrap_or(0).min(16);
    Some(latest + backoff.saturating_mul(1 << doublings).min(max))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn job(spec: serde_json::Value) -> Job {
        let mut spec = spec;
        spec["template"] = json!({"spec": {"containers": [], "restartPolicy": "Never"}});
        serde_json::from_value(json!({"metadata": {"name": "j"}, "spec": spec})).unwrap()
    }

    fn pod(phase: &str, finished: i64) -> Pod {
        let end = json!({"terminated": {"exitCode": 1, "finishedAt": Time(at(finished))}});
        serde_json::from_value(
            json!({"metadata": {"name": format!("{phase}{finished}")}, "status": {"phase": phase,
            "containerStatuses": [{"name": "m", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": end}]}}),
        )
        .unwrap()
    }

    fn step(job: &Job, pods: &[Pod], now: i64) -> Plan {
        plan(job, pods, Duration::from_secs(10), Duration::from_secs(360), at(now))
    }

    fn reasons(plan: &Plan) -> Vec<(String, String)> {
        let conditions = plan.status.conditions.iter().flatten();
        conditions
            .map(|condition| (condition.type_.clone(), condition.reason.clone().unwrap()))
            .collect()
    }

    #[test]
    fn completions_and_parallelism_decide_how_many_run() {
        let job = job(json!({"completions": 5, "parallelism": 2}));
        assert_eq!(step(&job, &[], 0).create, 2);
        assert_eq!(step(&job, &[pod("Running", 0), pod("Succeeded", 0)], 0).create, 1);
        let four: Vec<Pod> = (0..4).map(|n| pod("Succeeded", n)).collect();
        assert_eq!(step(&job, &four, 0).create, 1, "only one is missing");
        let five: Vec<Pod> = (0..5).map(|n| pod("Succeeded", n)).collect();
        let done = step(&job, &five, 9);
        assert_eq!(
            (done.create, done.status.completion_time.clone()),
            (0, Some(Time(at(9))))
        );
        let reached = "CompletionsReached".to_owned();
        assert_eq!(
            reasons(&done),
            [
                ("SuccessCriteriaMet".into(), reached.clone()),
                ("Complete".into(), reached)
            ]
        );
    }

    #[test]
    fn failures_wait_longer_each_time_and_end_at_the_limit() {
        let job = job(json!({"completions": 1, "backoffLimit": 2}));
        let waiting = step(&job, &[pod("Failed", 0)], 5);
        assert_eq!((waiting.create, waiting.again_at), (0, Some(at(10))));
        assert_eq!(step(&job, &[pod("Failed", 0)], 10).create, 1);
        let second = step(&job, &[pod("Failed", 0), pod("Failed", 10)], 29);
        assert_eq!((second.create, second.again_at), (0, Some(at(30))));
        let failed: Vec<Pod> = [0, 10, 30].into_iter().map(|n| pod("Failed", n)).collect();
        let end = step(&job, &failed, 31);
        let reason = "BackoffLimitExceeded".to_owned();
        assert_eq!(
            reasons(&end),
            [("FailureTarget".into(), reason.clone()), ("Failed".into(), reason)]
        );
    }

    #[test]
    fn a_deadline_ends_what_runs_and_the_time_to_live_removes_the_job() {
        let spec = json!({"completions": 1, "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 5});
        let mut job = job(spec);
        job.status = Some(JobStatus {
            start_time: Some(Time(at(0))),
            ..JobStatus::default()
        });
        assert_eq!(step(&job, &[pod("Running", 0)], 59).again_at, Some(at(60)));
        let late = step(&job, &[pod("Running", 0)], 60);
        assert_eq!(late.delete, ["Running0"]);
        assert_eq!(late.ended, Some(LATE));
        job.status = Some(late.status);
        assert_eq!(step(&job, &[], 64).again_at, Some(at(65)));
        assert!(step(&job, &[], 65).expired);
    }

    #[test]
    fn a_suspended_job_runs_nothing() {
        let job = job(json!({"completions": 1, "suspend": true}));
        let plan = step(&job, &[pod("Running", 0)], 0);
        assert_eq!(
            (plan.create, plan.delete, plan.status.start_time),
            (0, vec!["Running0".to_owned()], None)
        );
    }
}
