//! The kubeconfig that one domain gives to another. What arrives is hostile: a kubeconfig can name programs to run and files
//! to read, so nothing is taken but a server, its certificate authority, a namespace and a token, and what is stored is
//! written anew from those.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

const LONGEST_URL: usize = 512;
const LONGEST_TOKEN: usize = 8 * 1024;
const LONGEST_AUTHORITY: usize = 32 * 1024;

/// Why a kubeconfig is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// Something else than a kubeconfig, or more than one may hold here.
    #[error("it is no kubeconfig with one cluster, one user with a token, and one context: {0}")]
    Form(String),
    /// Not one of each.
    #[error("it has {count} {what}; there must be one")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// Its parts do not belong together.
    #[error("its context names a cluster or a user that it does not have")]
    Names,
    /// Where the API server is.
    #[error("{0:?} is no https URL of an API server; it must have no user name, password, query or fragment")]
    Server(String),
    /// Certificates.
    #[error("its certificate authority is no list of PEM certificates of at most 32 KiB")]
    Authority,
    /// The token.
    #[error("its token is empty, longer than 8 KiB, or has characters that no bearer token has")]
    Token,
    /// The namespace.
    #[error("{0:?} is no name of a namespace")]
    Namespace(String),
}

/// A kubeconfig as JSON, with nothing in it but what a credential consists of. Any other field is an error: `exec`,
/// `auth-provider`, `tokenFile`, `client-certificate`, `proxy-url`, `insecure-skip-tls-verify` and all that will be invented.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Document {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
    current_context: String,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedCluster {
    name: String,
    cluster: ClusterPart,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ClusterPart {
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_authority_data: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedUser {
    name: String,
    user: UserPart,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserPart {
    token: Token,
}

/// Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct Token(Zeroizing<String>);

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(Zeroizing::new(token))
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0.to_string()
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedContext {
    name: String,
    context: ContextPart,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextPart {
    cluster: String,
    user: String,
    namespace: String,
}

/// What a credential consists of.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PeerKubeconfig {
    server: String,
    /// Certificates in PEM; `None`: the system's own list.
    authority: Option<String>,
    namespace: String,
    token: Zeroizing<String>,
}

/// Without the token.
impl std::fmt::Debug for PeerKubeconfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeerKubeconfig({} in {})", self.server, self.namespace)
    }
}

/// Checks where an API server is said to be.
pub(super) fn check_server(text: &str) -> Result<(), KubeconfigError> {
    let wrong = || KubeconfigError::Server(text.chars().take(LONGEST_URL).collect());
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.has_host();
    let clean = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    (url.scheme() == "https" && plain && clean && text.len() <= LONGEST_URL)
        .then_some(())
        .ok_or_else(wrong)
}

/// Whether a text is nothing but PEM certificates (RFC 7468).
pub(super) fn is_certificates(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut any = false;
    while let Some(line) = lines.next() {
        if line != "-----BEGIN CERTIFICATE-----" {
            return false;
        }
        let mut body = String::new();
        loop {
            match lines.next() {
                Some("-----END CERTIFICATE-----") => break,
                Some(line) => body.push_str(line),
                None => return false,
            }
        }
        if body.is_empty() || STANDARD.decode(body).is_err() {
            return false;
        }
        any = true;
    }
    any && text.len() <= LONGEST_AUTHORITY
}

/// Whether a text is the name of a namespace (RFC 1123 label).
fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Whether a text can be a bearer token (RFC 6750, `b64token`).
fn is_token(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    (1..=LONGEST_TOKEN).contains(&text.len()) && text.chars().all(fits)
}

fn one<T>(what: &'static str, list: Vec<T>) -> Result<T, KubeconfigError> {
    let count = list.len();
    let mut list = list.into_iter();
    match (list.next(), list.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(KubeconfigError::Count { what, count }),
    }
}

impl PeerKubeconfig {
    /// A credential with these parts.
    ///
    /// # Errors
    /// Says which of them is wrong.
    pub fn new(
        server: String,
        authority: Option<String>,
        namespace: String,
        token: Zeroizing<String>,
    ) -> Result<Self, KubeconfigError> {
        check_server(&server)?;
        if authority.as_ref().is_some_and(|authority| !is_certificates(authority)) {
            return Err(KubeconfigError::Authority);
        }
        if !is_token(&token) {
            return Err(KubeconfigError::Token);
        }
        if !is_label(&namespace) {
            return Err(KubeconfigError::Namespace(namespace.chars().take(64).collect()));
        }
        Ok(Self {
            server,
            authority,
            namespace,
            token,
        })
    }

    /// Takes the parts out of a document that a peer sent.
    ///
    /// # Errors
    /// For everything that is not just these parts.
    pub fn read(document: Document) -> Result<Self, KubeconfigError> {
        if document.api_version != "v1" || document.kind != "Config" {
            return Err(KubeconfigError::Form(
                "apiVersion is not v1, or kind is not Config".into(),
            ));
        }
        let cluster = one("clusters", document.clusters)?;
        let user = one("users", document.users)?;
        let context = one("contexts", document.contexts)?;
        let linked = document.current_context == context.name
            && context.context.cluster == cluster.name
            && context.context.user == user.name;
        if !linked {
            return Err(KubeconfigError::Names);
        }
        let authority = cluster.cluster.certificate_authority_data.map(|data| {
            let bytes = STANDARD.decode(data).map_err(|_| KubeconfigError::Authority)?;
            String::from_utf8(bytes).map_err(|_| KubeconfigError::Authority)
        });
        Self::new(
            cluster.cluster.server,
            authority.transpose()?,
            context.context.namespace,
            user.user.token.0,
        )
    }

    /// As a document, with names of our own.
    pub fn document(&self) -> Document {
        let name = || "peer".to_owned();
        Document {
            api_version: "v1".into(),
            kind: "Config".into(),
            clusters: vec![NamedCluster {
                name: name(),
                cluster: ClusterPart {
                    server: self.server.clone(),
                    certificate_authority_data: self.authority.as_ref().map(|pem| STANDARD.encode(pem)),
                },
            }],
            users: vec![NamedUser {
                name: name(),
                user: UserPart {
                    token: Token(self.token.clone()),
                },
            }],
            contexts: vec![NamedContext {
                name: name(),
                context: ContextPart {
                    cluster: name(),
                    user: name(),
                    namespace: self.namespace.clone(),
                },
            }],
            current_context: name(),
        }
    }

    /// As a file for kubectl.
    pub fn to_yaml(&self) -> Result<Zeroizing<String>, KubeconfigError> {
        let text = serde_saphyr::to_string(&self.document());
        text.map(Zeroizing::new)
            .map_err(|error| KubeconfigError::Form(error.to_string()))
    }
}
