//! What can be said of a transaction without looking at the state.

use alloy::consensus::{Transaction, TxEnvelope, Typed2718};
use alloy::eips::eip2718::Decodable2718;
use revm::context_interface::cfg::gas::calculate_initial_tx_gas;
use revm::primitives::eip3860::MAX_INITCODE_SIZE;

use super::rejection::Rejection;
use crate::execution::spec::{ChainRules, SPEC};

/// Bytes of one transaction, as in other Ethereum clients.
pub const MAX_TRANSACTION_BYTES: usize = 128 * 1024;

/// Decodes a transaction and checks it against the rules that hold for every block of this ledger.
pub fn decode(rules: &ChainRules, raw: &[u8]) -> Result<TxEnvelope, Rejection> {
    if raw.len() > MAX_TRANSACTION_BYTES {
        return Err(Rejection::TooLarge {
            size: raw.len(),
            limit: MAX_TRANSACTION_BYTES,
        });
    }
    let transaction = TxEnvelope::decode_2718_exact(raw).map_err(|error| Rejection::Malformed(error.to_string()))?;
    check(rules, &transaction)?;
    Ok(transaction)
}

/// The rules for transactions of any block.
pub fn check(rules: &ChainRules, transaction: &TxEnvelope) -> Result<(), Rejection> {
    if transaction.ty() > 2 {
        return Err(Rejection::UnsupportedType(transaction.ty()));
    }
    if transaction.chain_id() != Some(rules.chain_id) {
        return Err(Rejection::WrongChain {
            have: transaction.chain_id(),
            want: rules.chain_id,
        });
    }
    if transaction.max_priority_fee_per_gas() > Some(transaction.max_fee_per_gas()) {
        return Err(Rejection::TipAboveFeeCap);
    }
    if transaction.gas_limit() > rules.gas_limit {
        return Err(Rejection::GasAboveBlock {
            have: transaction.gas_limit(),
            limit: rules.gas_limit,
        });
    }
    if transaction.is_create() && transaction.input().len() > MAX_INITCODE_SIZE {
        return Err(Rejection::InitCode {
            have: transaction.input().len(),
            limit: MAX_INITCODE_SIZE,
        });
    }
    let want = intrinsic_gas(transaction);
    if transaction.gas_limit() < want {
        return Err(Rejection::IntrinsicGas {
            have: transaction.gas_limit(),
            want,
        });
    }
    Ok(())
}

fn intrinsic_gas(transaction: &TxEnvelope) -> u64 {
    let access = transaction.access_list();
    let (accounts, slots) = access.map_or((0, 0), |list| (list.len(), list.storage_keys_count()));
    calculate_initial_tx_gas(
        SPEC,
        transaction.input(),
        transaction.is_create(),
        accounts as u64,
        slots as u64,
        0,
        None,
    )
    .initial_total_gas()
}
