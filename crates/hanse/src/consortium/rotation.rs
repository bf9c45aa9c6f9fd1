//! The validator key of this domain is replaced while its node runs.
//!
//! The next generation is written down before the transaction is sent: should the node miss the block that brings it, its
//! peers will know it under the new key only, and it has to try that.

use std::time::Duration;

use alloy::primitives::B256;
use hanse_ledger::IConsortium;
use hanse_orchestrator::api::Problem;

use super::kept;
use super::pages::ChangePage;
use super::service::{Change, Consortium, changed, failed, of_ledger};

/// How long the node may take to be back under its new key.
const BACK_WITHIN: Duration = Duration::from_secs(60);

impl Consortium {
    /// Puts the next generation of the validator key in the place of the present one, and waits until the node validates
    /// with it.
    pub(super) async fn rotate_key(&self) -> Result<ChangePage, Problem> {
        let _one_at_a_time = self.rotating.lock().await;
        let node = self.node()?;
        let me = self.ledger.member(self.ledger.account()).await.map_err(of_ledger)?;
        let present = self.keys.validator.number_of(&me.info.validatorKey.0).ok_or_else(|| {
            Problem::conflict("the consortium knows this domain under a validator key that does not come from its seed")
        })?;
        let next = present + 1;
        let key = B256::from(self.keys.validator.generation(next).public_key());
        let path = self.settings.data_dir.join(kept::ROTATION);
        kept::write(&path, &next).map_err(|error| failed(&error))?;
        node.wishes.send_modify(|wishes| wishes.offered_key = Some(next));
        let rotated = self.change(Change::RotateKey(key)).await;
        let receipt = match rotated {
            Ok(receipt) => receipt,
            Err(problem) => {
                // It was refused, or may yet come; `look` clears what was written down when it is known to have come.
                if problem.r#type.ends_with("/refused") {
                    kept::remove(&path).map_err(|error| failed(&error))?;
                    node.wishes.send_modify(|wishes| wishes.offered_key = None);
                }
                return Err(problem);
            }
        };
        let mut status = node.status.clone();
        let back =
            status.wait_for(|status| status.is_validator && status.height > receipt.block && status.has_quorum());
        let done = match tokio::time::timeout(BACK_WITHIN, back).await {
            Ok(Ok(_)) => {
                format!("generation {next} of the validator key is in use, generation {present} is not valid any more")
            }
            _ => format!(
                "generation {next} of the validator key is valid since block {}, but the node has not decided a block with it \
                 within {} s; see `hanse status`",
                receipt.block,
                BACK_WITHIN.as_secs()
            ),
        };
        Ok(changed(done, receipt, Some(key)))
    }

    /// Forgets a rotation that has come into effect.
    pub(super) fn end_rotation(&self, members: &[IConsortium::Member]) -> Result<(), Problem> {
        let Some(node) = &self.node else { return Ok(()) };
        let Some(offered) = node.wishes.borrow().offered_key else {
            return Ok(());
        };
        let key = self.keys.validator.generation(offered).public_key();
        if members.iter().any(|member| member.info.validatorKey == key) {
            kept::remove(&self.settings.data_dir.join(kept::ROTATION)).map_err(|error| failed(&error))?;
            node.wishes.send_modify(|wishes| wishes.offered_key = None);
        }
        Ok(())
    }
}
