//! Calls and committed transactions, watched while they run.

use std::sync::Arc;

use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Header, TxEnvelope};
use alloy_evm::{EthEvmFactory, Evm, EvmFactory};
use revm::Inspector;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, ResultAndState};
use revm::database::State;
use revm::database_interface::WrapDatabaseRef;

use super::call::{CallError, failed};
use super::spec::ChainRules;
use crate::store::{Snapshot, StoredBlock};

type Database = WrapDatabaseRef<Arc<Snapshot>>;

/// What an inspector of a call sees.
pub type CallContext = <EthEvmFactory as EvmFactory>::Context<Database>;

/// What an inspector of a committed transaction sees.
pub type ReplayContext = <EthEvmFactory as EvmFactory>::Context<State<Database>>;

/// [`super::call::call`], watched.
pub fn call(
    rules: ChainRules,
    snapshot: &Arc<Snapshot>,
    header: &Header,
    call: TxEnv,
    inspector: &mut impl Inspector<CallContext>,
) -> Result<ExecutionResult, CallError> {
    let mut environment = rules.environment(header);
    environment.cfg_env.disable_nonce_check = true;
    let database = WrapDatabaseRef(snapshot.clone());
    let mut evm = EthEvmFactory::default().create_evm_with_inspector(database, environment, inspector);
    evm.transact(call).map(|outcome| outcome.result).map_err(failed)
}

/// Executes a transaction of a committed block again, after those before it, on the state that the block's parent left. It
/// alone is watched. `index` must be that of one of the block's transactions.
pub fn replay(
    rules: ChainRules,
    parent: &Arc<Snapshot>,
    block: &StoredBlock,
    index: usize,
    inspector: &mut impl Inspector<ReplayContext>,
) -> Result<ResultAndState, CallError> {
    let state = State::builder().with_database_ref(parent.clone()).build();
    let environment = rules.environment(&block.header);
    let mut evm = EthEvmFactory::default().create_evm_with_inspector(state, environment, inspector);
    // What comes before a block's transactions changes nothing here: the contract of EIP-4788 is not deployed.
    evm.disable_inspector();
    for before in 0..index {
        evm.transact_commit(recovered(block, before)).map_err(failed)?;
    }
    evm.enable_inspector();
    evm.transact(recovered(block, index)).map_err(failed)
}

fn recovered(block: &StoredBlock, index: usize) -> Recovered<TxEnvelope> {
    Recovered::new_unchecked(block.body.transactions[index].clone(), block.senders[index])
}
