//! `debug_traceTransaction`: a committed transaction again, on the state its block's parent left.

use alloy::consensus::Transaction as _;
use alloy::primitives::B256;
use alloy::rpc::types::trace::geth::{
    GethDebugBuiltInTracerType, GethDebugTracerType, GethDebugTracingOptions, GethTrace,
};
use revm_inspectors::tracing::{TracingInspector, TracingInspectorConfig};

use super::error::RpcError;
use super::read;
use super::trace_weight::{Recorded, TraceWeight};
use crate::execution::inspect::replay;
use crate::ledger::Ledger;

/// What one trace may take in memory while it is made, in bytes.
const MAX_TRACE_BYTES: usize = 64 * 1024 * 1024;

/// Traces a transaction with Geth's `callTracer`, or with its struct logger if no tracer is named.
pub fn transaction(ledger: &Ledger, hash: B256, options: GethDebugTracingOptions) -> Result<GethTrace, RpcError> {
    let by_calls = match &options.tracer {
        None => false,
        Some(GethDebugTracerType::BuiltInTracer(GethDebugBuiltInTracerType::CallTracer)) => true,
        Some(other) if other.as_str().is_empty() => false,
        Some(other) => {
            return Err(RpcError::InvalidParams(format!(
                "tracer {} is not supported; use callTracer, or name none for the struct logger",
                other.as_str()
            )));
        }
    };
    let head = ledger.head();
    let not_found = || RpcError::NotFound(format!("transaction {hash}"));
    let (height, index) = head.snapshot().transaction_position(hash)?.ok_or_else(not_found)?;
    let block = head.snapshot().block_at(height)?.ok_or_else(not_found)?;
    let (rules, index) = (ledger.chain_rules(), index as usize);
    let parent = read::state_at(ledger, height.saturating_sub(1))?.snapshot;

    // Weighed first, because tracers keep all they see.
    let recorded = if by_calls {
        Recorded::Calls
    } else {
        Recorded::Steps(options.config)
    };
    let mut weight = TraceWeight::new(recorded);
    replay(rules, &parent, &block, index, &mut weight)?;
    if weight.bytes() > MAX_TRACE_BYTES {
        return Err(RpcError::Limit(format!(
            "the trace would take {} MiB, the limit is {} MiB; leave out memory, stack and storage, or use callTracer",
            weight.bytes() >> 20,
            MAX_TRACE_BYTES >> 20
        )));
    }

    let call_config = options
        .tracer_config
        .into_call_config()
        .map_err(|error| RpcError::InvalidParams(format!("tracerConfig: {error}")))?;
    let recording = if by_calls {
        TracingInspectorConfig::from_geth_call_config(&call_config)
    } else {
        TracingInspectorConfig::from_geth_config(&options.config)
    };
    let mut inspector = TracingInspector::new(recording);
    let result = replay(rules, &parent, &block, index, &mut inspector)?.result;
    inspector.set_transaction_gas_limit(block.body.transactions[index].gas_limit());
    inspector.set_transaction_caller(block.senders[index]);
    let builder = inspector.geth_builder();
    Ok(if by_calls {
        builder
            .geth_call_traces_with_result_gas(call_config, *result.gas())
            .into()
    } else {
        let output = result.output().cloned().unwrap_or_default();
        builder
            .geth_traces_with_result_gas(*result.gas(), output, options.config)
            .into()
    })
}
