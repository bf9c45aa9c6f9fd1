//! `eth_createAccessList`.

use alloy::consensus::Header;
use alloy::primitives::U256;
use alloy::rpc::types::{AccessListResult, TransactionRequest};
use revm_inspectors::access_list::AccessListInspector;

use super::call;
use super::error::RpcError;
use super::read::StateAt;
use crate::execution::inspect;
use crate::execution::spec::ChainRules;

/// Runs after which a list that still grows is given up: what a call touches may depend on the gas that the list costs.
const MAX_RUNS: usize = 8;

/// Runs the request until its list is that of what it touches.
pub fn create(
    rules: ChainRules,
    state: &StateAt,
    header: &Header,
    request: &TransactionRequest,
) -> Result<AccessListResult, RpcError> {
    let mut environment = call::environment(rules, state, request)?;
    for _ in 0..MAX_RUNS {
        let mut inspector = AccessListInspector::new(environment.access_list.clone());
        let result = inspect::call(rules, &state.snapshot, header, environment.clone(), &mut inspector)?;
        let access_list = inspector.into_access_list();
        if access_list == environment.access_list {
            return Ok(AccessListResult {
                access_list,
                gas_used: U256::from(result.tx_gas_used()),
                error: call::output(result).err().map(|error| error.to_string()),
            });
        }
        environment.access_list = access_list;
    }
    Err(RpcError::Failed(format!(
        "the access list still changes after {MAX_RUNS} runs"
    )))
}
