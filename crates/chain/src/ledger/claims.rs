//! Who is no member any more may do one thing: withdraw what the Federation contract owes it.
//!
//! Everything else is for members only. This is bounded by the contract: a withdrawal that succeeds leaves nothing to
//! withdraw, and only members can bring about that something is owed. It can't be made to fail and to be repeated, since it has
//! gas enough, pays nothing and does nothing else.

use std::sync::Arc;

use alloy::consensus::{Transaction, TxEnvelope};
use alloy::primitives::{Address, TxKind, U256};
use alloy::sol_types::SolCall;
use hanse_contracts::{Federation, genesis_addresses};

use crate::execution::call::{CallError, view};
use crate::execution::spec::ChainRules;
use crate::store::{Snapshot, StoreError};

/// The gas that a withdrawal of somebody who is no member must be given: several times what it needs.
pub const CLAIM_GAS: u64 = 300_000;

/// Whether a transaction is a withdrawal and nothing else.
pub fn is_claim(transaction: &TxEnvelope) -> bool {
    transaction.kind() == TxKind::Call(genesis_addresses().federation)
        && transaction.input().as_ref() == Federation::withdrawCall::SELECTOR
        && transaction.value().is_zero()
        && transaction.gas_limit() == CLAIM_GAS
        && transaction.max_fee_per_gas() == 0
        && transaction.access_list().is_none_or(|list| list.is_empty())
}

/// Whether something is owed to an account in the state of `snapshot`.
pub fn is_owed(rules: ChainRules, snapshot: &Arc<Snapshot>, account: Address) -> Result<bool, StoreError> {
    let call = Federation::owedCall { account };
    match view(rules, snapshot, genesis_addresses().federation, &call) {
        Ok(owed) => Ok(owed > U256::ZERO),
        Err(CallError::Store(error)) => Err(error),
        // A contract that does not answer owes nothing.
        Err(CallError::Invalid(_)) => Ok(false),
    }
}
