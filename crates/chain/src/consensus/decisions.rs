//! Blocks from their decision on: committed, served to others, fetched from others.

use std::ops::RangeInclusive;
use std::time::Instant;

use alloy::primitives::Bytes;
use libp2p::Multiaddr;
use malachitebft_app_channel::app::engine::host::{Next, SyncedValueOutcome};
use malachitebft_app_channel::app::types::MisbehaviorEvidence;
use malachitebft_app_channel::{NetworkRequest, Reply};
use malachitebft_core_types::{CommitCertificate, Context as _, Round, Validity};
use malachitebft_sync::RawDecidedValue;

use super::app::{App, Exit, blocking};
use super::certificate;
use super::conflict::{Conflict, TWIN};
use super::context::{Height, LedgerContext, ValidatorAddress};
use super::evidence::Evidence;
use super::pace::Pace;
use super::peers::Peers;
use super::proposals::{now_ms, proposed};
use super::starting::Held;
use super::validators::ValidatorSet;
use super::value::{MAX_SENT_BLOCK, Part, Value};
use crate::application::{Durability, Halt, InvalidBlock, Refused};

/// A quorum has found the time of a decided block acceptable. This node's clock, which may be wrong, has no say any more:
/// otherwise a node whose clock is behind could neither vote for the others' blocks nor fetch them.
const ANY_TIME: u64 = u64::MAX;

/// Blocks in one answer to a node that was away, at most; the engine asks for fewer.
const SERVED: usize = 64;

/// Of blocks fetched from others, how many may be lost to a crash and fetched again.
const FLUSH_EVERY: u64 = 128;

impl App<'_> {
    /// Commits durably, then reads who decides the next height.
    pub(super) async fn on_decided(&mut self, mut certificate: CommitCertificate<LedgerContext>) -> Result<(), Exit> {
        let (height, id) = (certificate.height, certificate.value_id);
        if height.0 <= self.tip.height {
            return Ok(());
        }
        if height != self.next_height() {
            tracing::error!(%height, tip = self.tip.height, "the engine decided a height out of order");
            return Err(Exit::EngineDied);
        }
        let disputed = self.disputed.take().filter(|(disputed, _)| *disputed == id);
        let checked = self.blocks.get(id).map(|undecided| undecided.block);
        let block = checked.or(disputed.map(|(_, block)| block)).ok_or_else(|| {
            Halt(format!(
                "block {id} was decided at height {height}, but this node does not have it any more"
            ))
        })?;
        // A quorum proves the decision; what more there is would only be kept and sent.
        certificate.commit_signatures.truncate(self.set.quorum());
        let encoded = certificate::encode(&certificate);
        // Others have it, and this node has signed nothing on it; what it signs later is preceded by a flush.
        let durability = if self.synced == Some(height) && !height.0.is_multiple_of(FLUSH_EVERY) {
            Durability::Deferred
        } else {
            Durability::Immediate
        };
        let started = Instant::now();
        let (tip, rules) = blocking(&self.shared.application, move |app| {
            let tip = app.commit(&block, &encoded, durability)?;
            Ok::<_, Halt>((tip, app.rules()?))
        })
        .await??;
        if tip.height != height.0 || tip.hash != id.0 {
            return Err(Halt(format!(
                "committed block {id} at height {height}, but the ledger stands at {tip:?}"
            ))
            .into());
        }
        tracing::debug!(%height, %id, round = %certificate.round, took = ?started.elapsed(), "committed a block");
        let began = self
            .began
            .filter(|(began, _)| *began == height && self.synced != Some(height));
        self.shared.metrics.committed(began.map(|(_, at)| at.elapsed()));
        self.tip = tip;
        self.knock_at = None;
        self.blocks.forget(height);
        if rules != self.rules {
            self.set = ValidatorSet::from_rules(&rules)?;
            self.know_accounts();
            let same_validators = rules.validators == self.rules.validators;
            self.rules = rules;
            if !same_validators {
                self.update_peers().await;
                self.follow_rotation()?;
            }
        }
        let fetched = self.synced == Some(height);
        if let Some(abstention) = &mut self.shared.abstention {
            abstention.committed(Instant::now(), fetched);
        }
        self.report(None);
        self.end_abstention()
    }

    /// Tells the engine's network about validators that came, went or moved, and about guests.
    pub(super) async fn update_peers(&mut self) {
        let own = self.shared.settings.key.public_key();
        let guests = self.shared.wishes.borrow_and_update().guests.clone();
        let next = Peers::new(&self.rules, &own, &self.shared.bootstrap, &guests).after(&self.peers);
        let (add, remove) = self.peers.changes_to(&next);
        let (add, remove) = self.farewell.part(Instant::now(), &next, add, remove);
        self.drop_peers(remove).await;
        for address in add {
            let result = NetworkRequest::add_persistent_peer(&self.channels.net_requests, address.clone()).await;
            tracing::info!(%address, ?result, "a peer came or moved");
        }
        self.peers = next;
    }

    pub(super) async fn drop_peers(&self, addresses: Vec<Multiaddr>) {
        for address in addresses {
            let result = NetworkRequest::remove_persistent_peer(&self.channels.net_requests, address.clone()).await;
            tracing::info!(%address, ?result, "a peer left or moved");
        }
    }

    /// A rotation has put another of this domain's keys among the validators: the node goes on with that.
    pub(super) fn follow_rotation(&self) -> Result<(), Exit> {
        match self.shared.keys.among(&self.rules) {
            Some(generation) if !self.is_my_key(generation) => Err(Exit::OtherKey(generation)),
            _ => Ok(()),
        }
    }

    pub(super) fn is_my_key(&self, generation: u32) -> bool {
        let key = self.shared.keys.generation(generation);
        key.public_key() == self.shared.settings.key.public_key()
    }

    /// Holds the start of the next height back until there is a reason for it; see [`super::pace`].
    pub(super) async fn on_finalized(
        &mut self,
        certificate: CommitCertificate<LedgerContext>,
        evidence: MisbehaviorEvidence<LedgerContext>,
        reply: Reply<Next<LedgerContext>>,
    ) -> Result<(), Exit> {
        if certificate.height.0 != self.tip.height {
            tracing::error!(height = %certificate.height, tip = self.tip.height, "the engine finalized another height");
            return Err(Exit::EngineDied);
        }
        self.report_conflicts(certificate.height, &evidence).await?;
        let behind = self.synced == Some(certificate.height) || self.is_behind();
        let mut pace = Pace::new(Instant::now(), self.heartbeat(), behind);
        if self.peer_ahead == Some(self.next_height()) {
            pace.peer_started();
        }
        self.held = Some(Held { reply, pace });
        Ok(())
    }

    /// Tells validators that contradicted themselves, unless it is this one: then it halts.
    async fn report_conflicts(
        &mut self,
        height: Height,
        evidence: &MisbehaviorEvidence<LedgerContext>,
    ) -> Result<(), Exit> {
        for (signer, conflict) in Conflict::in_evidence(evidence) {
            if signer == self.me {
                if self.signed.counts(conflict.height()) {
                    return Err(Exit::Twin(TWIN.into()));
                }
                continue;
            }
            tracing::warn!(validator = %signer, %height, "a validator signed two different things for one height and round");
            if let Some(validator) = self.account_behind(&signer) {
                let case = conflict.case(validator, now_ms() / 1000);
                self.record(case).await?;
            }
            self.publish(Part::Conflict(conflict)).await?;
        }
        Ok(())
    }

    /// Records what a validator did, before anybody is told.
    pub(super) async fn record(&self, case: Evidence) -> Result<(), Halt> {
        let book = self.shared.evidence.clone();
        let recorded = blocking(&self.shared.application, move |_| book.record(case)).await?;
        // The chain goes on with or without a record of who misbehaved.
        if let Err(error) = recorded {
            tracing::error!(%error, "misbehaviour of a validator could not be written down");
        }
        Ok(())
    }

    /// Answers a node that was away, off the loop.
    pub(super) fn on_get_decided(
        &self,
        range: RangeInclusive<Height>,
        reply: Reply<Vec<RawDecidedValue<LedgerContext>>>,
    ) {
        let application = self.shared.application.clone();
        tokio::task::spawn_blocking(move || {
            let (mut values, mut room) = (Vec::new(), MAX_SENT_BLOCK);
            for height in (range.start().0..=range.end().0).take(SERVED) {
                let decided = match application.decided(height) {
                    Ok(Some(decided)) => decided,
                    Ok(None) => break,
                    Err(halt) => {
                        tracing::error!(height, %halt, "could not read a decided block");
                        break;
                    }
                };
                let Ok(certificate) = certificate::decode(&decided.certificate) else {
                    tracing::error!(height, "the certificate of a decided block is not readable");
                    break;
                };
                room = room.saturating_sub(decided.block.len());
                if room == 0 && !values.is_empty() {
                    break;
                }
                values.push(RawDecidedValue::new(decided.block.0, certificate));
            }
            let _ = reply.send(values);
        });
    }

    /// Checks a block that a quorum has decided, as another node sent it.
    pub(super) async fn on_synced(
        &mut self,
        height: Height,
        round: Round,
        proposer: ValidatorAddress,
        block: Bytes,
    ) -> Result<SyncedValueOutcome<LedgerContext>, Exit> {
        if height != self.next_height() {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        if block.is_empty() || block.len() > MAX_SENT_BLOCK {
            return Ok(SyncedValueOutcome::PeerFault);
        }
        // The block may have been built in an earlier round than that of the certificate, by that round's proposer.
        let mut accounts = Vec::new();
        for earlier in (0..=round.as_u32().unwrap_or(0)).rev().take(self.set.as_slice().len()) {
            accounts.push(
                LedgerContext
                    .select_proposer(&self.set, height, Round::new(earlier))
                    .account(),
            );
        }
        let bytes = block.clone();
        let checked = blocking(&self.shared.application, move |app| {
            let id = app.block_id(&bytes)?;
            let mut verdict = Ok(());
            for account in accounts {
                verdict = app.validate(account, &bytes, ANY_TIME);
                if verdict.is_ok() {
                    break;
                }
            }
            Ok::<_, InvalidBlock>((id, verdict))
        })
        .await?;
        let (id, verdict) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                tracing::error!(%height, %error, "what another node sent is no block");
                return Ok(SyncedValueOutcome::PeerFault);
            }
        };
        let value = Value::new(id, block.clone());
        let value_id = value.block_id();
        let proposed = proposed(height, round, proposer, value, Validity::Valid);
        match verdict {
            Ok(()) => {
                self.synced = Some(height);
                self.blocks.insert(&proposed);
            }
            Err(Refused::Here(error)) => {
                tracing::error!(%height, error, "can't take a block fetched from another node");
                return Ok(SyncedValueOutcome::LocalTransientError);
            }
            // Either the sender lies or this node's own state is wrong. The engine has verified a certificate and compares
            // the ids: a block that is not the decided one is held against its sender; the decided one goes to the ledger,
            // which halts if it can't agree. Until then it is not among the blocks that this node would vote for.
            Err(Refused::Invalid(error)) => {
                tracing::error!(%height, %error, "a block fetched from another node is wrong, or this node's state is");
                self.disputed = Some((value_id, block));
            }
        }
        Ok(SyncedValueOutcome::Verdict(proposed))
    }
}
