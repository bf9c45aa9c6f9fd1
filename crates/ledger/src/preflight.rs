//! Asks the contracts before a nonce is spent.

use alloy::primitives::{Address, Bytes, U64, U256};
use alloy::rpc::types::TransactionRequest;

use crate::endpoint::RequestError;
use crate::error::LedgerError;
use crate::intent::Call;
use crate::refusal::Refusal;
use crate::rpc::Rpc;
use crate::submission::{Verdict, judge};

/// Gas for any of the contracts' functions where a node cannot estimate.
const ENOUGH: u64 = 3_000_000;

fn request(from: Address, call: &Call) -> TransactionRequest {
    TransactionRequest::default()
        .from(from)
        .to(call.to)
        .value(call.value)
        .input(alloy::rpc::types::TransactionInput::new(call.data.clone()))
}

/// The gas limit for a call that would succeed now: half as much again as it would need, because the state may have
/// changed by the time it is included.
///
/// # Errors
/// `Refused` with the contract's reason; `Rejected` if the account cannot send it; `Unreachable`.
pub(crate) async fn preflight(rpc: &Rpc, from: Address, call: &Call) -> Result<u64, LedgerError> {
    let estimate = rpc
        .try_request::<_, U256>("eth_estimateGas", (request(from, call),))
        .await;
    match estimate {
        Ok(gas) => {
            let gas: u64 = gas.saturating_to();
            Ok(gas.saturating_add(gas / 2).saturating_add(30_000))
        }
        Err((_, RequestError::Answer { revert: Some(data), .. })) if !data.is_empty() => {
            Err(Refusal::decode(&data).into())
        }
        // Some nodes cannot estimate, some do so without the reason: the plain call tells.
        Err((_, RequestError::Answer { message, .. })) => match dry_run(rpc, from, call, "latest").await? {
            DryRun::Succeeds => Ok(ENOUGH),
            DryRun::Refused(refusal) => Err(refusal.into()),
            DryRun::Fails(_) => Err(LedgerError::Rejected {
                reason: match judge(&message) {
                    Verdict::Never(reason) | Verdict::Later(reason) => reason,
                    _ => message,
                },
            }),
        },
        Err((_, RequestError::Link(detail))) => Err(LedgerError::Unreachable { detail }),
        Err((url, error)) => Err(error.into_ledger("eth_estimateGas", &url)),
    }
}

/// What a call would do at a block.
pub(crate) enum DryRun {
    Succeeds,
    Refused(Refusal),
    Fails(String),
}

async fn dry_run(
    rpc: &Rpc,
    from: Address,
    call: &Call,
    block: impl serde::Serialize + Clone + std::fmt::Debug + Send + Sync + Unpin + 'static,
) -> Result<DryRun, LedgerError> {
    match rpc
        .try_request::<_, Bytes>("eth_call", (request(from, call), block))
        .await
    {
        Ok(_) => Ok(DryRun::Succeeds),
        Err((_, RequestError::Answer { revert: Some(data), .. })) if !data.is_empty() => {
            Ok(DryRun::Refused(Refusal::decode(&data)))
        }
        Err((_, RequestError::Answer { message, .. })) => Ok(DryRun::Fails(message)),
        Err((_, RequestError::Link(detail))) => Err(LedgerError::Unreachable { detail }),
        Err((url, error)) => Err(error.into_ledger("eth_call", &url)),
    }
}

/// Why a call was undone in a block: repeated on the state before that block, and on the state after it, since what
/// came first in the block may be the reason.
pub(crate) async fn why_undone(rpc: &Rpc, from: Address, call: &Call, block: u64) -> Result<Refusal, String> {
    let mut reason = "a repetition of the call succeeds; too little gas?".to_owned();
    for number in [block.saturating_sub(1), block] {
        match dry_run(rpc, from, call, U64::from(number)).await {
            Ok(DryRun::Refused(refusal)) => return Ok(refusal),
            Ok(DryRun::Succeeds) => {}
            Ok(DryRun::Fails(message)) => reason = message,
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}
