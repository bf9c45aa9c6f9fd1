//! Calls that read the state and change nothing.

use std::sync::Arc;

use alloy::consensus::Header;
use alloy::primitives::{Address, Bytes, TxKind};
use alloy::sol_types::SolCall;
use alloy_evm::{EthEvmFactory, Evm, EvmFactory};
use revm::context::TxEnv;
use revm::context::result::{EVMError, ExecutionResult};
use revm::database_interface::WrapDatabaseRef;

use super::spec::ChainRules;
use crate::store::{Snapshot, StoreError};

/// Why a call gives no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The call can't even start: funds, intrinsic gas, nonce.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Executes a call on the state of `snapshot`, in the environment of `header`, and forgets what it did.
pub fn call(
    rules: ChainRules,
    snapshot: &Arc<Snapshot>,
    header: &Header,
    call: TxEnv,
) -> Result<ExecutionResult, CallError> {
    let database = WrapDatabaseRef(snapshot.clone());
    let mut environment = rules.environment(header);
    environment.cfg_env.disable_nonce_check = true;
    let mut evm = EthEvmFactory::default().create_evm(database, environment);
    evm.transact(call).map(|outcome| outcome.result).map_err(failed)
}

/// Tells the store's errors from those of the call.
pub(super) fn failed<E: std::error::Error>(error: EVMError<E>) -> CallError {
    match error {
        EVMError::Database(error) => StoreError::Io(error.to_string()).into(),
        error => CallError::Invalid(error.to_string()),
    }
}

/// Calls a view function of a contract that must answer.
pub fn view<C: SolCall>(
    rules: ChainRules,
    snapshot: &Arc<Snapshot>,
    contract: Address,
    function: &C,
) -> Result<C::Return, CallError> {
    let environment = TxEnv {
        kind: TxKind::Call(contract),
        data: function.abi_encode().into(),
        gas_limit: rules.gas_limit,
        chain_id: None,
        ..Default::default()
    };
    let result = call(rules, snapshot, snapshot.header(), environment)?;
    let refused = |reason: String| CallError::Invalid(format!("{} of {contract}: {reason}", C::SIGNATURE));
    match result {
        ExecutionResult::Success { output, .. } => {
            let output: Bytes = output.into_data();
            C::abi_decode_returns(&output).map_err(|error| refused(error.to_string()))
        }
        ExecutionResult::Revert { output, .. } => Err(refused(format!("reverted with {output}"))),
        ExecutionResult::Halt { reason, .. } => Err(refused(format!("halted: {reason:?}"))),
    }
}
