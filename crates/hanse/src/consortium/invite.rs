//! What a member gives to a newcomer: where to ask, which ledger it is, and a token that says who sent it.
//!
//! Written `URL#GENESIS.TOKEN`: the base URL of the member's REST API, the Keccak-256 of the genesis document (64 hexadecimal
//! digits), and the token, which may be missing. The hash is what makes the answer of that address trustworthy.

use std::fmt;
use std::str::FromStr;

use alloy::primitives::B256;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use url::Url;

const FORM: &str = "an invite looks like https://north.example:8000/#<64 hexadecimal digits>.<token>; ask the member who sent \
                    it for the whole text, and put it in quotes";

/// An invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Invite {
    /// Base URL of a member's REST API.
    pub url: Url,
    /// [`Genesis::digest`](hanse_chain::genesis::Genesis::digest) of the ledger.
    pub genesis: B256,
    /// Shows the member that it sent this invite.
    pub token: Option<String>,
}

impl FromStr for Invite {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (url, rest) = text.trim().split_once('#').context(FORM)?;
        let url = Url::parse(url).context(FORM)?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || url.query().is_some() {
            bail!("{FORM}");
        }
        let (hash, token) = match rest.split_once('.') {
            Some((hash, token)) => (hash, Some(token)),
            None => (rest, None),
        };
        let hash = <[u8; 32]>::try_from(hex::decode(hash).context(FORM)?)
            .ok()
            .context(FORM)?;
        if token
            .is_some_and(|token| token.is_empty() || token.len() > 256 || !token.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            bail!("{FORM}");
        }
        Ok(Self {
            url,
            genesis: hash.into(),
            token: token.map(str::to_owned),
        })
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.url, hex::encode(self.genesis))?;
        self.token.iter().try_for_each(|token| write!(f, ".{token}"))
    }
}

impl TryFrom<String> for Invite {
    type Error = anyhow::Error;
    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl From<Invite> for String {
    fn from(invite: Invite) -> Self {
        invite.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_invite_survives_being_written_and_read() {
        let hash = "ab".repeat(32);
        for text in [
            format!("http://127.0.0.1:8000/#{hash}.00ff"),
            format!("https://north.example/hanse/#{hash}"),
        ] {
            assert_eq!(text.parse::<Invite>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_invite_is_told_how_one_looks() {
        let hash = "ab".repeat(32);
        for text in [
            String::new(),
            "http://127.0.0.1:8000/".into(),
            "http://127.0.0.1:8000/#abcd".into(),
            format!("127.0.0.1:8000#{hash}"),
            format!("ftp://127.0.0.1/#{hash}"),
            format!("http://127.0.0.1/?x#{hash}"),
            format!("http://127.0.0.1/#{hash}."),
            format!("http://127.0.0.1/#{hash}.x y"),
        ] {
            let error = format!("{:#}", text.parse::<Invite>().unwrap_err());
            assert!(error.contains("an invite looks like"), "{text}: {error}");
        }
    }
}
