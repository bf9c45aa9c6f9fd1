//! What the Consortium contract says about the next height.

use std::sync::Arc;

use alloy::consensus::Header;
use alloy::primitives::Address;
use hanse_contracts::{Consortium, genesis_addresses};

use crate::application::{HeightRules, Validator};
use crate::execution::call::{CallError, view};
use crate::execution::spec::ChainRules;
use crate::genesis::ConsensusParameters;
use crate::store::{Snapshot, StateChanges, StoreError};
use crate::turns::Standings;

/// Reads members and parameters from the state of a snapshot.
pub fn read(rules: ChainRules, snapshot: &Arc<Snapshot>) -> Result<HeightRules, CallError> {
    let consortium = genesis_addresses().consortium;
    let members = view(rules, snapshot, consortium, &Consortium::membersCall {})?;
    let parameters = view(rules, snapshot, consortium, &Consortium::consensusParametersCall {})?;
    let validators: Vec<Validator> = members
        .into_iter()
        .map(|member| Validator {
            account: member.info.account,
            key: member.info.validatorKey.0,
            consensus_address: member.info.consensusAddress,
        })
        .collect();
    Ok(HeightRules {
        proposers: proposers(snapshot.header(), &accounts_of(&validators))?,
        validators,
        parameters: ConsensusParameters {
            propose_ms: parameters.proposeMs,
            propose_delta_ms: parameters.proposeDeltaMs,
            vote_ms: parameters.voteMs,
            vote_delta_ms: parameters.voteDeltaMs,
            heartbeat_ms: parameters.heartbeatMs,
        },
    })
}

/// Each member's account, and the address of its agent as it was admitted with.
pub fn directory(rules: ChainRules, snapshot: &Arc<Snapshot>) -> Result<Vec<(Address, String)>, CallError> {
    let members = view(
        rules,
        snapshot,
        genesis_addresses().consortium,
        &Consortium::membersCall {},
    )?;
    let members = members.into_iter();
    Ok(members.map(|member| (member.info.account, member.info.url)).collect())
}

/// Whether a block may have changed what [`read`] gives.
pub fn may_change(changes: &StateChanges) -> bool {
    let consortium = genesis_addresses().consortium;
    changes.storage.iter().any(|(address, _, _)| *address == consortium)
}

/// The same rules for the height after the block with this header, which changed neither members nor parameters.
pub fn follow(rules: &HeightRules, header: &Header) -> Result<HeightRules, StoreError> {
    Ok(HeightRules {
        proposers: proposers(header, &accounts_of(&rules.validators))?,
        ..rules.clone()
    })
}

fn proposers(header: &Header, members: &[Address]) -> Result<Vec<Address>, StoreError> {
    let standings = Standings::after_block(header).map_err(|error| StoreError::damaged(error.to_string()))?;
    Ok(standings.order(members, header.number + 1, header.timestamp))
}

fn accounts_of(validators: &[Validator]) -> Vec<Address> {
    validators.iter().map(|validator| validator.account).collect()
}

/// The members' accounts.
pub fn accounts(rules: &HeightRules) -> Vec<Address> {
    accounts_of(&rules.validators)
}
