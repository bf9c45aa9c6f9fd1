//! What the consortium's routes answer.

use alloy::primitives::{Address, B256};
use hanse_chain::genesis::Genesis;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::invite::Invite;

/// What a newcomer needs to follow the ledger.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapPage {
    /// The genesis document; its digest must be that of the invite.
    #[schema(value_type = Object)]
    pub genesis: Genesis,
    /// Consensus addresses of members, with their peer ids.
    pub peers: Vec<String>,
}

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestPage {
    /// `waiting` for a member's vote, `proposed`, or `member`.
    pub state: String,
    /// Approvals of the proposal, if there is one.
    pub approvals: usize,
    /// How many it needs.
    pub needed: usize,
    /// Whether the newcomer's node has caught up with the ledger; members that vote by themselves wait a while for it.
    pub caught_up: bool,
}

/// Who is in the consortium, and who may come or go.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsortiumPage {
    /// The members in the contract's order.
    pub members: Vec<MemberLine>,
    /// Open proposals.
    pub proposals: Vec<ProposalPage>,
    /// Requests that wait at this domain.
    pub requests: Vec<RequestLine>,
    /// How many members may be faulty without harm.
    pub tolerated: usize,
    /// Whether this domain votes for admissions by itself.
    pub automatic: bool,
}

/// A member.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberLine {
    pub name: String,
    #[schema(value_type = String)]
    pub account: Address,
    #[schema(value_type = String)]
    pub validator_key: B256,
    pub consensus_address: String,
    pub url: String,
    /// Unix seconds; 0 for founding members.
    pub joined_at: u64,
    /// Whether it is this domain.
    pub me: bool,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProposalPage {
    pub id: u64,
    /// `admission`, `removal` or `parameters`.
    pub kind: String,
    /// Name of the domain that is to come or to go.
    pub subject: String,
    /// `open`, `passed` or `withdrawn`.
    pub state: String,
    /// Names of those who approved it.
    pub approvals: Vec<String>,
    /// More than two thirds of the members.
    pub needed: usize,
    /// Unix seconds; no vote counts after it.
    pub deadline: u64,
}

/// A request that waits for a vote.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestLine {
    pub name: String,
    #[schema(value_type = String)]
    pub account: Address,
    pub consensus_address: String,
    pub url: String,
    /// Unix seconds.
    pub since: u64,
    /// Whether it brought an invite of a member.
    pub invited: bool,
    /// Whether its node has caught up with the ledger, as it says itself.
    pub caught_up: bool,
}

/// An invite that was made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InvitePage {
    #[schema(value_type = String)]
    pub invite: Invite,
}

/// A change that is final.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangePage {
    /// What happened, in words.
    pub done: String,
    /// The transaction.
    #[schema(value_type = String)]
    pub tx: B256,
    /// Its block.
    pub block: u64,
    /// The validator key from the next height on, if that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub validator_key: Option<B256>,
}

/// What an account that is no member any more is owed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimPage {
    /// Wei, decimal.
    pub owed: String,
    /// Nonce of the account's next transaction.
    pub nonce: u64,
    pub chain_id: u64,
    /// Address of the Federation contract.
    #[schema(value_type = String)]
    pub federation: Address,
}
