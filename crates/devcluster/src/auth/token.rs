//! Service account tokens: JSON Web Tokens (RFC 7519) with HMAC-SHA256 under the store's secret.
//!
//! A token dies with its account, with the object it is bound to, and at its time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::User;
use crate::object;
use crate::store::{Key, State};

/// Audience of tokens for this API.
pub const DEFAULT_AUDIENCE: &str = "https://kubernetes.default.svc";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// A name with the uid that makes it one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    name: String,
    uid: String,
}

/// The claims Kubernetes adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Private {
    namespace: String,
    serviceaccount: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Reference>,
}

/// Claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    nbf: i64,
    iss: String,
    jti: String,
    sub: String,
    #[serde(rename = "kubernetes.io")]
    private: Private,
}

impl Claims {
    /// Claims for an account, possibly bound to an object (kind in lower case, name, uid).
    pub fn for_account(
        account: &Value,
        bound: Option<(String, String, String)>,
        audiences: Vec<String>,
        now: Timestamp,
        expires: Timestamp,
    ) -> Self {
        let (namespace, name) = (
            object::namespace(account).to_string(),
            object::name(account).to_string(),
        );
        let of_kind = |wanted: &str| {
            let (_, name, uid) = bound.as_ref().filter(|(kind, ..)| kind == wanted)?;
            Some(Reference {
                name: name.clone(),
                uid: uid.clone(),
            })
        };
        Self {
            aud: audiences,
            exp: expires.as_second(),
            iat: now.as_second(),
            nbf: now.as_second(),
            iss: DEFAULT_AUDIENCE.into(),
            jti: uuid::Uuid::new_v4().to_string(),
            sub: format!("system:serviceaccount:{namespace}:{name}"),
            private: Private {
                namespace,
                serviceaccount: Reference {
                    name,
                    uid: object::uid(account).into(),
                },
                pod: of_kind("pod"),
                secret: of_kind("secret"),
                node: of_kind("node"),
            },
        }
    }

    /// The user, if the token is good for this API now.
    pub fn user(&self, state: &State, now: Timestamp) -> Option<User> {
        let private = &self.private;
        let lives = |plural: &str, namespace: &str, reference: &Reference| {
            state
                .get(&Key::core(plural, namespace, &reference.name))
                .is_some_and(|found| object::uid(found) == reference.uid)
        };
        let in_time = now.as_second() < self.exp && now.as_second() >= self.nbf - 60;
        let bound = private.pod.iter().all(|r| lives("pods", &private.namespace, r))
            && private.secret.iter().all(|r| lives("secrets", &private.namespace, r))
            && private.node.iter().all(|r| lives("nodes", "", r));
        let account = lives("serviceaccounts", &private.namespace, &private.serviceaccount);
        let audience = self.aud.iter().any(|a| a == DEFAULT_AUDIENCE);
        (in_time && bound && account && audience).then(|| User {
            name: self.sub.clone(),
            uid: private.serviceaccount.uid.clone(),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{}", private.namespace),
                "system:authenticated".into(),
            ],
            credential_id: Some(format!("JTI={}", self.jti)),
        })
    }
}

/// Makes a token.
pub(super) fn encode(claims: &Claims, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let body = serde_json::to_vec(claims).expect("claims are plain data");
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(body));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// Reads a token whose signature is right.
pub(super) fn decode(token: &str, verify: impl Fn(&[u8], &[u8]) -> bool) -> Option<Claims> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, body) = message.split_once('.')?;
    if URL_SAFE_NO_PAD.decode(header).ok()? != HEADER.as_bytes() {
        return None;
    }
    if !verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?) {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::Credentials;
    use crate::store::Transaction;
    use serde_json::json;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_good_for_its_account_its_audience_and_its_time_only() {
        let credentials = Credentials::new([7; 32]);
        let account = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u1"}});
        let claims =
            |audience: &str| Claims::for_account(&account, None, vec![audience.into()], time(1000), time(2000));
        let mut state = State::default();
        let mut tx = Transaction::new(&mut state, time(0));
        tx.put(Key::core("serviceaccounts", "n", "a"), account.clone());
        tx.finish(true);
        let token = credentials.sign(&claims(DEFAULT_AUDIENCE));
        let read = decode(&token, |m, c| credentials.verify(m, c)).unwrap();
        assert_eq!(read.user(&state, time(1500)).unwrap().name, "system:serviceaccount:n:a");
        assert!(read.user(&state, time(2000)).is_none(), "expired");
        assert!(
            claims("elsewhere").user(&state, time(1500)).is_none(),
            "another audience"
        );
        let mut tx = Transaction::new(&mut state, time(0));
        tx.put(
            Key::core("serviceaccounts", "n", "a"),
            json!({"metadata": {"name": "a", "namespace": "n", "uid": "u2"}}),
        );
        tx.finish(true);
        assert!(read.user(&state, time(1500)).is_none(), "the account was made anew");
    }

    #[test]
    fn a_changed_token_is_refused() {
        let credentials = Credentials::new([7; 32]);
        let account = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u1"}});
        let claims = Claims::for_account(&account, None, vec![], time(0), time(9));
        let token = credentials.sign(&claims);
        let other = Credentials::new([8; 32]);
        assert!(decode(&token, |m, c| other.verify(m, c)).is_none());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let forged = format!("{message}x.{signature}");
        assert!(decode(&forged, |m, c| credentials.verify(m, c)).is_none());
    }
}
