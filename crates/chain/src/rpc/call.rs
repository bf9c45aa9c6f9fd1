//! `eth_call` and `eth_estimateGas`.

use alloy::consensus::Header;
use alloy::primitives::{Bytes, TxKind, U256};
use alloy::rpc::types::TransactionRequest;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, HaltReason};

use super::error::RpcError;
use super::read::StateAt;
use crate::execution::call::call;
use crate::execution::spec::{ChainRules, mix_hash};

/// The search may end this close to the least gas (1/64); finding it exactly takes several more runs.
const ESTIMATE_SLACK: u64 = 64;

/// What an estimate has on top of the least gas (1/4), unless a plain transfer is estimated. Gas is free, and others'
/// transactions may change what the call does before it is in a block.
const ESTIMATE_MARGIN: u64 = 4;

/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;

/// The next block's environment if it were made now: what a transaction that is being prepared will see.
pub fn next_header(state: &StateAt, now_seconds: u64) -> Header {
    let parent = &state.header;
    Header {
        number: parent.number + 1,
        timestamp: parent.timestamp.max(now_seconds),
        mix_hash: mix_hash(state.hash),
        ..parent.clone()
    }
}

/// Runs a request on a state, in the environment of `header`.
pub fn run(
    rules: ChainRules,
    state: &StateAt,
    header: &Header,
    request: &TransactionRequest,
) -> Result<Bytes, RpcError> {
    let environment = environment(rules, state, request)?;
    output(call(rules, &state.snapshot, header, environment)?)
}

/// What a call returned, or why it failed.
pub fn output(result: ExecutionResult) -> Result<Bytes, RpcError> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(RpcError::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(halted(&reason)),
    }
}

/// The gas that a request needs, with a margin: what it used, more if calls inside need some in reserve, found by
/// halving.
pub fn estimate(
    rules: ChainRules,
    state: &StateAt,
    header: &Header,
    request: &TransactionRequest,
) -> Result<u64, RpcError> {
    let environment = environment(rules, state, request)?;
    let most = environment.gas_limit;
    let mut enough = most;
    let with_gas = |gas_limit: u64| {
        let environment = TxEnv {
            gas_limit,
            ..environment.clone()
        };
        call(rules, &state.snapshot, header, environment)
    };
    let gas = match with_gas(enough)? {
        ExecutionResult::Success { gas, .. } => gas,
        ExecutionResult::Revert { output, .. } => return Err(RpcError::Reverted(output)),
        ExecutionResult::Halt {
            reason: HaltReason::OutOfGas(_),
            ..
        } => return Err(RpcError::Failed(format!("gas required exceeds allowance ({enough})"))),
        ExecutionResult::Halt { reason, .. } => return Err(halted(&reason)),
    };
    if gas.total_gas_spent() == TRANSFER_GAS {
        return Ok(TRANSFER_GAS);
    }
    let mut too_little = gas.tx_gas_used().saturating_sub(1);
    // Most need what they spent before refunds, and the 1/64 that a call keeps back (EIP-150).
    let mut next = (gas.total_gas_spent() + 2300) * 64 / 63;
    while too_little + 1 < enough && (enough - too_little) > enough / ESTIMATE_SLACK {
        let tried = next.clamp(too_little + 1, enough - 1);
        // Too little gas may show as an error before the call starts, as a halt, or as a revert.
        if with_gas(tried).is_ok_and(|result| result.is_success()) {
            enough = tried;
        } else {
            too_little = tried;
        }
        next = (too_little / 2 + enough / 2).min(too_little.saturating_mul(2));
    }
    Ok((enough + enough / ESTIMATE_MARGIN).min(most))
}

fn halted(reason: &HaltReason) -> RpcError {
    RpcError::Failed(match reason {
        HaltReason::OutOfGas(_) => "out of gas".into(),
        other => format!("execution halted: {other:?}"),
    })
}

/// The transaction that a request describes; what it leaves out is what makes it run.
pub fn environment(rules: ChainRules, state: &StateAt, request: &TransactionRequest) -> Result<TxEnv, RpcError> {
    let refuse = |reason: &str| Err(RpcError::InvalidParams(reason.into()));
    if request.blob_versioned_hashes.is_some() || request.max_fee_per_blob_gas.is_some() {
        return refuse("this ledger has no blobs");
    }
    if request.authorization_list.is_some() {
        return refuse("this ledger has no EIP-7702 authorizations");
    }
    let chain_id = request.chain_id.unwrap_or(rules.chain_id);
    if chain_id != rules.chain_id {
        return Err(RpcError::InvalidParams(format!(
            "chainId {chain_id} is not this ledger's {}",
            rules.chain_id
        )));
    }
    if let (Some(input), Some(data)) = (&request.input.input, &request.input.data)
        && input != data
    {
        return refuse("input and data differ; give one of them");
    }
    let caller = request.from.unwrap_or_default();
    let value = request.value.unwrap_or_default();
    let price = request.gas_price.or(request.max_fee_per_gas).unwrap_or_default();
    let mut gas_limit = request.gas.unwrap_or(u64::MAX).min(rules.gas_limit);
    if price > 0 {
        let account = state.snapshot.account(caller)?.unwrap_or_default();
        let affordable = account.balance.saturating_sub(value) / U256::from(price);
        gas_limit = gas_limit.min(affordable.saturating_to());
    }
    Ok(TxEnv {
        caller,
        gas_limit,
        gas_price: price,
        kind: request.to.unwrap_or(TxKind::Create),
        value,
        data: request.input.input().cloned().unwrap_or_default(),
        nonce: request.nonce.unwrap_or_default(),
        chain_id: None,
        access_list: request.access_list.clone().unwrap_or_default(),
        gas_priority_fee: request.max_priority_fee_per_gas.filter(|_| request.gas_price.is_none()),
        ..Default::default()
    })
}
