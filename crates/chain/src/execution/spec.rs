//! The rules of Ethereum that this ledger runs under: Cancun from block 0, for which the contracts are compiled.
//!
//! Prague and later would ask for system contracts (deposits, withdrawal requests) that mean nothing without a beacon chain.

use alloy::consensus::Header;
use alloy::primitives::{Address, B256, U256, keccak256};
use alloy_evm::EvmEnv;
use alloy_evm::eth::spec::EthExecutorSpec;
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use revm::context::{BlockEnv, CfgEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::primitives::hardfork::SpecId;

use crate::genesis::Genesis;

/// Rules of every block.
pub const SPEC: SpecId = SpecId::CANCUN;

/// Tells the block executor of alloy-evm which forks are active.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forks;

impl EthereumHardforks for Forks {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        match fork {
            EthereumHardfork::Dao => ForkCondition::Never,
            fork if fork <= EthereumHardfork::Paris => ForkCondition::Block(0),
            EthereumHardfork::Shanghai | EthereumHardfork::Cancun => ForkCondition::Timestamp(0),
            _ => ForkCondition::Never,
        }
    }
}

impl EthExecutorSpec for Forks {
    fn deposit_contract_address(&self) -> Option<Address> {
        None
    }
}

/// What is the same for all blocks of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainRules {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Gas limit of each block.
    pub gas_limit: u64,
}

impl From<&Genesis> for ChainRules {
    fn from(genesis: &Genesis) -> Self {
        Self {
            chain_id: genesis.chain_id,
            gas_limit: genesis.gas_limit,
        }
    }
}

impl ChainRules {
    /// The environment in which a block with this header executes. Of the header only number, time, beneficiary, gas limit
    /// and `mixHash` matter.
    pub fn environment(&self, header: &Header) -> EvmEnv {
        let block = BlockEnv {
            number: U256::from(header.number),
            beneficiary: header.beneficiary,
            timestamp: U256::from(header.timestamp),
            gas_limit: header.gas_limit,
            basefee: 0,
            difficulty: U256::ZERO,
            prevrandao: Some(header.mix_hash),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice {
                excess_blob_gas: 0,
                blob_gasprice: 1,
            }),
            slot_num: 0,
        };
        EvmEnv::new(CfgEnv::new_with_spec(SPEC).with_chain_id(self.chain_id), block)
    }
}

/// `PREVRANDAO` of the child of a block. There is no randomness beacon: the value is the same on all nodes, and whoever
/// proposes the parent can choose it. Contracts must not draw lots with it.
pub fn mix_hash(parent: B256) -> B256 {
    keccak256(parent)
}
