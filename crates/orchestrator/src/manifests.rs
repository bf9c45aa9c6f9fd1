//! Manifests by content hash: the ledger says which bytes were agreed on, whoever has them may hand them over, and what
//! arrives is checked before anyone looks at it.

use std::time::Duration;

use sha2::{Digest, Sha256};
use url::Url;

/// A manifest may have this many bytes.
pub const LARGEST: usize = 1024 * 1024;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a manifest could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The holder's address is no URL.
    #[error(
        "the consumer's URL {url:?} in the Consortium contract is not usable: {reason}; its owner has to update it"
    )]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The holder could not be reached, or has it not.
    #[error("could not fetch the manifest from {url}: {reason}")]
    Unavailable {
        /// Where it was looked for.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The bytes are not what the ledger says.
    #[error("{url} gave a manifest whose hash is not the one on the ledger; nothing was deployed")]
    WrongHash {
        /// Who gave it.
        url: String,
    },
    /// Too many bytes.
    #[error("{url} gave a manifest of more than {LARGEST} bytes; nothing was deployed")]
    TooLarge {
        /// Who gave it.
        url: String,
    },
}

impl FetchError {
    /// Whether the same holder may do better later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The content hash that goes on the ledger.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Fetches the manifest with this hash from the agent at `base`, reading no more than [`LARGEST`] bytes.
/// `authorization` proves membership.
pub async fn fetch(
    client: &reqwest::Client,
    base: &str,
    wanted: &[u8; 32],
    authorization: &str,
) -> Result<Vec<u8>, FetchError> {
    let bad_url = |reason: String| FetchError::BadUrl {
        url: base.to_owned(),
        reason,
    };
    let url = Url::parse(base)
        .and_then(|base| base.join(&format!("/api/v1/manifests/{}", hex::encode(wanted))))
        .map_err(|error| bad_url(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad_url(format!("scheme {} is not http or https", url.scheme())));
    }
    let unavailable = |reason: String| FetchError::Unavailable {
        url: url.to_string(),
        reason,
    };
    let mut response = client
        .get(url.clone())
        .header("authorization", authorization)
        .timeout(TIMEOUT)
        .send()
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    if !response.status().is_success() {
        return Err(unavailable(format!("answered {}", response.status())));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(error.to_string()))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST {
            return Err(FetchError::TooLarge { url: url.to_string() });
        }
    }
    if hash(&bytes) != *wanted {
        return Err(FetchError::WrongHash { url: url.to_string() });
    }
    Ok(bytes)
}
