//! How controllers see a pod: active, ready, available. Pure.

use k8s_openapi::{
    api::core::v1::{Pod, PodCondition},
    jiff::Timestamp,
};

use super::requests;

/// It counts towards the wanted number: neither over nor being deleted.
pub(crate) fn active(pod: &Pod) -> bool {
    !requests::ended(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// It is being deleted and not over yet.
pub(crate) fn terminating(pod: &Pod) -> bool {
    !requests::ended(pod) && pod.metadata.deletion_timestamp.is_some()
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Its condition `Ready` is true.
pub(crate) fn ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some()
}

/// When the pod is or will be available: ready for `min_ready_seconds`. `None` if it is not ready.
pub(crate) fn available_at(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Timestamp> {
    let ready = ready_condition(pod)?;
    if min_ready_seconds <= 0 {
        return Some(now);
    }
    let since = ready.last_transition_time.as_ref()?.0;
    Some(since + std::time::Duration::from_secs(min_ready_seconds.unsigned_abs().into()))
}
