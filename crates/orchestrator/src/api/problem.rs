//! Errors as problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::StepError;
use crate::request::RequestError;
use crate::store::StoreError;

/// What went wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Identifies the kind of problem, as a relative URI reference.
    pub r#type: String,
    /// The kind of problem in words.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// This very case.
    pub detail: String,
    /// The domains that can't do what was asked for; of the problem `no-provider`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<UnfitDomain>,
}

/// A domain that can't do what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnfitDomain {
    /// Its name.
    pub domain: String,
    /// Its ledger account.
    pub account: String,
    /// Why not, in words.
    pub reasons: Vec<String>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let r#type = format!("/problems/{kind}");
        Self {
            r#type,
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            domains: Vec::new(),
        }
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// 400.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid-request",
            "The request can't be understood",
            detail,
        )
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "conflict",
            "The request does not fit the present state",
            detail,
        )
    }

    /// 401.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Authentication is needed",
            detail,
        )
    }

    /// 504.
    pub fn timed_out(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timed-out", "It took too long", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"hanse\""),
            );
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "store",
            "The agent's store failed",
            error.to_string(),
        )
    }
}

impl From<StepError> for Problem {
    fn from(error: StepError) -> Self {
        let detail = error.to_string();
        match error {
            StepError::Store(error) => error.into(),
            StepError::Ledger(error) if error.refusal().is_some() => {
                Self::new(StatusCode::CONFLICT, "refused", "The ledger refuses this", detail)
            }
            StepError::Ledger(_) => Self::new(StatusCode::BAD_GATEWAY, "ledger", "The ledger does not answer", detail),
            StepError::Cluster(_) => Self::new(StatusCode::BAD_GATEWAY, "cluster", "The cluster can't do this", detail),
            StepError::Manifest(_) => {
                Self::new(StatusCode::BAD_GATEWAY, "manifest", "The manifest can't be had", detail)
            }
            StepError::Unusable(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unusable",
                "This can't be carried out",
                detail,
            ),
            StepError::NotYet(_) => Self::new(StatusCode::CONFLICT, "not-yet", "It is not there yet", detail),
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::UnknownService(_) => Self::not_found(detail),
            RequestError::NotRunning { .. }
            | RequestError::TooManyReplicas { .. }
            | RequestError::AlreadyFederated(_) => Self::conflict(detail),
            RequestError::NoProvider(domains) => Self {
                domains,
                ..Self::new(
                    StatusCode::CONFLICT,
                    "no-provider",
                    "Nobody who qualifies is there",
                    detail,
                )
            },
            RequestError::Invalid { .. } => Self::invalid(detail),
            RequestError::Step(error) => error.into(),
        }
    }
}
