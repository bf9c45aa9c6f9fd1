//! Output of containers. The workload side knows where it is and provides it through [`PodLogs`].

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::answer::Answer;
use super::request::Call;
use super::server::{Server, Target};
use crate::status::{Outcome, Status};
use crate::workload::LogRange;

/// Where the output of containers is.
pub trait PodLogs: Send + Sync + 'static {
    /// Opens the output of a container of a pod. The stream ends with the output, or with the container when following.
    ///
    /// # Errors
    /// A sentence for the user, answered as 400 (`container "x" in pod "y" is waiting to start`).
    fn open(&self, pod: &Pod, range: LogRange) -> Result<BoxStream<'static, std::io::Result<Bytes>>, String>;
}

/// Answers `GET …/pods/NAME/log`.
pub async fn answer(server: &Arc<Server>, call: &Call, target: &Target) -> Outcome<Answer> {
    let pod = server.store.read().state.get(&target.key()).cloned();
    let pod = pod.ok_or_else(|| Status::not_found(&target.resource, &target.name))?;
    let typed: Pod = serde_json::from_value((*pod).clone()).map_err(Status::internal)?;
    let count = |name: &str| call.params.number(name).and_then(|n| usize::try_from(n).ok());
    let since = match (call.params.number("sinceSeconds"), call.params.get("sinceTime")) {
        (Some(seconds), _) => Some(Timestamp::now() - SignedDuration::from_secs(seconds)),
        (None, Some(text)) => {
            let refused = |_| Status::bad_request(format!("sinceTime: {text:?} is not an RFC 3339 time"));
            Some(text.parse::<Timestamp>().map_err(refused)?)
        }
        (None, None) => None,
    };
    let range = LogRange {
        container: call.params.get("container").map(str::to_string),
        follow: call.params.flag("follow"),
        previous: call.params.flag("previous"),
        timestamps: call.params.flag("timestamps"),
        tail_lines: count("tailLines"),
        since,
        limit_bytes: count("limitBytes"),
    };
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        // Nothing can have run yet.
        return Ok(Answer::Text(200, String::new()));
    }
    let Some(logs) = server.logs.get() else {
        let message = format!("pod {:?} has no output: this server runs no workloads", target.name);
        return Err(Status::bad_request(message));
    };
    let stream = logs.open(&typed, range).map_err(Status::bad_request)?;
    Ok(Answer::Stream(Body::from_stream(stream), "text/plain"))
}
