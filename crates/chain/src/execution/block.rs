//! Executing one block: the same steps whether it is being built, checked or caught up with.

use std::sync::Arc;

use alloy::consensus::constants::EMPTY_WITHDRAWALS;
use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Block, BlockBody, EMPTY_OMMER_ROOT_HASH, Header, ReceiptEnvelope, TxEnvelope};
use alloy::primitives::{Address, B256, Bloom, Bytes};
use alloy_evm::block::{BlockExecutionError, BlockExecutor, BlockValidationError};
use alloy_evm::eth::receipt_builder::AlloyReceiptBuilder;
use alloy_evm::eth::{EthBlockExecutionCtx, EthBlockExecutor};
use alloy_evm::precompiles::PrecompilesMap;
use alloy_evm::{EthEvm, EthEvmFactory, Evm, EvmFactory};
use revm::database::State;
use revm::database::states::bundle_state::BundleRetention;
use revm::database_interface::WrapDatabaseRef;
use revm::inspector::NoOpInspector;

use super::roots;
use super::spec::{ChainRules, Forks, mix_hash};
use crate::store::{BlockPlace, BlockWrite, FoundLog, Snapshot, StateChanges, StoreError, logs_of};
use crate::turns::Standings;

type BlockState = State<WrapDatabaseRef<Arc<Snapshot>>>;
type BlockEvm = EthEvm<BlockState, NoOpInspector, PrecompilesMap>;

/// A block on top of a parent, transaction by transaction.
pub struct BlockExecution {
    parent: Arc<Snapshot>,
    draft: Header,
    executor: EthBlockExecutor<'static, BlockEvm, Forks, AlloyReceiptBuilder>,
    included: Vec<Recovered<TxEnvelope>>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inclusion {
    /// It is in the block; whether it reverted is in its receipt.
    Included,
    /// Its gas limit is more than the block has left.
    NoRoom,
    /// It can't be in this block: nonce, funds, intrinsic gas.
    Invalid(String),
}

/// A block with all that executing it brought.
#[derive(Debug)]
pub struct ExecutedBlock {
    /// Its header, complete.
    pub header: Header,
    /// Keccak-256 of the header.
    pub hash: B256,
    /// Its transactions.
    pub body: BlockBody<TxEnvelope>,
    /// One for each transaction.
    pub senders: Vec<Address>,
    /// One for each transaction.
    pub receipts: Vec<ReceiptEnvelope>,
    /// What it does to the state.
    pub changes: StateChanges,
}

impl BlockExecution {
    /// Starts the block after `parent`'s, where `members` are the members of the consortium in the parent's state.
    pub fn start(
        rules: ChainRules,
        parent: Arc<Snapshot>,
        members: &[Address],
        timestamp: u64,
        beneficiary: Address,
    ) -> Result<Self, StoreError> {
        let (height, before) = (parent.height() + 1, parent.header().timestamp);
        let standings =
            Standings::after_block(parent.header()).map_err(|error| StoreError::damaged(error.to_string()))?;
        let standings = standings.after_turn(members, height, before, beneficiary, timestamp);
        let draft = Header {
            extra_data: standings.extra_data(),
            parent_hash: parent.hash(),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary,
            number: height,
            gas_limit: rules.gas_limit,
            timestamp,
            mix_hash: mix_hash(parent.hash()),
            base_fee_per_gas: Some(0),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Default::default()
        };
        let state = State::builder()
            .with_database_ref(parent.clone())
            .with_bundle_update()
            .build();
        let evm = EthEvmFactory::default().create_evm(state, rules.environment(&draft));
        let context = EthBlockExecutionCtx {
            parent_hash: draft.parent_hash,
            parent_beacon_block_root: draft.parent_beacon_block_root,
            ommers: &[],
            withdrawals: None,
            extra_data: Bytes::new(),
            tx_count_hint: None,
            slot_number: None,
        };
        let mut executor = EthBlockExecutor::new(evm, context, Forks, AlloyReceiptBuilder::default());
        executor.apply_pre_execution_changes().map_err(internal)?;
        Ok(Self {
            parent,
            draft,
            executor,
            included: Vec::new(),
        })
    }

    /// Executes one more transaction. The error is the store's; what is wrong with the transaction is in [`Inclusion`].
    pub fn add(&mut self, transaction: Recovered<TxEnvelope>) -> Result<Inclusion, StoreError> {
        match self.executor.execute_transaction(&transaction) {
            Ok(_) => {
                self.included.push(transaction);
                Ok(Inclusion::Included)
            }
            Err(BlockExecutionError::Validation(
                BlockValidationError::TransactionGasLimitMoreThanAvailableBlockGas { .. },
            )) => Ok(Inclusion::NoRoom),
            Err(BlockExecutionError::Validation(BlockValidationError::InvalidTx { error, .. })) => {
                Ok(Inclusion::Invalid(error.to_string()))
            }
            Err(error) => Err(internal(error)),
        }
    }

    /// Whether no transaction is in the block yet.
    pub fn is_empty(&self) -> bool {
        self.included.is_empty()
    }

    /// Gas left in the block.
    pub fn gas_left(&self) -> u64 {
        self.draft.gas_limit - self.executor.cumulative_tx_gas_used
    }

    /// Computes the roots.
    pub fn finish(self) -> Result<ExecutedBlock, StoreError> {
        let (evm, result) = self.executor.finish().map_err(internal)?;
        let mut state = evm.into_db();
        state.merge_transitions(BundleRetention::PlainState);
        let (state_root, changes) =
            roots::apply(Some(&self.parent), self.parent.header().state_root, state.take_bundle())?;

        let mut senders = Vec::with_capacity(self.included.len());
        let mut transactions = Vec::with_capacity(self.included.len());
        for transaction in self.included {
            let (transaction, sender) = transaction.into_parts();
            transactions.push(transaction);
            senders.push(sender);
        }
        let logs_bloom = result
            .receipts
            .iter()
            .fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
        let header = Header {
            state_root,
            transactions_root: calculate_transaction_root(&transactions),
            receipts_root: calculate_receipt_root(&result.receipts),
            logs_bloom,
            gas_used: result.gas_used,
            ..self.draft
        };
        Ok(ExecutedBlock {
            hash: header.hash_slow(),
            header,
            body: BlockBody {
                transactions,
                ommers: Vec::new(),
                withdrawals: Some(Default::default()),
            },
            senders,
            receipts: result.receipts,
            changes,
        })
    }
}

/// What is left of execution's errors can only be the store's.
fn internal(error: BlockExecutionError) -> StoreError {
    StoreError::Io(format!("execution failed: {error}"))
}

impl ExecutedBlock {
    /// All logs of the block, with their places.
    pub fn logs(&self) -> Vec<FoundLog> {
        let place = BlockPlace {
            height: self.header.number,
            hash: self.hash,
            timestamp: self.header.timestamp,
        };
        logs_of(place, &self.body.transactions, &self.receipts).collect()
    }

    /// The block as it is proposed and passed on: RLP of header, transactions, no ommers, no withdrawals.
    pub fn encode(&self) -> Bytes {
        Block::rlp_encoded_from_parts(&self.header, &self.body).into()
    }

    /// What the store writes.
    pub fn write<'a>(&'a self, certificate: &'a [u8]) -> BlockWrite<'a> {
        BlockWrite {
            header: &self.header,
            hash: self.hash,
            body: &self.body,
            senders: &self.senders,
            receipts: &self.receipts,
            certificate: Some(certificate),
            changes: &self.changes,
        }
    }
}
