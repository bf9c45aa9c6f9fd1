//! What the Consortium contract says about the next height.

use std::sync::Arc;

use alloy::primitives::Address;
use hanse_contracts::{Consortium, genesis_addresses};

use crate::application::{HeightRules, Validator};
use crate::execution::call::{CallError, view};
use crate::execution::spec::ChainRules;
use crate::genesis::ConsensusParameters;
use crate::store::{Snapshot, StateChanges};

/// Reads members and parameters from the state of a snapshot.
pub fn read(rules: ChainRules, snapshot: &Arc<Snapshot>) -> Result<HeightRules, CallError> {
    let consortium = genesis_addresses().consortium;
    let members = view(rules, snapshot, consortium, &Consortium::membersCall {})?;
    let parameters = view(rules, snapshot, consortium, &Consortium::consensusParametersCall {})?;
    let validators = members
        .into_iter()
        .map(|member| Validator {
            account: member.info.account,
            key: member.info.validatorKey.0,
            consensus_address: member.info.consensusAddress,
        })
        .collect();
    Ok(HeightRules {
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

/// Whether a block may have changed what [`read`] gives.
pub fn may_change(changes: &StateChanges) -> bool {
    let consortium = genesis_addresses().consortium;
    changes.storage.iter().any(|(address, _, _)| *address == consortium)
}

/// The members' accounts.
pub fn accounts(rules: &HeightRules) -> Vec<Address> {
    rules.validators.iter().map(|validator| validator.account).collect()
}
