//! The validator key of this domain is replaced while its node runs.
//!
//! The next generation is written down before the transaction is sent: should the node miss the block that brings it, its
//! peers will know it under the new key only, and it has to try that. What was written stays until somebody has been told how
//! it ended, so that the command can be repeated: the rotation that was interrupted is gone on with, and there is no other.

use std::time::Duration;

use alloy::primitives::B256;
use hanse_ledger::{IConsortium, IntentKey, LedgerError};
use hanse_orchestrator::api::Problem;
use serde::{Deserialize, Serialize};

use super::kept;
use super::pages::ChangePage;
use super::service::{Change, Consortium, changed, failed, now, of_ledger};

/// How long the node may take to be back under its new key.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// A rotation that came into effect without anybody being told is the answer to whoever asks for one within this many seconds:
/// the contract's interval between two, in which it would refuse another.
const REPEATED_WITHIN_S: u64 = 600;

/// A rotation whose outcome nobody has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rotation {
    /// Number of the key that it brings.
    pub(super) generation: u32,
    /// Unix seconds.
    asked_at: u64,
}

impl Rotation {
    /// What whoever asks for a rotation at `now` (Unix seconds) is to get. Pure.
    ///
    /// `kept`: the rotation whose outcome nobody was told; `present`: the generation that the contract names.
    fn wanted(kept: Option<Self>, present: u32, now: u64) -> Self {
        match kept {
            Some(kept) if kept.generation == present && now < kept.asked_at.saturating_add(REPEATED_WITHIN_S) => kept,
            _ => Self {
                generation: present + 1,
                asked_at: now,
            },
        }
    }
}

impl Consortium {
    /// Puts the next generation of the validator key in the place of the present one, and waits until the node validates
    /// with it. Repeated after an interruption it goes on with the same rotation, or tells that it is done.
    pub(super) async fn rotate_key(&self) -> Result<ChangePage, Problem> {
        let _one_at_a_time = self.rotating.lock().await;
        let node = self.node()?;
        let me = self.ledger.member(self.ledger.account()).await.map_err(of_ledger)?;
        let present = self.keys.validator.number_of(&me.info.validatorKey.0).ok_or_else(|| {
            Problem::conflict("the consortium knows this domain under a validator key that does not come from its seed")
        })?;
        let path = self.settings.data_dir.join(kept::ROTATION);
        let kept = kept::read(&path).map_err(|error| failed(&error))?;
        let rotation = Rotation::wanted(kept, present, now());
        let next = rotation.generation;
        let key = B256::from(self.keys.validator.generation(next).public_key());
        // One name for one rotation: the ledger's client knows whether it was sent already, and what came of it.
        let intent = IntentKey::new(format!("consortium/rotate-key/{key}")).map_err(of_ledger)?;
        kept::write(&path, &rotation).map_err(|error| failed(&error))?;
        node.wishes.send_modify(|wishes| wishes.offered_key = Some(next));
        let receipt = match self.change_once(&intent, Change::RotateKey(key)).await {
            Ok(receipt) => receipt,
            Err(error) => {
                // Refused, it will not come any more; otherwise it may.
                if let LedgerError::Refused(_) = error {
                    kept::remove(&path).map_err(|error| failed(&error))?;
                    node.wishes.send_modify(|wishes| wishes.offered_key = None);
                }
                return Err(of_ledger(error));
            }
        };
        let mut status = node.status.clone();
        let back =
            status.wait_for(|status| status.is_validator && status.height > receipt.block && status.has_quorum());
        let done = match tokio::time::timeout(BACK_WITHIN, back).await {
            Ok(Ok(_)) => format!(
                "generation {next} of the validator key is in use, generation {} is not valid any more",
                next.saturating_sub(1)
            ),
            _ => format!(
                "generation {next} of the validator key is valid since block {}, but the node has not decided a block with it \
                 within {} s; see `hanse status`",
                receipt.block,
                BACK_WITHIN.as_secs()
            ),
        };
        kept::remove(&path).map_err(|error| failed(&error))?;
        node.wishes.send_modify(|wishes| wishes.offered_key = None);
        Ok(changed(done, receipt, Some(key)))
    }

    /// A key that the contract names needs no other to be tried beside it.
    pub(super) fn end_offer(&self, members: &[IConsortium::Member]) {
        let Some(node) = &self.node else { return };
        let Some(offered) = node.wishes.borrow().offered_key else {
            return;
        };
        let key = self.keys.validator.generation(offered).public_key();
        if members.iter().any(|member| member.info.validatorKey == key) {
            node.wishes.send_modify(|wishes| wishes.offered_key = None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_repeats_an_interrupted_rotation_gets_that_one_and_no_other() {
        let asked_at = 1_000;
        let kept = Some(Rotation {
            generation: 4,
            asked_at,
        });
        let wanted = |kept, present, now| Rotation::wanted(kept, present, now).generation;
        assert_eq!(wanted(None, 3, asked_at), 4);
        // Not in effect yet, however long ago it was asked for; and in effect.
        assert_eq!(wanted(kept, 3, asked_at + 1), 4);
        assert_eq!(wanted(kept, 3, asked_at + 10 * REPEATED_WITHIN_S), 4);
        assert_eq!(wanted(kept, 4, asked_at + REPEATED_WITHIN_S - 1), 4);
        // Long ago, or overtaken: this is another rotation.
        assert_eq!(wanted(kept, 4, asked_at + REPEATED_WITHIN_S), 5);
        assert_eq!(wanted(kept, 7, asked_at + 1), 8);
    }
}
