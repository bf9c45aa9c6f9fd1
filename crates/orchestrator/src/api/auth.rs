//! Who may call. On a loopback listener everyone who is on the machine; on any other, who has the token.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::Problem;

/// The rule of a listener.
#[derive(Clone)]
pub enum Access {
    /// Loopback: the machine's users are trusted.
    Open,
    /// A bearer token is needed.
    Token(String),
}

/// There is no token for a listener that others can reach.
#[derive(Debug, thiserror::Error)]
#[error(
    "the REST API listens on {0}, which others can reach, but has no token; set api.tokenFile, or listen on 127.0.0.1"
)]
pub struct TokenMissing(SocketAddr);

impl Access {
    /// The rule for a listener; a token is obligatory unless it is on loopback, and is respected everywhere.
    pub fn for_listener(listener: SocketAddr, token: Option<String>) -> Result<Self, TokenMissing> {
        match token {
            Some(token) => Ok(Self::Token(token)),
            None if listener.ip().is_loopback() => Ok(Self::Open),
            None => Err(TokenMissing(listener)),
        }
    }

    /// Whether a request with these headers comes from somebody who may call.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Open => true,
            Self::Token(token) => {
                let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                let bearer = given.and_then(|given| given.strip_prefix("Bearer "));
                bearer.is_some_and(|bearer| same(bearer, token))
            }
        }
    }
}

/// Lets a request through or answers 401.
pub async fn require(State(api): State<Api>, request: Request, next: Next) -> Response {
    if api.access.admits(request.headers()) {
        return next.run(request).await;
    }
    let path = request.uri().path();
    let public = matches!(
        path,
        "/api/v1/health" | "/api/v1/live" | "/api/v1/ready" | "/api/openapi.json"
    ) || path.starts_with("/docs");
    if public {
        return next.run(request).await;
    }
    Problem::unauthorized("send `Authorization: Bearer TOKEN`; the token lies in the agent's api.tokenFile")
        .into_response()
}

/// Compares in a time that does not tell how much was right.
fn same(given: &str, expected: &str) -> bool {
    given.len() == expected.len() && given.bytes().zip(expected.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_others_can_reach_needs_a_token() {
        let loopback = "127.0.0.1:8000".parse().expect("an address");
        let everywhere = "0.0.0.0:8000".parse().expect("an address");
        assert!(matches!(Access::for_listener(loopback, None), Ok(Access::Open)));
        assert!(Access::for_listener(everywhere, None).is_err());
        assert!(matches!(
            Access::for_listener(everywhere, Some("t".into())),
            Ok(Access::Token(_))
        ));
    }
}
