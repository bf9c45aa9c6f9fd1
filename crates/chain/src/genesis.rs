//! What all nodes of a ledger start from.
//!
//! Every node of a ledger reads the same `genesis.json`. Block 0 is computed from it: the balances, and the two contracts
//! as their constructors leave them. Its `extraData` is the Keccak-256 of the canonical document, so that any difference in
//! the document makes another block 0 and therefore another ledger.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use alloy::primitives::{Address, B256, U256, keccak256};
use hanse_contracts::IConsortium;
use serde::{Deserialize, Serialize};

/// Members a ledger can start with. Consensus messages grow with the square of it.
pub const MAX_GENESIS_MEMBERS: usize = 64;

/// Gas that fits into one block unless the genesis document says otherwise: some 400 announcements.
pub const DEFAULT_GAS_LIMIT: u64 = 200_000_000;

/// Least and most gas a block may be given; less can't hold a deployment, more takes seconds to execute.
const GAS_LIMITS: std::ops::RangeInclusive<u64> = 10_000_000..=2_000_000_000;

/// Timeouts of consensus, in milliseconds. Kept in the Consortium contract; each round adds its delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsensusParameters {
    /// How long to wait for a proposal.
    pub propose_ms: u32,
    /// Added to `propose_ms` for each further round.
    pub propose_delta_ms: u32,
    /// How long to wait for the remaining votes once there are enough for a decision.
    pub vote_ms: u32,
    /// Added to `vote_ms` for each further round.
    pub vote_delta_ms: u32,
    /// An idle chain makes an empty block this often.
    pub heartbeat_ms: u32,
}

/// A founding member, as the Consortium contract keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberInfo {
    /// Ledger account; sends this domain's transactions.
    pub account: Address,
    /// Ed25519 public key that signs consensus messages.
    pub validator_key: B256,
    /// X25519 public key; what is meant for this domain alone is sealed to it.
    pub sealing_key: B256,
    /// Unique, 1 to 64 bytes.
    pub name: String,
    /// Multiaddr on which the domain's node takes consensus connections, e.g. `/ip4/192.0.2.1/tcp/26656`.
    pub consensus_address: String,
    /// libp2p peer id in the swarm; empty until the domain has one.
    #[serde(default)]
    pub peer_id: String,
    /// Base URL of the domain's REST API; empty until it has one.
    #[serde(default)]
    pub url: String,
}

impl From<&ConsensusParameters> for IConsortium::ConsensusParameters {
    fn from(timeouts: &ConsensusParameters) -> Self {
        Self {
            proposeMs: timeouts.propose_ms,
            proposeDeltaMs: timeouts.propose_delta_ms,
            voteMs: timeouts.vote_ms,
            voteDeltaMs: timeouts.vote_delta_ms,
            heartbeatMs: timeouts.heartbeat_ms,
        }
    }
}

impl From<&MemberInfo> for IConsortium::MemberInfo {
    fn from(member: &MemberInfo) -> Self {
        Self {
            account: member.account,
            validatorKey: member.validator_key,
            sealingKey: member.sealing_key,
            name: member.name.clone(),
            consensusAddress: member.consensus_address.clone(),
            peerId: member.peer_id.clone(),
            url: member.url.clone(),
        }
    }
}

/// The genesis document, `genesis.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Genesis {
    /// EIP-155 chain id; signed into each transaction.
    pub chain_id: u64,
    /// Unix time in seconds; no block is older.
    pub timestamp: u64,
    /// Gas limit of each block.
    #[serde(default = "default_gas_limit")]
    pub gas_limit: u64,
    /// The first validators, in the order of the Consortium contract's list.
    pub members: Vec<MemberInfo>,
    /// First timeouts of consensus.
    pub consensus_parameters: ConsensusParameters,
    /// Coins that accounts start with, in wei. Gas is free; coins only matter for escrow.
    #[serde(default)]
    pub balances: BTreeMap<Address, U256>,
}

fn default_gas_limit() -> u64 {
    DEFAULT_GAS_LIMIT
}

/// Why a genesis document can't start a ledger.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The file can't be read or written.
    #[error("the genesis document {path} can't be read or written")]
    File {
        /// Its path.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no genesis document.
    #[error("not a genesis document: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field's value is impossible.
    #[error("genesis field {field}: {reason}")]
    Field {
        /// JSON path of the field.
        field: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A contract's constructor refused the values.
    #[error("the {contract} contract refused the genesis values: {reason}")]
    Constructor {
        /// Name of the contract.
        contract: &'static str,
        /// The decoded revert reason.
        reason: String,
    },
}

fn field(field: impl Into<String>, reason: impl Into<String>) -> GenesisError {
    GenesisError::Field {
        field: field.into(),
        reason: reason.into(),
    }
}

impl Genesis {
    /// Reads and validates a `genesis.json`.
    pub fn load(path: &Path) -> Result<Self, GenesisError> {
        let text = std::fs::read(path).map_err(|source| GenesisError::File {
            path: path.display().to_string(),
            source,
        })?;
        let genesis: Self = serde_json::from_slice(&text)?;
        genesis.validate()?;
        Ok(genesis)
    }

    /// Checks what can be checked without running the contracts.
    pub fn validate(&self) -> Result<(), GenesisError> {
        if self.chain_id == 0 {
            return Err(field("chainId", "must not be 0"));
        }
        if !GAS_LIMITS.contains(&self.gas_limit) {
            let (least, most) = (GAS_LIMITS.start(), GAS_LIMITS.end());
            return Err(field("gasLimit", format!("must be from {least} to {most}")));
        }
        if self.members.is_empty() || self.members.len() > MAX_GENESIS_MEMBERS {
            return Err(field(
                "members",
                format!("must list from 1 to {MAX_GENESIS_MEMBERS} members"),
            ));
        }
        let (mut accounts, mut keys, mut names) = (HashSet::new(), HashSet::new(), HashSet::new());
        for (index, member) in self.members.iter().enumerate() {
            let at = |name: &str| format!("members[{index}].{name}");
            if member.account.is_zero() || !accounts.insert(member.account) {
                return Err(field(at("account"), "must be unique and not zero"));
            }
            if member.validator_key.is_zero() || !keys.insert(member.validator_key) {
                return Err(field(at("validatorKey"), "must be unique and not zero"));
            }
            if member.name.is_empty() || member.name.len() > 64 || !names.insert(&member.name) {
                return Err(field(at("name"), "must be unique and have 1 to 64 bytes"));
            }
            if !member.consensus_address.starts_with('/') {
                return Err(field(
                    at("consensusAddress"),
                    "must be a multiaddr, e.g. /ip4/192.0.2.1/tcp/26656",
                ));
            }
        }
        let parameters = &self.consensus_parameters;
        if parameters.propose_ms == 0 || parameters.vote_ms == 0 || parameters.heartbeat_ms == 0 {
            return Err(field(
                "consensusParameters",
                "proposeMs, voteMs and heartbeatMs must not be 0",
            ));
        }
        // Coins only move between accounts, so no balance can overflow if their sum does not.
        let sum = self.balances.values().try_fold(0_u128, |sum, balance| {
            u128::try_from(*balance)
                .ok()
                .and_then(|balance| sum.checked_add(balance))
        });
        if sum.is_none() {
            return Err(field("balances", "their sum must be less than 2^128 wei"));
        }
        Ok(())
    }

    /// Keccak-256 of the canonical document (the JSON that serde writes without spaces); `extraData` of block 0.
    pub fn digest(&self) -> B256 {
        let text = serde_json::to_vec(self).expect("a genesis document has string keys only, so it can be written");
        keccak256(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn genesis() -> Genesis {
        serde_json::from_str(
            r#"{
              "chainId": 4711, "timestamp": 1700000000,
              "members": [{
                "account": "0x00000000000000000000000000000000000000aa",
                "validatorKey": "0x1111111111111111111111111111111111111111111111111111111111111111",
                "sealingKey": "0x2222222222222222222222222222222222222222222222222222222222222222",
                "name": "a", "consensusAddress": "/ip4/127.0.0.1/tcp/1"
              }],
              "consensusParameters": {"proposeMs": 400, "proposeDeltaMs": 300, "voteMs": 200, "voteDeltaMs": 150, "heartbeatMs": 5000},
              "balances": {"0x00000000000000000000000000000000000000aa": "0xde0b6b3a7640000"}
            }"#,
        )
        .unwrap()
    }

    #[test]
    fn a_document_survives_writing_and_reading() {
        let first = genesis();
        first.validate().unwrap();
        let second: Genesis = serde_json::from_str(&serde_json::to_string_pretty(&first).unwrap()).unwrap();
        assert_eq!(first, second);
        assert_eq!(first.digest(), second.digest());
        assert_eq!(first.gas_limit, DEFAULT_GAS_LIMIT);
    }

    #[test]
    fn any_change_is_another_ledger() {
        let mut changed = genesis();
        changed.consensus_parameters.heartbeat_ms += 1;
        assert_ne!(genesis().digest(), changed.digest());
    }

    #[test]
    fn impossible_values_are_named() {
        let refused = |change: fn(&mut Genesis), name: &str| {
            let mut genesis = genesis();
            change(&mut genesis);
            let error = genesis.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error} should name {name}");
        };
        refused(|g| g.chain_id = 0, "chainId");
        refused(|g| g.gas_limit = 1, "gasLimit");
        refused(|g| g.members.clear(), "members");
        refused(|g| g.members.push(g.members[0].clone()), "members[1].account");
        refused(|g| g.members[0].name.clear(), "members[0].name");
        refused(
            |g| g.members[0].consensus_address = "host:1".into(),
            "members[0].consensusAddress",
        );
        refused(|g| g.consensus_parameters.vote_ms = 0, "consensusParameters");
        refused(|g| g.balances = [(Address::ZERO, U256::MAX)].into(), "balances");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let mut value = serde_json::to_value(genesis()).unwrap();
        value["chanId"] = 1.into();
        assert!(serde_json::from_value::<Genesis>(value).is_err());
    }
}
