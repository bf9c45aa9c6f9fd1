//! Who may call. On a loopback listener everyone who is on the machine; on any other, who has the token. Members of the
//! consortium may read manifests with a signature of their ledger account instead, because a token of another domain is
//! nothing they could have.

use std::net::SocketAddr;

use alloy::primitives::Signature;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hanse_agreement::Account;

use super::Api;
use super::problem::Problem;
use crate::clock::now_ms;
use crate::error::StepError;
use crate::service::Shared;

/// A membership proof is taken this long before and after the time it names (s).
const PROOF_LASTS: u64 = 60;

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
}

/// Lets a request through or answers 401.
pub async fn require(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Access::Token(token) = &api.access else {
        return next.run(request).await;
    };
    let path = request.uri().path();
    let public = matches!(
        path,
        "/api/v1/health" | "/api/v1/live" | "/api/v1/ready" | "/api/openapi.json"
    ) || path.starts_with("/docs");
    if public {
        return next.run(request).await;
    }
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    if given.strip_prefix("Bearer ").is_some_and(|bearer| same(bearer, token)) {
        return next.run(request).await;
    }
    if let (Some(hash), Some(proof)) = (path.strip_prefix("/api/v1/manifests/"), given.strip_prefix("Hanse ")) {
        return match api.shared().check_membership_proof(proof, hash).await {
            Ok(()) => next.run(request).await,
            Err(reason) => Problem::unauthorized(reason).into_response(),
        };
    }
    Problem::unauthorized("send `Authorization: Bearer TOKEN`; the token lies in the agent's api.tokenFile")
        .into_response()
}

/// Compares in a time that does not tell how much was right.
fn same(given: &str, expected: &str) -> bool {
    given.len() == expected.len() && given.bytes().zip(expected.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

fn proof_text(manifest: &str, account: Account, at: u64) -> String {
    format!("Hanse: member {account} reads manifest {manifest} at {at}")
}

impl Shared {
    /// `Hanse ACCOUNT TIME SIGNATURE`: an EIP-191 signature by the domain's ledger account.
    pub(crate) fn membership_proof(&self, manifest: &[u8; 32]) -> Result<String, StepError> {
        let (account, at) = (self.me(), now_ms() / 1000);
        let signature = self
            .ledger
            .sign_message(&proof_text(&hex::encode(manifest), account, at))?;
        Ok(format!("Hanse {account} {at} {signature}"))
    }

    async fn check_membership_proof(&self, proof: &str, manifest: &str) -> Result<(), String> {
        let mut parts = proof.split(' ');
        let (Some(account), Some(at), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("a membership proof is `Hanse ACCOUNT TIME SIGNATURE`".into());
        };
        let account: Account = account.parse().map_err(|error| format!("account: {error}"))?;
        let at: u64 = at.parse().map_err(|error| format!("time: {error}"))?;
        let signature: Signature = signature.parse().map_err(|error| format!("signature: {error}"))?;
        if at.abs_diff(now_ms() / 1000) > PROOF_LASTS {
            return Err("the membership proof is too old, or the clocks of the two domains differ".into());
        }
        let signer = signature
            .recover_address_from_msg(proof_text(manifest, account, at))
            .map_err(|error| format!("signature: {error}"))?;
        if signer.into_array() != account.0 {
            return Err("the membership proof was not signed by the account that it names".into());
        }
        match self.ledger.member(account).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(format!("{account} is not a member of the consortium")),
            Err(error) => Err(format!("membership can't be checked now: {error}")),
        }
    }
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
