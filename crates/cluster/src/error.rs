//! What can go wrong when talking to a cluster, with retryability in the type.

use std::time::Duration;

use kube::core::Status;

use crate::manifest::ObjectRef;

/// An operation on the cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The same call may succeed later. Every operation of this crate is safe to repeat.
    #[error(transparent)]
    Temporary(#[from] Temporary),
    /// The same call will fail again until someone changes something.
    #[error(transparent)]
    Permanent(#[from] Permanent),
}

impl ClusterError {
    /// Whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Temporary(_))
    }
}

/// Worth a retry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Temporary {
    /// No answer.
    #[error("{doing}: the Kubernetes API cannot be reached: {message}")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// What the network said.
        message: String,
    },
    /// The API answered that it cannot now (429, 5xx, a lost race).
    #[error("{doing}: the Kubernetes API cannot do it now: {message}")]
    Busy {
        /// What was being done.
        doing: String,
        /// What the API said.
        message: String,
    },
    /// A request or a wait took too long.
    #[error("{doing}: not done within {} s: {pending}", within.as_secs_f32())]
    Deadline {
        /// What was being done.
        doing: String,
        /// The deadline.
        within: Duration,
        /// What was still missing.
        pending: String,
    },
    /// The namespace or an object of that name is still being deleted.
    #[error("{what} is still being deleted: try again when it is gone")]
    StillEnding {
        /// The namespace or object.
        what: String,
    },
    /// A ResourceQuota does not allow the object.
    #[error("{doing}: the namespace's quota is used up: {message}; free some of it or raise the ResourceQuota")]
    QuotaExceeded {
        /// What was being done.
        doing: String,
        /// What the API said.
        message: String,
    },
}

/// Not worth a retry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Permanent {
    /// The cluster does not know who is asking.
    #[error(
        "{doing}: the cluster does not accept our credentials: {message}; renew the kubeconfig or the service account token"
    )]
    Unauthorized {
        /// What was being done.
        doing: String,
        /// What the API said.
        message: String,
    },
    /// The agent's account may not do this.
    #[error("{doing}: not allowed: {message}; give the agent's account this right (`hanse check` lists what it needs)")]
    Forbidden {
        /// What was being done.
        doing: String,
        /// What the API said.
        message: String,
    },
    /// The object (or namespace) is not there.
    #[error("{doing}: {message}; check the name, or apply the manifest first")]
    NotFound {
        /// What was being done.
        doing: String,
        /// What the API said.
        message: String,
    },
    /// Other programs set the same fields differently.
    #[error("{object} cannot be applied: {} set the same fields differently ({}); let it go of them, or choose another name", managers.join(" and "), fields.join(", "))]
    Conflict {
        /// The object.
        object: ObjectRef,
        /// The field managers that own the fields, e.g. `kubectl-client-side-apply`.
        managers: Vec<String>,
        /// The fields.
        fields: Vec<String>,
    },
    /// The object exists and is not this owner's.
    #[error("{what} exists already and belongs to {to}: delete it, or choose another name or namespace")]
    NotOurs {
        /// The object or namespace.
        what: String,
        /// Who it belongs to, for people.
        to: String,
    },
    /// The cluster does not accept the object as it is.
    #[error("{doing}: the cluster does not accept it: {message}")]
    Invalid {
        /// What was being done.
        doing: String,
        /// What the API said.
        message: String,
    },
    /// The caller asked for something that makes no sense.
    #[error("{0}")]
    Request(String),
    /// An answer that this program does not understand.
    #[error("{doing}: the cluster gave an answer that is not understood: {message}")]
    Unexpected {
        /// What was being done.
        doing: String,
        /// What was not understood.
        message: String,
    },
}

/// Turns kube's error into ours.
pub(crate) fn classify(doing: &str, error: kube::Error) -> ClusterError {
    let doing = doing.to_owned();
    match error {
        kube::Error::Api(status) => classify_status(doing, &status),
        kube::Error::HyperError(e) => Temporary::Unreachable {
            doing,
            message: chain(&e),
        }
        .into(),
        kube::Error::Service(e) => Temporary::Unreachable {
            doing,
            message: chain(e.as_ref()),
        }
        .into(),
        kube::Error::ReadEvents(e) => Temporary::Unreachable {
            doing,
            message: chain(&e),
        }
        .into(),
        kube::Error::Auth(e) => Permanent::Unauthorized {
            doing,
            message: chain(&e),
        }
        .into(),
        other => Permanent::Unexpected {
            doing,
            message: chain(&other),
        }
        .into(),
    }
}

fn classify_status(doing: String, status: &Status) -> ClusterError {
    let message = status.message.clone();
    let has_cause = |reason: &str| {
        status
            .details
            .iter()
            .flat_map(|d| &d.causes)
            .any(|c| c.reason == reason)
    };
    match status.code {
        401 => Permanent::Unauthorized { doing, message }.into(),
        403 if has_cause("NamespaceTerminating") => Temporary::StillEnding {
            what: "the namespace".to_owned(),
        }
        .into(),
        403 if message.contains("exceeded quota") => Temporary::QuotaExceeded { doing, message }.into(),
        403 => Permanent::Forbidden { doing, message }.into(),
        404 => Permanent::NotFound { doing, message }.into(),
        400 | 405 | 406 | 413 | 415 | 422 => Permanent::Invalid { doing, message }.into(),
        // A lost race of two writers, or someone else just made it.
        409 | 410 | 429 | 500..=599 => Temporary::Busy { doing, message }.into(),
        _ => Permanent::Unexpected { doing, message }.into(),
    }
}

/// The error with its causes, each once: the outermost alone often says only "error sending request".
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

/// The managers and fields of a server-side apply conflict, or `None` if the error is another one.
pub(crate) fn apply_conflict(error: &kube::Error) -> Option<(Vec<String>, Vec<String>)> {
    let kube::Error::Api(status) = error else { return None };
    let causes = status
        .details
        .iter()
        .flat_map(|d| &d.causes)
        .filter(|c| c.reason == "FieldManagerConflict");
    let (mut managers, mut fields) = (Vec::new(), Vec::new());
    for cause in causes {
        // `conflict with "NAME" [with subresource "S"] using apps/v1`: the name is not given separately.
        let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message).to_owned();
        if !managers.contains(&manager) {
            managers.push(manager);
        }
        if !fields.contains(&cause.field) {
            fields.push(cause.field.clone());
        }
    }
    (!managers.is_empty()).then_some((managers, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(json: serde_json::Value) -> kube::Error {
        kube::Error::Api(Box::new(serde_json::from_value(json).unwrap_or_else(|e| panic!("{e}"))))
    }

    #[test]
    fn a_conflict_names_the_other_managers_once() {
        // as a kube-apiserver v1.36 answers
        let error = api(serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409, "reason": "Conflict",
            "message": "Apply failed with 3 conflicts: …",
            "details": {"causes": [
                {"reason": "FieldManagerConflict", "message": "conflict with \"bob\"", "field": ".data.k"},
                {"reason": "FieldManagerConflict", "message": "conflict with \"alice\"", "field": ".data.k"},
                {"reason": "FieldManagerConflict",
                 "message": "conflict with \"alice\" with subresource \"scale\" using apps/v1", "field": ".spec.replicas"}
            ]}
        }));
        let (managers, fields) = apply_conflict(&error).unwrap_or_default();
        assert_eq!(managers, ["bob", "alice"]);
        assert_eq!(fields, [".data.k", ".spec.replicas"]);
    }

    #[test]
    fn what_may_pass_is_temporary_and_the_rest_is_not() {
        for (code, reason, retryable) in [
            (401, "Unauthorized", false),
            (403, "Forbidden", false),
            (404, "NotFound", false),
            (409, "Conflict", true),
            (409, "AlreadyExists", true),
            (422, "Invalid", false),
            (429, "TooManyRequests", true),
            (500, "InternalError", true),
            (503, "ServiceUnavailable", true),
        ] {
            let error = api(serde_json::json!({"status": "Failure", "message": "m", "reason": reason, "code": code}));
            assert_eq!(classify("testing", error).is_retryable(), retryable, "{code} {reason}");
        }
    }

    #[test]
    fn a_forbidden_answer_may_be_a_quota_or_a_dying_namespace() {
        let quota = "services \"a\" is forbidden: exceeded quota: q, requested: services=1, used: services=1, limited: services=1";
        let error = api(serde_json::json!({"status": "Failure", "message": quota, "reason": "Forbidden", "code": 403}));
        assert!(matches!(
            classify("x", error),
            ClusterError::Temporary(Temporary::QuotaExceeded { .. })
        ));
        let error = api(
            serde_json::json!({"status": "Failure", "message": "m", "reason": "Forbidden", "code": 403,
            "details": {"causes": [{"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}]}}),
        );
        assert!(matches!(
            classify("x", error),
            ClusterError::Temporary(Temporary::StillEnding { .. })
        ));
    }
}
