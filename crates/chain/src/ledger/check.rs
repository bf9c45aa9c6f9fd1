//! Checking a proposed or decided block against its parent.

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy::primitives::Address;

use super::claims;
use crate::application::InvalidBlock;
use crate::execution::block::{BlockExecution, ExecutedBlock, Inclusion};
use crate::execution::decode::DecodedBlock;
use crate::execution::senders;
use crate::execution::spec::ChainRules;
use crate::mempool::{self, Mempool};
use crate::store::{Snapshot, StoreError};

/// How far ahead of this node's clock a block's time may be.
pub const MAX_AHEAD_SECONDS: u64 = 10;

/// Why a block is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The block is wrong.
    #[error(transparent)]
    Invalid(#[from] InvalidBlock),
    /// This node is.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn invalid(reason: impl Into<String>) -> CheckError {
    CheckError::Invalid(InvalidBlock(reason.into()))
}

/// Checks that a block follows `parent` in number, hash and time.
pub fn follows(block: &DecodedBlock, parent: &Snapshot) -> Result<(), CheckError> {
    let (header, height) = (&block.header, parent.height() + 1);
    if header.number != height {
        return Err(invalid(format!("height {}, wanted {height}", header.number)));
    }
    if header.parent_hash != parent.hash() {
        return Err(invalid(format!(
            "parent {}, wanted {}",
            header.parent_hash,
            parent.hash()
        )));
    }
    if header.timestamp < parent.header().timestamp {
        return Err(invalid(format!(
            "time {} is before the parent's {}",
            header.timestamp,
            parent.header().timestamp
        )));
    }
    Ok(())
}

/// Checks who proposed a block, which only matters before a decision.
pub fn proposed_by(block: &DecodedBlock, proposer: Address) -> Result<(), CheckError> {
    let named = block.header.beneficiary;
    if named != proposer {
        return Err(invalid(format!("beneficiary {named}, but {proposer} proposed it")));
    }
    Ok(())
}

/// Judges the time of a block by this node's clock, before a decision. The other way round it may be this clock that is
/// wrong, so what this says is no fault of the block.
pub fn timely(block: &DecodedBlock, parent: &Snapshot, now_ms: u64) -> Result<(), String> {
    let time = block.header.timestamp;
    let ahead = time.saturating_sub(now_ms / 1000);
    // A block that is as old as its parent could not be younger, whatever the clocks say.
    if ahead > MAX_AHEAD_SECONDS && time != parent.header().timestamp {
        return Err(format!("time {time} is {ahead} s ahead of this node's clock"));
    }
    Ok(())
}

/// Executes a block that [`follows`] its parent, and compares all that it claims. `members` are those of the parent's state:
/// of nobody else a transaction may be in it, but for one withdrawal of what that state owes him.
pub fn execute(
    rules: ChainRules,
    parent: &Arc<Snapshot>,
    members: &[Address],
    mempool: &Mempool,
    block: &DecodedBlock,
) -> Result<ExecutedBlock, CheckError> {
    for (index, transaction) in block.body.transactions.iter().enumerate() {
        mempool::check(&rules, transaction).map_err(|error| invalid(format!("transaction {index}: {error}")))?;
    }
    let known = |hash: &_| mempool.get(hash).map(|pooled| pooled.transaction.signer());
    let transactions = senders::recover(&block.body.transactions, known)
        .map_err(|index| invalid(format!("transaction {index}: the signature is not valid")))?;

    let header = &block.header;
    let mut execution = BlockExecution::start(rules, parent.clone(), members, header.timestamp, header.beneficiary)?;
    let mut claimed = BTreeSet::new();
    for (index, transaction) in transactions.into_iter().enumerate() {
        let sender = transaction.signer();
        if !members.contains(&sender) {
            let claims = claims::is_claim(&transaction) && claims::is_owed(rules, parent, sender)?;
            if !claims || !claimed.insert(sender) {
                return Err(invalid(format!("transaction {index}: {sender} is not a member")));
            }
        }
        match execution.add(transaction)? {
            Inclusion::Included => {}
            Inclusion::NoRoom => {
                return Err(invalid(format!(
                    "transaction {index}: more gas than the block has left"
                )));
            }
            Inclusion::Invalid(reason) => return Err(invalid(format!("transaction {index}: {reason}"))),
        }
    }
    let executed = execution.finish()?;
    compare(block, &executed)?;
    Ok(executed)
}

/// Equal hashes mean equal headers; if they differ, the first field that does is named.
fn compare(block: &DecodedBlock, executed: &ExecutedBlock) -> Result<(), CheckError> {
    if block.hash == executed.hash {
        return Ok(());
    }
    let (claimed, found) = (&block.header, &executed.header);
    let differs = |field: &str, claimed: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Err(invalid(format!("{field} {claimed}, execution gives {found}")))
    };
    if claimed.state_root != found.state_root {
        return differs("state root", &claimed.state_root, &found.state_root);
    }
    if claimed.receipts_root != found.receipts_root {
        return differs("receipts root", &claimed.receipts_root, &found.receipts_root);
    }
    if claimed.gas_used != found.gas_used {
        return differs("gas used", &claimed.gas_used, &found.gas_used);
    }
    if claimed.gas_limit != found.gas_limit {
        return differs("gas limit", &claimed.gas_limit, &found.gas_limit);
    }
    Err(invalid(format!(
        "a header field that is fixed has another value; claimed {claimed:?}, execution gives {found:?}"
    )))
}
