//! `lifecycle.preStop`: what runs before a container gets SIGTERM.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Probe};
use tokio::time::{Instant, sleep, timeout};

use super::{
    probe::{self, Target},
    process::Orders,
};

/// What a container has left to end after a hook that took all of its grace.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// The hook of `container`, if it has one.
pub(super) fn pre_stop(container: &Container) -> Option<LifecycleHandler> {
    container.lifecycle.as_ref()?.pre_stop.clone()
}

/// Runs the hook within `grace` and then stops the container with what is left of it, whatever came of the hook.
///
/// # Errors
/// Why the hook failed, for the `FailedPreStopHook` event.
pub(super) async fn run_then_stop(
    hook: &LifecycleHandler,
    container: &Container,
    target: &Target,
    orders: &Orders,
    grace: Duration,
) -> Result<(), String> {
    let deadline = Instant::now() + grace;
    let result = match timeout(grace, run(hook, container, target, grace)).await {
        Ok(result) => result,
        Err(_) => Err(format!("not done within the grace period of {} s", grace.as_secs())),
    };
    orders.stop(deadline.saturating_duration_since(Instant::now()).max(LEAST_GRACE));
    result
}

async fn run(hook: &LifecycleHandler, container: &Container, target: &Target, grace: Duration) -> Result<(), String> {
    if let Some(pause) = &hook.sleep {
        sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    // A hook acts like a probe that has the whole grace period.
    let action = Probe {
        exec: hook.exec.clone(),
        http_get: hook.http_get.clone(),
        tcp_socket: hook.tcp_socket.clone(),
        timeout_seconds: Some(i32::try_from(grace.as_secs()).unwrap_or(i32::MAX).max(1)),
        ..Probe::default()
    };
    probe::run(&action, container, target).await
}
