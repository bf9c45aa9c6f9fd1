//! Reading blocks, transactions and state: what the methods do once they are on a thread that may block.

use std::sync::Arc;

use alloy::consensus::Header;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256};
use alloy::rpc::types::{
    EIP1186AccountProofResponse, EIP1186StorageProof, FeeHistory, Filter, FilterBlockOption, Transaction,
    TransactionReceipt,
};
use alloy::serde::JsonStorageKey;

use super::convert;
use super::error::RpcError;
use crate::ledger::{Ledger, RECENT_STATES};
use crate::store::{AccountProof, FoundLog, LogQuery, Snapshot, StoreError, StoredBlock};

/// Blocks whose fees one request may ask for, as in other clients.
const MAX_FEE_HISTORY: u64 = 1024;

/// A committed block is final at once: `latest`, `safe`, `finalized` and `pending` are one.
pub fn height(tag: BlockNumberOrTag, newest: u64) -> u64 {
    match tag {
        BlockNumberOrTag::Earliest => 0,
        BlockNumberOrTag::Number(height) => height,
        BlockNumberOrTag::Latest | BlockNumberOrTag::Safe | BlockNumberOrTag::Finalized | BlockNumberOrTag::Pending => {
            newest
        }
    }
}

/// Height of the block that is meant, `None` if there is none.
pub fn height_of(snapshot: &Snapshot, block: BlockId) -> Result<Option<u64>, StoreError> {
    match block {
        BlockId::Hash(hash) => snapshot.height_of(hash.block_hash),
        BlockId::Number(tag) => {
            let height = height(tag, snapshot.height());
            Ok((height <= snapshot.height()).then_some(height))
        }
    }
}

/// The block that is meant.
pub fn block(ledger: &Ledger, block: BlockId) -> Result<Option<StoredBlock>, RpcError> {
    let head = ledger.head();
    match height_of(head.snapshot(), block)? {
        Some(height) => Ok(head.snapshot().block_at(height)?),
        None => Ok(None),
    }
}

/// The state that a block left.
#[derive(Debug, Clone)]
pub struct StateAt {
    /// The block's header.
    pub header: Header,
    /// The block's hash.
    pub hash: B256,
    /// A view with that state: the block's own, or that of a later block that changed nothing.
    pub snapshot: Arc<Snapshot>,
}

/// The state after the block that is meant; the newest if none is named.
pub fn state(ledger: &Ledger, block: Option<BlockId>) -> Result<StateAt, RpcError> {
    let head = ledger.head();
    let block = block.unwrap_or_default();
    let height = height_of(head.snapshot(), block)?.ok_or_else(|| RpcError::NotFound(format!("block {block:?}")))?;
    state_at(ledger, height)
}

/// The state after the block of this height.
pub fn state_at(ledger: &Ledger, height: u64) -> Result<StateAt, RpcError> {
    let head = ledger.head();
    let (header, hash) = head
        .snapshot()
        .header_at(height)?
        .ok_or_else(|| RpcError::NotFound(format!("block {height}")))?;
    let snapshot = ledger.state(header.state_root).ok_or(RpcError::NoState {
        height,
        newest: head.height(),
        kept: RECENT_STATES,
    })?;
    Ok(StateAt { header, hash, snapshot })
}

/// A transaction, committed or waiting.
pub fn transaction(ledger: &Ledger, hash: B256) -> Result<Option<Transaction>, RpcError> {
    // The mempool first: a transaction that is committed in between is then found in the store.
    let pending = ledger.mempool().get(&hash).map(|pooled| convert::pending(&pooled));
    let head = ledger.head();
    let Some((height, index)) = head.snapshot().transaction_position(hash)? else {
        return Ok(pending);
    };
    let block = head.snapshot().block_at(height)?;
    Ok(block.map(|block| convert::transaction(&block, index as usize)))
}

/// What became of a transaction.
pub fn receipt(ledger: &Ledger, hash: B256) -> Result<Option<TransactionReceipt>, RpcError> {
    let head = ledger.head();
    let Some((height, index)) = head.snapshot().transaction_position(hash)? else {
        return Ok(None);
    };
    Ok(receipts(head.snapshot(), height)?.into_iter().nth(index as usize))
}

/// All receipts of a block that exists.
pub fn receipts(snapshot: &Snapshot, height: u64) -> Result<Vec<TransactionReceipt>, RpcError> {
    let block = snapshot
        .block_at(height)?
        .ok_or_else(|| RpcError::NotFound(format!("block {height}")))?;
    Ok(convert::receipts(&block, snapshot.receipts_at(height)?))
}

/// Addresses and topics that one filter may name.
const MAX_FILTER_VALUES: usize = 1024;

/// What logs a filter matches, in any block.
pub fn criteria(filter: &Filter) -> Result<LogQuery, RpcError> {
    let values = filter.address.len() + filter.topics.iter().map(|topic| topic.len()).sum::<usize>();
    if values > MAX_FILTER_VALUES {
        return Err(RpcError::InvalidParams(format!(
            "the filter names {values} addresses and topics, at most {MAX_FILTER_VALUES} are taken; use several filters"
        )));
    }
    Ok(LogQuery {
        addresses: filter.address.iter().copied().collect(),
        topics: std::array::from_fn(|position| filter.topics[position].iter().copied().collect()),
        ..Default::default()
    })
}

/// What a filter asks of the index. Without a range it means the newest block, as in other clients.
pub fn log_query(snapshot: &Snapshot, filter: &Filter) -> Result<LogQuery, RpcError> {
    let newest = snapshot.height();
    let (from, to) = match &filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let height = snapshot
                .height_of(*hash)?
                .ok_or_else(|| RpcError::NotFound(format!("block {hash}")))?;
            (height, height)
        }
        FilterBlockOption::Range { from_block, to_block } => (
            height(from_block.unwrap_or_default(), newest),
            height(to_block.unwrap_or_default(), newest),
        ),
    };
    if from > to {
        return Err(RpcError::InvalidParams(format!(
            "invalid block range: fromBlock {from} is after toBlock {to}"
        )));
    }
    Ok(LogQuery {
        from,
        to,
        ..criteria(filter)?
    })
}

/// The logs that a filter asks for.
pub fn logs(ledger: &Ledger, filter: &Filter) -> Result<Vec<FoundLog>, RpcError> {
    let head = ledger.head();
    Ok(log_query(head.snapshot(), filter)?.run(head.snapshot())?)
}

/// `eth_feeHistory`: base fees are zero; rewards are what transactions offered on top.
pub fn fee_history(
    ledger: &Ledger,
    count: u64,
    newest: BlockNumberOrTag,
    percentiles: Option<&[f64]>,
) -> Result<FeeHistory, RpcError> {
    let percentiles = percentiles.unwrap_or_default();
    let sorted = percentiles.windows(2).all(|pair| pair[0] <= pair[1]);
    if !sorted || percentiles.len() > 100 || percentiles.iter().any(|percentile| !(0.0..=100.0).contains(percentile)) {
        return Err(RpcError::InvalidParams(
            "rewardPercentiles must be at most 100 numbers from 0 to 100, ascending".into(),
        ));
    }
    let head = ledger.head();
    let newest = height(newest, head.height());
    if newest > head.height() {
        return Err(RpcError::NotFound(format!("block {newest}")));
    }
    let oldest = (newest + 1).saturating_sub(count.min(MAX_FEE_HISTORY));
    let mut history = FeeHistory {
        oldest_block: oldest,
        base_fee_per_gas: vec![0; (newest + 2 - oldest) as usize],
        ..Default::default()
    };
    let mut rewards = Vec::new();
    for height in oldest..=newest {
        let missing = || RpcError::NotFound(format!("block {height}"));
        let (header, _) = head.snapshot().header_at(height)?.ok_or_else(missing)?;
        history
            .gas_used_ratio
            .push(header.gas_used as f64 / header.gas_limit as f64);
        if !percentiles.is_empty() {
            rewards.push(block_rewards(head.snapshot(), height, percentiles)?);
        }
    }
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    Ok(history)
}

/// Tips at percentiles of the block's gas.
fn block_rewards(snapshot: &Snapshot, height: u64, percentiles: &[f64]) -> Result<Vec<u128>, RpcError> {
    let receipts = snapshot.receipts_at(height)?;
    let Some(block) = snapshot.block_at(height)?.filter(|_| !receipts.is_empty()) else {
        return Ok(vec![0; percentiles.len()]);
    };
    let mut gas_before = 0;
    let mut tips: Vec<(u128, u64)> = Vec::with_capacity(receipts.len());
    for (transaction, receipt) in block.body.transactions.iter().zip(&receipts) {
        let gas_after = receipt.cumulative_gas_used();
        tips.push((convert::effective_gas_price(transaction), gas_after - gas_before));
        gas_before = gas_after;
    }
    tips.sort_unstable();
    let reward = |percentile: &f64| {
        let wanted = gas_before as f64 * percentile / 100.0;
        let mut gas = 0;
        let reached = tips.iter().find(|(_, used)| {
            gas += used;
            gas as f64 >= wanted
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    Ok(percentiles.iter().map(reward).collect())
}

/// Slots that one request may ask proofs of, as in other clients.
const MAX_PROOF_SLOTS: usize = 1024;

/// `eth_getProof`.
pub fn proof(
    ledger: &Ledger,
    address: Address,
    keys: Vec<JsonStorageKey>,
    block: Option<BlockId>,
) -> Result<EIP1186AccountProofResponse, RpcError> {
    if keys.len() > MAX_PROOF_SLOTS {
        return Err(RpcError::InvalidParams(format!(
            "{} slots are asked for, at most {MAX_PROOF_SLOTS} can be proven at a time",
            keys.len()
        )));
    }
    let slots: Vec<B256> = keys.iter().map(JsonStorageKey::as_b256).collect();
    let proof = AccountProof::of(&state(ledger, block)?.snapshot, address, &slots)?;
    Ok(EIP1186AccountProofResponse {
        address,
        balance: proof.account.balance,
        code_hash: proof.account.code_hash,
        nonce: proof.account.nonce,
        storage_hash: proof.account.storage_root,
        account_proof: proof.nodes,
        storage_proof: keys
            .into_iter()
            .zip(proof.slots)
            .map(|(key, (value, nodes))| EIP1186StorageProof::new(key, value, nodes))
            .collect(),
    })
}
