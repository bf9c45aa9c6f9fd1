//! The Job controller: pods that run to completion.

mod plan;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
    runtime::{Controller, controller::Action, watcher},
};
use tokio_util::sync::CancellationToken;

use super::{
    Timing,
    control::{self, Context, ReconcileError},
    events::Severity,
    pod_factory,
};

const COMPONENT: &str = "job-controller";
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const RETRY_CREATE: Duration = Duration::from_secs(2);

/// What the controller works with.
pub(crate) struct JobContext {
    pub(crate) context: Context,
    pub(crate) timing: Timing,
}

/// Runs the controller until `shutdown`.
pub(crate) async fn run(context: JobContext, shutdown: CancellationToken) {
    let jobs: Api<Job> = Api::all(context.context.client.clone());
    let pods: Api<Pod> = Api::all(context.context.client.clone());
    let controller = Controller::new(jobs, watcher::Config::default()).owns(pods, watcher::Config::default());
    control::run("job", controller, Arc::new(context), reconcile, shutdown).await;
}

async fn reconcile(job: Arc<Job>, context: Arc<JobContext>) -> Result<Action, ReconcileError> {
    let JobContext { context, timing } = &*context;
    let namespace = job.namespace().unwrap_or_default();
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &namespace);
    let Some(job) = jobs.get_opt(&job.name_any()).await? else {
        return Ok(Action::await_change());
    };
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    if job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref()) == Some("Indexed") {
        let message = "completionMode Indexed is not supported by the development cluster";
        context
            .events
            .publish(&job, COMPONENT, Severity::Warning, "Unsupported", message);
        return Err(ReconcileError::Invalid(message.to_owned()));
    }
    let uid = job.uid().unwrap_or_default();
    let pods_api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let mut pods = pods_api
        .list(&ListParams::default().labels(&format!("{UID_LABEL}={uid}")))
        .await?
        .items;
    pods.retain(|pod| control::is_controlled_by(pod, &uid));

    let now = Timestamp::now();
    let plan = plan::plan(&job, &pods, timing.crash_backoff, timing.crash_backoff_max, now);
    if plan.expired {
        return match jobs.delete(&job.name_any(), &DeleteParams::background()).await {
            Err(error) if !control::is_gone(&error) => Err(error.into()),
            _ => Ok(Action::await_change()),
        };
    }
    for name in &plan.delete {
        match pods_api.delete(name, &DeleteParams::default()).await {
            Err(error) if control::is_gone(&error) => continue,
            other => drop(other?),
        }
        context.events.publish(
            &job,
            COMPONENT,
            Severity::Normal,
            "SuccessfulDelete",
            format!("Deleted pod: {name}"),
        );
    }
    let mut again = plan
        .again_at
        .map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    for _ in 0..plan.create {
        if let Err(message) = create(context, &job, &uid, &namespace).await {
            context.events.publish(
                &job,
                COMPONENT,
                Severity::Warning,
                "FailedCreate",
                format!("Error creating: {message}"),
            );
            again = Some(RETRY_CREATE);
            break;
        }
    }
    if job.status.as_ref() != Some(&plan.status) {
        let updated = Job {
            status: Some(plan.status),
            ..job.clone()
        };
        match jobs.replace_status(&job.name_any(), &control::post(), &updated).await {
            Err(error) if control::is_gone(&error) => return Ok(Action::await_change()),
            other => drop(other?),
        }
    }
    if let Some((reason, message)) = plan.ended {
        let (severity, reason, message) = if reason == "CompletionsReached" {
            (Severity::Normal, "Completed", "Job completed")
        } else {
            (Severity::Warning, reason, message)
        };
        context.events.publish(&job, COMPONENT, severity, reason, message);
        // Look again for the time to live.
        again = Some(Duration::from_millis(1));
    }
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

async fn create(context: &Context, job: &Job, uid: &str, namespace: &str) -> Result<(), String> {
    let mut template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let name = job.name_any();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in [
        (UID_LABEL, uid),
        ("controller-uid", uid),
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let pod = pod_factory::pod(&template, &name, namespace, control::controlled_by(job));
    let created = pod_factory::create(context, namespace, &pod).await?;
    let message = format!("Created pod: {}", created.name_any());
    context
        .events
        .publish(job, COMPONENT, Severity::Normal, "SuccessfulCreate", message);
    Ok(())
}
