//! What the ledger's routes answer.

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the ledger stands, as this agent sees it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusPage {
    /// The JSON-RPC endpoint in use.
    pub url: String,
    pub chain_id: u64,
    /// The newest block.
    pub block: BlockLine,
    /// In the contract's order. On the embedded ledger they are the validators.
    pub members: Vec<MemberName>,
    /// How many members may be faulty without harm to the embedded ledger.
    pub tolerated: usize,
    /// The agent's own node; absent where the ledger runs elsewhere.
    pub node: Option<NodePage>,
}

/// A member.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberName {
    pub name: String,
    #[schema(value_type = String)]
    pub account: Address,
    /// Whether it is this domain.
    pub me: bool,
}

/// The embedded node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePage {
    /// Whether it is one of the validators of the next height.
    pub validates: bool,
    /// Validators that it can talk to, itself included if it is one.
    pub connected: usize,
    /// How many of them have to be connected for a block to be decided.
    pub quorum: usize,
    /// Whether blocks can be decided, as far as this node sees.
    pub has_quorum: bool,
    /// Waiting transactions, those behind a nonce gap included.
    pub mempool: usize,
    /// Why it does not vote at present although it is a member, if so.
    pub abstains: Option<String>,
    /// How often the consensus engine had to be restarted.
    pub engine_restarts: u32,
    /// Why the node takes no further part, if so.
    pub halted: Option<String>,
}

/// A block.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockLine {
    pub height: u64,
    #[schema(value_type = String)]
    pub hash: B256,
    #[schema(value_type = String)]
    pub state_root: B256,
    /// Unix seconds.
    pub time: u64,
    /// Who proposed it; on other chains whoever gets the fees.
    #[schema(value_type = String)]
    pub proposer: Address,
    /// The proposer's name, if it is a member.
    pub proposer_name: Option<String>,
    pub transactions: usize,
    pub gas_used: u64,
}

/// A transaction.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionPage {
    #[schema(value_type = String)]
    pub hash: B256,
    /// `waiting`, `succeeded` or `reverted`.
    pub outcome: String,
    /// Height of its block, unless it waits.
    pub block: Option<u64>,
    #[schema(value_type = String)]
    pub from: Address,
    /// The sender's name, if it is a member.
    pub from_name: Option<String>,
    /// None where it creates a contract.
    #[schema(value_type = Option<String>)]
    pub to: Option<Address>,
    pub nonce: u64,
    pub gas_used: Option<u64>,
    /// What it asked of one of our contracts.
    pub command: Option<Decoded>,
    /// What our contracts emitted; of others, address and first topic.
    pub events: Vec<Decoded>,
    /// Why it was reverted. Absent where the node can't execute it any more: state is kept for the newest blocks only.
    pub revert: Option<Reason>,
}

/// Something of a contract, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decoded {
    /// `Federation`, `Consortium`, or an address.
    pub contract: String,
    pub name: String,
    /// Fields with their values, for people to read.
    pub fields: String,
}

/// Why a contract refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// Name of the contract's error; empty if it is none of ours.
    pub name: String,
    /// What it means, and what to do.
    pub message: String,
}
