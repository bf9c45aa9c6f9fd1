//! Asking a member through the swarm for what an invite gives: a token, with which a newcomer may follow the ledger and ask
//! for admission.

use std::time::Duration;

use anyhow::{Context, bail};
use hanse_swarm::{Swarm, Topic};
use libp2p::PeerId;
use serde::{Deserialize, Serialize};

/// What the messages are about.
pub const TOPIC: Topic = Topic::new("consortium-guest/1");

/// One member has so long to answer.
const WITHIN: Duration = Duration::from_secs(10);

/// A newcomer asks for a token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The consortium: the digest of its genesis document.
    pub genesis: alloy::primitives::B256,
}

/// What a member says to that.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The token of an invite for the asking domain.
    Token(String),
    /// Why it gets none.
    Refused(String),
}

/// Asks a member for a token.
///
/// # Errors
/// Says why there is none.
pub async fn ask(swarm: &Swarm, member: PeerId, question: &Question) -> anyhow::Result<String> {
    let body = serde_json::to_vec(question)?;
    let answer = swarm.ask(member, TOPIC, body.into(), WITHIN).await?;
    match serde_json::from_slice(&answer).context("it answers something else than expected")? {
        Answer::Token(token) if token.len() <= 256 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(token),
        Answer::Token(_) => bail!("it answers something that is no token"),
        Answer::Refused(reason) => bail!("it refuses: {}", reason.chars().take(400).collect::<String>()),
    }
}
