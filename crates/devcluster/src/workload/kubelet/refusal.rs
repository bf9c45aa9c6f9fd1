//! What a container that could not be started looks like. Pure.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{
    messages::{Effect, Refusal},
    track::Track,
};

/// Pauses before something that was missing is looked for again.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// How long `ErrImagePull` stands before it turns into `ImagePullBackOff`.
const PULL_ERROR_SHOWN: Duration = Duration::from_millis(300);

/// Notes why the container could not be started, and when to try again.
pub(super) fn refuse(track: &mut Track, refusal: Refusal, now: Timestamp, effects: &mut Vec<Effect>) {
    let mut warn = |reason, message| {
        effects.push(Effect::Event {
            warning: true,
            reason,
            message,
        })
    };
    match refusal {
        Refusal::Image(message) => {
            let image = track.spec.image.clone().unwrap_or_default();
            effects.push(Effect::Event {
                warning: false,
                reason: "Pulling",
                message: format!("Pulling image \"{image}\""),
            });
            let mut warn = |reason, message| {
                effects.push(Effect::Event {
                    warning: true,
                    reason,
                    message,
                })
            };
            warn("Failed", format!("Failed to pull image \"{image}\": {message}"));
            warn("Failed", "Error: ErrImagePull".to_owned());
            track.wait("ErrImagePull", Some(message), Some(now + PULL_ERROR_SHOWN));
        }
        Refusal::Config(message) => {
            warn("Failed", format!("Error: {message}"));
            let again = now + track.pull.next(RETRY_FIRST, RETRY_LAST);
            track.wait("CreateContainerConfigError", Some(message), Some(again));
        }
        Refusal::Volume(message) => {
            warn("FailedMount", message);
            let reason = if track.init {
                "PodInitializing"
            } else {
                "ContainerCreating"
            };
            let again = now + track.pull.next(RETRY_FIRST, RETRY_LAST);
            track.wait(reason, None, Some(again));
        }
        Refusal::Start(message) => {
            warn("Failed", format!("Error: failed to create containerd task: {message}"));
            track.run(now);
            track.end(128, "StartError", Some(message), now);
        }
    }
}
