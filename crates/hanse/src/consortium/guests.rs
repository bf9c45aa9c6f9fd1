//! Domains of the swarm that ask this member to follow the ledger.

use std::sync::Arc;

use alloy::primitives::B256;
use hanse_swarm::service::Asked;
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::desk::LASTS;
use super::service::{Consortium, lock, now, now_ms};
use super::token;
use crate::config::Guests;
use crate::swarm::guests::{Answer, Question};

impl Consortium {
    /// Answers until told to stop, or until the swarm is left.
    pub async fn answer_guests(self: Arc<Self>, mut questions: mpsc::Receiver<Asked>, stop: CancellationToken) {
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                asked = questions.recv() => asked,
            };
            let Some(asked) = asked else { return };
            let answer = match serde_json::from_slice::<Question>(&asked.body) {
                Ok(question) => self.answer_guest(asked.from, question.genesis).await,
                Err(error) => Answer::Refused(format!("the question is not understood: {error}")),
            };
            match serde_json::to_vec(&answer) {
                // Who asked may have gone.
                Ok(bytes) => drop(asked.reply.send(bytes.into())),
                Err(error) => tracing::error!(%error, "an answer to a newcomer could not be written"),
            }
        }
    }

    async fn answer_guest(&self, peer: PeerId, genesis: B256) -> Answer {
        match self.token_for(peer, genesis).await {
            Ok(token) => {
                tracing::info!(%peer, "a domain of the swarm may follow the ledger");
                Answer::Token(token)
            }
            Err(reason) => Answer::Refused(reason),
        }
    }

    async fn token_for(&self, peer: PeerId, wanted: B256) -> Result<String, String> {
        if self.settings.guests == Guests::Invite {
            return Err("this member lets nobody follow the ledger without an invite; ask its operator for one".into());
        }
        if !lock(&self.guest_rate).allows(now_ms()) {
            return Err("too many ask here; try again in a moment".into());
        }
        let genesis = self.node().map_err(|problem| problem.detail)?.genesis.digest();
        if genesis != wanted {
            return Err(format!("this domain is a member of the consortium {genesis}"));
        }
        // What its own token is worth depends on it.
        let members = self.ledger.members().await.map_err(|error| error.to_string())?;
        let me = self.ledger.account();
        if !members.iter().any(|member| member.info.account == me) {
            return Err("this domain is no member itself, or not yet".into());
        }
        let token = token::make(&self.keys.ledger, genesis, now() + LASTS).map_err(|error| format!("{error:#}"))?;
        lock(&self.desk).invite_peer(&peer.to_string(), &token, now());
        self.keep_desk().map_err(|problem| problem.detail)?;
        Ok(token)
    }
}
