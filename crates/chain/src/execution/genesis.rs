//! Block 0: the balances of the genesis document, and both contracts as their constructors leave them.

use alloy::consensus::constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS, EMPTY_WITHDRAWALS};
use alloy::consensus::{BlockBody, EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, TxEnvelope};
use alloy::primitives::{B256, TxKind};
use alloy::sol_types::SolInterface;
use alloy_evm::{Evm, EvmFactory};
use hanse_contracts::{Consortium, GENESIS_DEPLOYER, genesis_deployments};
use revm::context::TxEnv;
use revm::context::result::ExecutionResult;
use revm::database::State;
use revm::database::states::bundle_state::BundleRetention;
use revm::database_interface::DatabaseCommitExt;

use super::roots;
use super::spec::ChainRules;
use crate::genesis::{Genesis, GenesisError};
use crate::store::{BlockWrite, StateChanges};

/// Block 0 and the state it leaves.
#[derive(Debug, Clone)]
pub struct GenesisBlock {
    /// Its header.
    pub header: Header,
    /// Its hash; two ledgers with equal hash are one.
    pub hash: B256,
    changes: StateChanges,
    body: BlockBody<TxEnvelope>,
}

impl Genesis {
    /// Hash of block 0. Runs the contracts' constructors.
    pub fn hash(&self) -> Result<B256, GenesisError> {
        Ok(GenesisBlock::build(self)?.hash)
    }
}

impl GenesisBlock {
    /// Validates the document and computes block 0.
    pub fn build(genesis: &Genesis) -> Result<Self, GenesisError> {
        genesis.validate()?;
        let mut header = Header {
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            transactions_root: EMPTY_TRANSACTIONS,
            receipts_root: EMPTY_RECEIPTS,
            gas_limit: genesis.gas_limit,
            timestamp: genesis.timestamp,
            extra_data: genesis.digest().into(),
            base_fee_per_gas: Some(0),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Default::default()
        };
        let changes = run_constructors(genesis, &mut header)?;
        let hash = header.hash_slow();
        let body = BlockBody {
            withdrawals: Some(Default::default()),
            ..Default::default()
        };
        Ok(Self {
            header,
            hash,
            changes,
            body,
        })
    }

    /// What the store writes.
    pub fn write(&self) -> BlockWrite<'_> {
        BlockWrite {
            header: &self.header,
            hash: self.hash,
            body: &self.body,
            senders: &[],
            receipts: &[],
            certificate: None,
            changes: &self.changes,
        }
    }
}

/// Builds the state of block 0 in memory and sets the header's state root.
fn run_constructors(genesis: &Genesis, header: &mut Header) -> Result<StateChanges, GenesisError> {
    let refused = |contract: &'static str, reason: String| GenesisError::Constructor { contract, reason };
    let mut state = State::builder().with_bundle_update().build();
    let balances = genesis.balances.iter().filter(|(_, balance)| !balance.is_zero());
    state
        .increment_balances(balances.map(|(account, balance)| (*account, balance.saturating_to())))
        .map_err(|error| refused("Consortium", error.to_string()))?;

    let environment = ChainRules::from(genesis).environment(header);
    let mut evm = alloy_evm::EthEvmFactory::default().create_evm(state, environment);
    let founders = genesis.members.iter().map(Into::into).collect();
    let deployments = genesis_deployments(founders, (&genesis.consensus_parameters).into());
    for ((nonce, contract), deployment) in (0..).zip(["Consortium", "Federation"]).zip(deployments) {
        let creation = TxEnv {
            caller: GENESIS_DEPLOYER,
            kind: TxKind::Create,
            data: deployment.init_code,
            gas_limit: genesis.gas_limit,
            nonce,
            chain_id: Some(genesis.chain_id),
            ..Default::default()
        };
        let result = evm
            .transact_commit(creation)
            .map_err(|error| refused(contract, error.to_string()))?;
        match result {
            ExecutionResult::Success { .. } => {}
            ExecutionResult::Revert { output, .. } => {
                let reason = Consortium::ConsortiumErrors::abi_decode(&output);
                let reason = reason.map_or_else(|_| output.to_string(), |error| format!("{error:?}"));
                return Err(refused(contract, reason));
            }
            ExecutionResult::Halt { reason, .. } => return Err(refused(contract, format!("{reason:?}"))),
        }
    }

    let mut state = evm.into_db();
    state.merge_transitions(BundleRetention::PlainState);
    let (root, changes) = roots::apply(None, EMPTY_ROOT_HASH, state.take_bundle())
        .map_err(|error| refused("Consortium", error.to_string()))?;
    header.state_root = root;
    Ok(changes)
}
