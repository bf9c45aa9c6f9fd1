//! Blocks before their decision: built, sent, received, checked.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use alloy::primitives::Address;
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app_channel::app::types::LocallyProposedValue;
use malachitebft_app_channel::{NetworkMsg, Reply};
use malachitebft_core_consensus::ProposedValue;
use malachitebft_core_types::{Context as _, Round, Validator as _, Validity};

use super::app::{App, Exit, blocking};
use super::assembly::Complete;
use super::conflict::TWIN;
use super::context::{Height, LedgerContext, ValidatorAddress};
use super::evidence::{Evidence, Misbehaviour};
use super::signing::Verifier;
use super::value::{BlockId, BlockPart, MAX_SENT_BLOCK, Part, Value};
use crate::application::{Halt, InvalidBlock, Refused};

impl App<'_> {
    /// Blocks that came before their height did are checked now.
    pub(super) async fn on_started_round(
        &mut self,
        height: Height,
        round: Round,
        reply: Reply<Vec<ProposedValue<LedgerContext>>>,
    ) -> Result<(), Exit> {
        tracing::debug!(%height, %round, "round started");
        self.shared.metrics.round_started(round.as_u32().unwrap_or(0));
        if self.began.is_none_or(|(began, _)| began != height) {
            self.began = Some((height, Instant::now()));
        }
        let mut proposed = Vec::new();
        if height == self.next_height() {
            for complete in self.assembly.take_for(height) {
                proposed.extend(self.check(complete).await?);
            }
        }
        if !proposed.is_empty() {
            self.knock_at = None;
        }
        let _ = reply.send(proposed);
        Ok(())
    }

    /// Proposes what was proposed before in this round, after a restart, or else a new block.
    pub(super) async fn on_get_value(
        &mut self,
        height: Height,
        round: Round,
        reply: Reply<LocallyProposedValue<LedgerContext>>,
    ) -> Result<(), Exit> {
        let (true, Some(round_number)) = (height == self.next_height(), round.as_u32()) else {
            tracing::error!(%height, tip = self.tip.height, "the engine asks for a block of another height");
            return Err(Exit::EngineDied);
        };
        self.knock_at = None;
        let value = match self.blocks.proposed_by(self.me, height, round_number) {
            Some(value) => value,
            None => self.build(height, round).await?,
        };
        let _ = reply.send(LocallyProposedValue::new(height, round, value.clone()));
        self.publish_block(height, round_number, &value).await
    }

    async fn build(&mut self, height: Height, round: Round) -> Result<Value, Exit> {
        let account = self.account_of(self.me)?;
        let started = Instant::now();
        let (block, id) = blocking(&self.shared.application, move |app| {
            let block = app.build(account, now_ms())?;
            let id = app
                .block_id(&block)
                .map_err(|error| Halt(format!("the ledger built a block it refuses: {error}")))?;
            Ok::<_, Halt>((block, id))
        })
        .await??;
        if block.is_empty() || block.len() > MAX_SENT_BLOCK {
            let length = block.len();
            return Err(Halt(format!(
                "the ledger built a block of {length} bytes; 1 to {MAX_SENT_BLOCK} can be sent"
            ))
            .into());
        }
        let value = Value::new(id, block);
        tracing::debug!(%height, %round, %id, bytes = value.block().len(), took = ?started.elapsed(), "built a block");
        self.blocks
            .insert(&proposed(height, round, self.me, value.clone(), Validity::Valid));
        Ok(value)
    }

    pub(super) async fn on_restream(&mut self, id: BlockId) -> Result<(), Exit> {
        let Some(undecided) = self.blocks.get(id) else {
            tracing::warn!(%id, "asked to send a block again that is not known");
            return Ok(());
        };
        self.publish_block(undecided.height, undecided.round, &Value::new(id.0, undecided.block))
            .await
    }

    async fn publish_block(&mut self, height: Height, round: u32, value: &Value) -> Result<(), Exit> {
        for part in BlockPart::cut(height, round, value.block_id(), value.block())
            .into_iter()
            .flatten()
        {
            self.publish(Part::Block(part)).await?;
        }
        Ok(())
    }

    pub(super) async fn publish(&mut self, part: Part) -> Result<(), Exit> {
        // Parts describe themselves, so the engine's stream ids and sequence numbers have nothing to tell.
        let message = StreamMessage::new(StreamId::new(Default::default()), 0, StreamContent::Data(part));
        let sent = self
            .channels
            .network
            .send(NetworkMsg::PublishProposalPart(message))
            .await;
        sent.map_err(|_| Exit::EngineDied)
    }

    /// Takes a message from the proposal-parts topic. Returns the block that it completes, checked.
    pub(super) async fn on_part(
        &mut self,
        publisher: &[u8],
        message: StreamMessage<Part>,
    ) -> Result<Option<ProposedValue<LedgerContext>>, Exit> {
        let Some(publisher) = self.peers.validator(publisher) else {
            tracing::debug!("ignored a message of a peer that is no validator");
            return Ok(None);
        };
        let next = self.next_height();
        match message.content {
            StreamContent::Fin => Ok(None),
            StreamContent::Data(Part::Transactions(transactions)) => {
                if !self.shared.incoming.offer(transactions.into_inner()) {
                    tracing::debug!(%publisher, "dropped gossiped transactions: the mempool can't keep up");
                }
                Ok(None)
            }
            StreamContent::Data(Part::Knock(height)) => {
                self.peer_works_on(height);
                Ok(None)
            }
            StreamContent::Data(Part::Conflict(conflict)) => {
                let settings = &self.shared.settings;
                let (key, verifier) = (settings.key.signing_key().public_key(), Verifier::new(settings.ledger));
                if self.signed.counts(conflict.height()) && conflict.proves_twin(&key, &verifier) {
                    return Err(Exit::Twin(TWIN.into()));
                }
                Ok(None)
            }
            StreamContent::Data(Part::Block(part)) => {
                self.peer_works_on(part.height);
                if part.height == next {
                    self.knock_at = None;
                }
                match self.assembly.insert(next, publisher, part) {
                    Some(complete) => self.check(complete).await,
                    None => Ok(None),
                }
            }
        }
    }

    /// Checks a block of the next height.
    ///
    /// Only the proposer of its round can make a block count as invalid; a relay that sends rubbish under the id of a
    /// good block is ignored, so it can't talk this node out of voting for the good one.
    async fn check(&mut self, complete: Complete) -> Result<Option<ProposedValue<LedgerContext>>, Exit> {
        let Complete {
            height,
            round,
            id,
            block,
            publisher,
        } = complete;
        let round_number = Round::new(round);
        let proposer = LedgerContext.select_proposer(&self.set, height, round_number);
        let (proposer, account) = (*proposer.address(), proposer.account());
        if let Some(known) = self.blocks.get(id) {
            let value = Value::new(id.0, known.block);
            return Ok(Some(proposed(
                height,
                Round::new(known.round),
                known.proposer,
                value,
                Validity::Valid,
            )));
        }
        let value = Value::new(id.0, block.clone());
        let started = Instant::now();
        let verdict = blocking(&self.shared.application, move |app| match app.block_id(&block) {
            Ok(actual) if actual == id.0 => app.validate(account, &block, now_ms()).map_err(Some),
            Ok(_) | Err(_) => Err(None),
        })
        .await?;
        tracing::debug!(%height, %round, %id, valid = verdict.is_ok(), took = ?started.elapsed(), "checked a block");
        let validity = match verdict {
            Ok(()) => Validity::Valid,
            Err(Some(refused)) if publisher == proposer => {
                tracing::warn!(%height, %round, %id, %proposer, error = %refused, "refused a proposed block");
                if let Some(case) = accusation(account, height, round, refused, now_ms()) {
                    self.record(case).await?;
                }
                Validity::Invalid
            }
            Err(error) => {
                tracing::warn!(%height, %round, %id, %publisher, ?error, "ignored what is not the block it claims to be");
                return Ok(None);
            }
        };
        let proposed = proposed(height, round_number, proposer, value, validity);
        self.blocks.insert(&proposed);
        Ok(Some(proposed))
    }

    /// The ledger account of a validator of the next height.
    fn account_of(&self, address: ValidatorAddress) -> Result<Address, Halt> {
        let validator = self
            .set
            .as_slice()
            .iter()
            .find(|validator| *validator.address() == address);
        validator
            .map(super::validators::ConsensusValidator::account)
            .ok_or_else(|| Halt("asked to propose while not a validator".into()))
    }
}

/// What the refusal of a block says against its proposer, if anything. Pure. `now_ms` is Unix time in milliseconds.
fn accusation(proposer: Address, height: Height, round: u32, refused: Refused, now_ms: u64) -> Option<Evidence> {
    match refused {
        Refused::Invalid(InvalidBlock(detail)) => Some(Evidence {
            validator: proposer,
            kind: Misbehaviour::InvalidBlock,
            height: height.0,
            round,
            seen_at: now_ms / 1000,
            detail,
            proof: None,
        }),
        Refused::Here(_) => None,
    }
}

pub(super) fn proposed(
    height: Height,
    round: Round,
    proposer: ValidatorAddress,
    value: Value,
    validity: Validity,
) -> ProposedValue<LedgerContext> {
    ProposedValue {
        height,
        round,
        valid_round: Round::Nil,
        proposer,
        value,
        validity,
    }
}

pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_wrong_for_everybody_is_said_against_the_proposer() {
        let proposer = Address::repeat_byte(3);
        let accused = |refused| accusation(proposer, Height(7), 1, refused, 1_900);
        let case = accused(InvalidBlock("state root".into()).into()).unwrap();
        assert_eq!(
            (case.validator, case.height, case.round, case.seen_at),
            (proposer, 7, 1, 1)
        );
        assert_eq!(
            (case.kind, case.detail.as_str()),
            (Misbehaviour::InvalidBlock, "state root")
        );
        assert_eq!(accused(Refused::Here("ahead of this node's clock".into())), None);
    }
}
