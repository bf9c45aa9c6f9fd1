//! A request as the API understands it.

use axum::http::{HeaderMap, Method, Uri, header};
use bytes::Bytes;
use serde_json::Value;

use crate::auth::User;
use crate::schema::{self, ProtobufError};
use crate::status::{FieldError, Outcome, Status};

/// Query parameters, in order.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// From the query of a URI; a query that cannot be decoded counts as none.
    pub fn of(uri: &Uri) -> Self {
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|q| Self(q.0))
            .unwrap_or_default()
    }

    /// The first value of a parameter, `None` if it is missing or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether a parameter is set to something true.
    pub fn flag(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|(key, value)| key == name && matches!(value.as_str(), "true" | "1" | "True" | "t" | "T" | "TRUE"))
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(|text| text.parse().ok())
    }
}

/// Who asks what, how.
#[derive(Debug, Clone)]
pub struct Call {
    /// HTTP method.
    pub method: Method,
    /// Path, decoded, without the leading slash.
    pub path: Vec<String>,
    /// Query.
    pub params: Params,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most the limit.
    pub body: Bytes,
    /// Who.
    pub user: User,
}

/// What becomes of fields the server does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// Dropped silently.
    Ignore,
    /// Dropped with a warning.
    Warn,
    /// Refused.
    Strict,
}

impl Call {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Media type of the body, without parameters.
    pub fn content_type(&self) -> &str {
        self.header(header::CONTENT_TYPE)
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
    }

    /// `Accept`.
    pub fn accept(&self) -> &str {
        self.header(header::ACCEPT)
    }

    /// `fieldManager`, else the program's name from `User-Agent`.
    pub fn manager(&self) -> String {
        if let Some(manager) = self.params.get("fieldManager") {
            return manager.to_string();
        }
        let agent = self.header(header::USER_AGENT).split('/').next().unwrap_or_default();
        let printable: String = agent.chars().filter(|c| !c.is_control()).take(128).collect();
        if printable.is_empty() {
            "unknown".into()
        } else {
            printable
        }
    }

    /// What to do about unknown fields.
    ///
    /// # Errors
    /// 422 for another value, naming the options type.
    pub fn field_validation(&self, options: &str) -> Outcome<FieldValidation> {
        match self.params.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => {
                let error = FieldError::not_supported("fieldValidation", &other.into(), &["Ignore", "Strict", "Warn"]);
                Err(Status::invalid("meta.k8s.io", options, "", &[error]))
            }
        }
    }

    /// Whether nothing is to be stored.
    ///
    /// # Errors
    /// 422 for anything but `All`.
    pub fn dry_run(&self, options: &str) -> Outcome<bool> {
        match self.params.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                let error = FieldError::not_supported("dryRun", &serde_json::json!([other]), &["All"]);
                Err(Status::invalid("meta.k8s.io", options, "", &[error]))
            }
        }
    }

    /// Checks the options every write shares.
    ///
    /// # Errors
    /// 422 with all that is wrong.
    pub fn check_manager(&self, options: &str) -> Outcome<()> {
        let Some(manager) = self.params.get("fieldManager") else {
            return Ok(());
        };
        let mut errors = Vec::new();
        if manager.len() > 128 {
            errors.push(FieldError::too_long("fieldManager", 128));
        }
        if manager.chars().any(char::is_control) {
            errors.push(FieldError::invalid(
                "fieldManager",
                &manager.into(),
                "should not contain control characters",
            ));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Status::invalid("meta.k8s.io", options, "", &errors))
        }
    }

    /// The body as JSON, or as YAML if it says so.
    ///
    /// # Errors
    /// 400 for a body that is not.
    pub fn parse_body(&self) -> Outcome<Value> {
        match self.content_type() {
            "application/yaml" | "application/x-yaml" | "text/yaml" => super::yaml::parse(&self.body),
            "" | "application/json" => serde_json::from_slice(&self.body).map_err(|error| {
                let message = format!(
                    "couldn't get version/kind; json parse error: {}",
                    go_json_error(&self.body, &error)
                );
                Status::bad_request(message)
            }),
            "application/vnd.kubernetes.protobuf" => schema::read_object(&self.body).map_err(|error| match error {
                ProtobufError::UnknownType { .. } => unsupported(self.content_type()),
                error => Status::bad_request(error.to_string()),
            }),
            other => Err(unsupported(other)),
        }
    }
}

fn unsupported(media_type: &str) -> Status {
    Status::unsupported_media_type(format!(
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml (got {media_type})"
    ))
}

/// A JSON syntax error in the words of Go's `encoding/json`.
pub fn go_json_error(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".into();
    }
    let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').collect();
    let line = lines.get(error.line().saturating_sub(1)).copied().unwrap_or_default();
    let column = error.column().saturating_sub(1).min(line.len().saturating_sub(1));
    let found = line.get(column).copied().map(char::from).unwrap_or(' ');
    let before = &line[..column.min(line.len())];
    for literal in ["null", "true", "false"] {
        for length in 1..literal.len() {
            if before.ends_with(&literal.as_bytes()[..length])
                && !literal.as_bytes()[..=length].ends_with(&[found as u8])
            {
                let expected = char::from(literal.as_bytes()[length]);
                return format!("invalid character '{found}' in literal {literal} (expecting '{expected}')");
            }
        }
    }
    format!("invalid character '{found}' looking for beginning of value")
}
