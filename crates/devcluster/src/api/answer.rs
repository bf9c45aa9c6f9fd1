//! Answers and their headers.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::status::Status;

/// What a request is answered with.
pub enum Answer {
    /// JSON with a status code and `Warning` headers.
    Json {
        /// HTTP status.
        code: u16,
        /// Body.
        body: Value,
        /// Texts of warnings.
        warnings: Vec<String>,
        /// Content type if it is not plain JSON.
        content_type: Option<&'static str>,
    },
    /// Plain text.
    Text(u16, String),
    /// A stream of JSON events, or of log lines.
    Stream(Body, &'static str),
}

impl Answer {
    /// 200 with JSON.
    pub fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    /// JSON without warnings.
    pub fn json(code: u16, body: Value) -> Self {
        Self::Json {
            code,
            body,
            warnings: Vec::new(),
            content_type: None,
        }
    }

    /// JSON with warnings.
    pub fn with_warnings(code: u16, body: Value, warnings: Vec<String>) -> Self {
        Self::Json {
            code,
            body,
            warnings,
            content_type: None,
        }
    }

    /// The text of an unknown path.
    pub fn no_such_page() -> Self {
        Self::Text(404, "404 page not found\n".into())
    }
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self::json(status.code, status.body())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Json {
                code,
                body,
                warnings,
                content_type,
            } => {
                let retry = body["details"]["retryAfterSeconds"].as_u64().filter(|_| code >= 400);
                let mut response = Response::new(Body::from(body.to_string()));
                *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let headers = response.headers_mut();
                let content_type = content_type.unwrap_or("application/json");
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                if let Some(seconds) = retry {
                    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
                for text in warnings {
                    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
                        headers.append(header::WARNING, value);
                    }
                }
                response
            }
            Self::Text(code, text) => {
                let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
            }
            Self::Stream(body, content_type) => {
                let mut response = Response::new(body);
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                response
            }
        }
    }
}
