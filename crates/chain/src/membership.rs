//! Who validates, followed through the events of the Consortium contract instead of by executing blocks.
//!
//! Every change of the validator set is an event, every event is in its block's receipts, and the header binds the receipts and
//! has a bloom filter (Yellow Paper, 4.3.1) that never denies what is there. Whoever trusts a header knows without executing
//! anything whether the block *may* have changed the set, and with the receipts what it changed.

use alloy::consensus::{ReceiptEnvelope, TxReceipt};
use alloy::primitives::{Address, B256, Bloom, BloomInput};
use alloy::sol_types::SolEvent;
use hanse_contracts::{Consortium, genesis_addresses};

/// The validator key of each member, by account; in no order that means anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership(Vec<(Address, B256)>);

/// Why the events of a block make no sense after those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Its data is not what the contract emits.
    #[error("an event of the Consortium contract does not decode: {0}")]
    Form(String),
    /// Somebody leaves who was not there, or comes who was.
    #[error("an event of the Consortium contract contradicts earlier ones: {0}")]
    Contradiction(String),
}

const CHANGES: [B256; 4] = [
    Consortium::MemberAdmitted::SIGNATURE_HASH,
    Consortium::MemberRemoved::SIGNATURE_HASH,
    Consortium::MemberLeft::SIGNATURE_HASH,
    Consortium::ValidatorKeyRotated::SIGNATURE_HASH,
];

/// Whether a block with this bloom filter may have changed the validator set. If not, it has not.
pub fn may_have_changed(bloom: &Bloom) -> bool {
    let contains = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
    contains(genesis_addresses().consortium.as_slice()) && CHANGES.iter().any(|topic| contains(topic.as_slice()))
}

impl Membership {
    /// Who founded the ledger.
    pub fn new(founders: impl IntoIterator<Item = (Address, B256)>) -> Self {
        Self(founders.into_iter().collect())
    }

    /// Members with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Address, B256)> {
        self.0.iter().copied()
    }

    /// Makes the changes that a block's receipts tell of.
    pub fn apply(&mut self, receipts: &[ReceiptEnvelope]) -> Result<(), MembershipError> {
        let consortium = genesis_addresses().consortium;
        let logs = receipts.iter().flat_map(TxReceipt::logs);
        for log in logs.filter(|log| log.address == consortium) {
            let form = |error: alloy::sol_types::Error| MembershipError::Form(error.to_string());
            match log.topics().first() {
                Some(&Consortium::MemberAdmitted::SIGNATURE_HASH) => {
                    let event = Consortium::MemberAdmitted::decode_log_data(&log.data).map_err(form)?;
                    if self.position(event.account).is_some() {
                        return Err(contradiction(event.account, "is admitted twice"));
                    }
                    self.0.push((event.account, event.validatorKey));
                }
                Some(&Consortium::MemberRemoved::SIGNATURE_HASH) => {
                    let event = Consortium::MemberRemoved::decode_log_data(&log.data).map_err(form)?;
                    self.remove(event.account)?;
                }
                Some(&Consortium::MemberLeft::SIGNATURE_HASH) => {
                    let event = Consortium::MemberLeft::decode_log_data(&log.data).map_err(form)?;
                    self.remove(event.account)?;
                }
                Some(&Consortium::ValidatorKeyRotated::SIGNATURE_HASH) => {
                    let event = Consortium::ValidatorKeyRotated::decode_log_data(&log.data).map_err(form)?;
                    let position = self.position(event.account);
                    let position =
                        position.ok_or_else(|| contradiction(event.account, "rotates a key but has none"))?;
                    self.0[position].1 = event.newKey;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn position(&self, account: Address) -> Option<usize> {
        self.0.iter().position(|(member, _)| *member == account)
    }

    fn remove(&mut self, account: Address) -> Result<(), MembershipError> {
        let position = self.position(account);
        self.0
            .remove(position.ok_or_else(|| contradiction(account, "goes but was no member"))?);
        Ok(())
    }
}

fn contradiction(account: Address, what: &str) -> MembershipError {
    MembershipError::Contradiction(format!("{account} {what}"))
}
