//! The `Status` object: what the API answers when it refuses, word for word as kube-apiserver says it.
//!
//! Source: `metav1.Status` and `k8s.io/apimachinery/pkg/api/errors`.

use serde_json::{Value, json};

use crate::resource::Resource;

/// A refusal. Becomes the HTTP status and body of an answer, or the object of an `ERROR` watch event.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// `reason`, a CamelCase word clients match on; empty when the real server gives none.
    pub reason: &'static str,
    /// The sentence for people.
    pub message: String,
    /// `details`, left out when `None`.
    pub details: Option<Box<Value>>,
}

/// Result of every API operation.
pub type Outcome<T> = Result<T, Status>;

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// `{name, group, kind}` with what is empty left out.
fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut map = serde_json::Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            map.insert(key.into(), value.into());
        }
    }
    Value::Object(map)
}

impl Status {
    fn new(code: u16, reason: &'static str, message: String, details: Option<Value>) -> Self {
        Self {
            code,
            reason,
            message,
            details: details.map(Box::new),
        }
    }

    /// The body as JSON.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            body["details"] = (**details).clone();
        }
        body
    }

    /// 404 for an object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let details = details(name, &resource.group, &resource.plural);
        Self::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", resource.qualified()),
            Some(details),
        )
    }

    /// 404 for a namespace that a write needs.
    pub fn namespace_not_found(name: &str) -> Self {
        Self::new(
            404,
            "NotFound",
            format!("namespaces {name:?} not found"),
            Some(details(name, "", "namespaces")),
        )
    }

    /// 404 for a resource type within a known group and version.
    pub fn no_such_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource".into(),
            Some(json!({})),
        )
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message.into(), Some(json!({})))
    }

    /// 409 on create.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let details = details(name, &resource.group, &resource.plural);
        Self::new(
            409,
            "AlreadyExists",
            format!("{} {name:?} already exists", resource.qualified()),
            Some(details),
        )
    }

    /// 409 with the standard sentence around `why`.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let details = details(name, &resource.group, &resource.plural);
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            resource.qualified()
        );
        Self::new(409, "Conflict", message, Some(details))
    }

    /// 409 because the resourceVersion sent is not the current one.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 of server-side apply.
    pub fn apply_conflict(message: String, causes: Vec<Value>) -> Self {
        Self::new(409, "Conflict", message, Some(json!({ "causes": causes })))
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into(), None)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized".into(), None)
    }

    /// 403 with the given sentence after `<resource> "<name>" is forbidden: `.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let details = details(name, &resource.group, &resource.plural);
        let subject = if name.is_empty() {
            format!("{} is forbidden: {why}", resource.qualified())
        } else {
            format!("{} {name:?} is forbidden: {why}", resource.qualified())
        };
        Self::new(403, "Forbidden", subject, Some(details))
    }

    /// 403 with a message and details of one's own.
    pub fn forbidden_with(message: String, details: Value) -> Self {
        Self::new(403, "Forbidden", message, Some(details))
    }

    /// 410: the revision asked for is no longer known.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message.into(), None)
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message, None)
    }

    /// 415.
    pub fn unsupported_media_type(message: String) -> Self {
        Self::new(415, "UnsupportedMediaType", message, None)
    }

    /// 429: bounded on purpose; try again.
    pub fn too_many_requests(message: impl Into<String>) -> Self {
        Self::new(
            429,
            "TooManyRequests",
            message.into(),
            Some(json!({ "retryAfterSeconds": 1 })),
        )
    }

    /// 500 without a reason, as the real server answers errors it did not classify.
    pub fn unclassified(message: impl Into<String>) -> Self {
        Self::new(500, "", message.into(), None)
    }

    /// 500 InternalError.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = message.to_string();
        let causes = json!({ "causes": [{ "message": message }] });
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
            Some(causes),
        )
    }

    /// 504: the resourceVersion asked for has not been reached.
    pub fn too_large_resource_version(asked: u64, current: u64, retry: bool) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut details = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
        });
        if retry {
            details["retryAfterSeconds"] = 1.into();
        }
        Self::new(504, "Timeout", message, Some(details))
    }

    /// 422 with one cause for each error.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_string()
        } else {
            format!("{kind}.{group}")
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({ "reason": error.kind.reason(), "message": error.sentence(), "field": error.field }))
            .collect();
        let mut details = details(name, group, kind);
        details["causes"] = causes.into();
        let message = format!("{qualified} {name:?} is invalid: {}", aggregate(errors));
        Self::new(422, "Invalid", message, Some(details))
    }
}

/// Several errors in one sentence; equal ones are said once.
fn aggregate(errors: &[FieldError]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for error in errors {
        let line = error.to_string();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    match lines.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// What is wrong with one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// Missing.
    Required,
    /// Present and wrong.
    Invalid,
    /// Not one of the values allowed.
    NotSupported,
    /// May not be set here.
    Forbidden,
    /// There twice.
    Duplicate,
    /// Too many bytes.
    TooLong,
    /// Too many items.
    TooMany,
    /// Of another JSON type.
    TypeInvalid,
    /// Refers to something that is not there.
    NotFound,
}

impl FieldErrorKind {
    /// The `reason` of a cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotFound => "FieldValueNotFound",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One error of validation (`field.Error`).
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: FieldErrorKind,
    /// Where: `spec.ports[0].name`.
    pub field: String,
    /// The value as the sentence shows it, already formatted; `None` where the sentence has none.
    pub value: Option<String>,
    /// What is expected; may be empty.
    pub detail: String,
}

impl FieldError {
    /// A missing field.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind: FieldErrorKind::Required,
            field: field.into(),
            value: None,
            detail: detail.into(),
        }
    }

    /// A wrong value.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        let value = Some(crate::json_text::ordered(value));
        Self {
            kind: FieldErrorKind::Invalid,
            field: field.into(),
            value,
            detail: detail.into(),
        }
    }

    /// Something that may not be set.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind: FieldErrorKind::Forbidden,
            field: field.into(),
            value: None,
            detail: detail.into(),
        }
    }

    /// A value that is there already.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let value = Some(crate::json_text::ordered(value));
        Self {
            kind: FieldErrorKind::Duplicate,
            field: field.into(),
            value,
            detail: String::new(),
        }
    }

    /// Not one of `supported`, which are listed in the order given.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let value = Some(crate::json_text::ordered(value));
        let detail = format!("supported values: {}", list.join(", "));
        Self {
            kind: FieldErrorKind::NotSupported,
            field: field.into(),
            value,
            detail,
        }
    }

    /// Longer than `limit` bytes.
    pub fn too_long(field: impl Into<String>, limit: usize) -> Self {
        let detail = format!("may not be more than {limit} bytes");
        Self {
            kind: FieldErrorKind::TooLong,
            field: field.into(),
            value: None,
            detail,
        }
    }

    /// The sentence without the field (`message` of a cause).
    pub fn sentence(&self) -> String {
        let mut text = self.kind.words().to_string();
        for part in self.value.iter().map(String::as_str).chain([self.detail.as_str()]) {
            if !part.is_empty() {
                text.push_str(": ");
                text.push_str(part);
            }
        }
        text
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.sentence())
    }
}
