//! The methods: who may run when, and where. Whatever reads the store or runs the EVM does so on a blocking thread, and only
//! so many at a time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy::rpc::types::pubsub::{Params, SubscriptionKind};
use alloy::rpc::types::state::StateOverride;
use alloy::rpc::types::trace::geth::{GethDebugTracingOptions, GethTrace};
use alloy::rpc::types::{
    AccessListResult, Block, EIP1186AccountProofResponse, FeeHistory, Filter, FilterChanges, Index, Log, SyncInfo,
    SyncStatus, Transaction, TransactionReceipt, TransactionRequest,
};
use alloy::serde::JsonStorageKey;
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait};
use tokio::sync::Semaphore;

use super::api::{DebugServer, EthServer, NodeServer};
use super::error::RpcError;
use super::filters::Filters;
use super::subscription::{Topic, blocks};
use super::{NodeInfo, access_list, call, convert, read, trace};
use crate::application::Application;
use crate::ledger::Ledger;

/// How long a request waits for a thread before it is told that the node is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the methods work on.
#[derive(Debug, Clone)]
pub struct Handlers {
    ledger: Arc<Ledger>,
    info: Arc<NodeInfo>,
    threads: Arc<Semaphore>,
    filters: Arc<Filters>,
}

fn now_seconds() -> u64 {
    // A clock before 1970 makes blocks as old as their parents, which is what the rest does with it too.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

impl Handlers {
    pub(super) fn new(ledger: Arc<Ledger>, info: NodeInfo) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            ledger,
            info: Arc::new(info),
            threads: Arc::new(Semaphore::new(cores * 2)),
            filters: Arc::default(),
        }
    }

    /// Runs a read on a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> Result<T, RpcError> + Send + 'static,
    ) -> RpcResult<T> {
        let permit = tokio::time::timeout(PATIENCE, self.threads.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(RpcError::Limit("the node is busy; try again later".into()).into());
        };
        let ledger = self.ledger.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&ledger);
            drop(permit);
            result
        });
        match done.await {
            Ok(result) => Ok(result?),
            Err(error) => Err(RpcError::Failed(format!("the method failed: {error}")).into()),
        }
    }

    async fn block(&self, block: BlockId, full: Option<bool>) -> RpcResult<Option<Block>> {
        let full = full.unwrap_or_default();
        self.run(move |ledger| Ok(read::block(ledger, block)?.map(|block| convert::block(block, full))))
            .await
    }

    async fn transaction_at(&self, block: BlockId, index: Index) -> RpcResult<Option<Transaction>> {
        self.run(move |ledger| {
            let block = read::block(ledger, block)?.filter(|block| index.0 < block.senders.len());
            Ok(block.map(|block| convert::transaction(&block, index.0)))
        })
        .await
    }

    async fn count(&self, block: BlockId, count: impl FnOnce(usize) -> u64 + Send + 'static) -> RpcResult<Option<U64>> {
        self.run(move |ledger| Ok(read::block(ledger, block)?.map(|block| U64::from(count(block.senders.len())))))
            .await
    }
}

fn no_overrides(overrides: &Option<StateOverride>) -> Result<(), RpcError> {
    match overrides {
        Some(overrides) if !overrides.is_empty() => {
            Err(RpcError::InvalidParams("state overrides are not supported".into()))
        }
        _ => Ok(()),
    }
}

impl NodeServer for Handlers {
    fn client_version(&self) -> RpcResult<String> {
        Ok(self.info.client_version.clone())
    }

    fn sha3(&self, data: Bytes) -> RpcResult<B256> {
        Ok(keccak256(data))
    }

    fn net_version(&self) -> RpcResult<String> {
        Ok(self.ledger.chain_rules().chain_id.to_string())
    }

    fn listening(&self) -> RpcResult<bool> {
        Ok(true)
    }

    fn peer_count(&self) -> RpcResult<U64> {
        Ok(U64::from((self.info.peer_count)()))
    }
}

#[async_trait]
impl EthServer for Handlers {
    fn chain_id(&self) -> RpcResult<U64> {
        Ok(U64::from(self.ledger.chain_rules().chain_id))
    }

    fn syncing(&self) -> RpcResult<SyncStatus> {
        let current = self.ledger.tip().height;
        Ok(match (self.info.highest_block)() {
            Some(highest) if highest > current => SyncStatus::Info(Box::new(SyncInfo {
                starting_block: U256::from(current),
                current_block: U256::from(current),
                highest_block: U256::from(highest),
                ..Default::default()
            })),
            _ => SyncStatus::None,
        })
    }

    fn accounts(&self) -> RpcResult<Vec<Address>> {
        Ok(Vec::new())
    }

    fn block_number(&self) -> RpcResult<U64> {
        Ok(U64::from(self.ledger.tip().height))
    }

    fn gas_price(&self) -> RpcResult<U256> {
        Ok(U256::ZERO)
    }

    fn max_priority_fee_per_gas(&self) -> RpcResult<U256> {
        Ok(U256::ZERO)
    }

    async fn fee_history(
        &self,
        count: U64,
        newest: BlockNumberOrTag,
        percentiles: Option<Vec<f64>>,
    ) -> RpcResult<FeeHistory> {
        self.run(move |ledger| read::fee_history(ledger, count.to(), newest, percentiles.as_deref()))
            .await
    }

    async fn balance(&self, address: Address, block: Option<BlockId>) -> RpcResult<U256> {
        self.run(move |ledger| {
            let account = read::state(ledger, block)?.snapshot.account(address)?;
            Ok(account.unwrap_or_default().balance)
        })
        .await
    }

    async fn transaction_count(&self, address: Address, block: Option<BlockId>) -> RpcResult<U64> {
        self.run(move |ledger| {
            let account = read::state(ledger, block)?.snapshot.account(address)?;
            let nonce = account.unwrap_or_default().nonce;
            let waiting = block
                .is_some_and(|block| block.is_pending())
                .then(|| ledger.mempool().pending_nonce(&address))
                .flatten();
            Ok(U64::from(waiting.map_or(nonce, |waiting| waiting.max(nonce))))
        })
        .await
    }

    async fn code(&self, address: Address, block: Option<BlockId>) -> RpcResult<Bytes> {
        self.run(move |ledger| {
            let snapshot = read::state(ledger, block)?.snapshot;
            let account = snapshot.account(address)?.unwrap_or_default();
            Ok(snapshot.code(account.code_hash)?)
        })
        .await
    }

    async fn storage_at(&self, address: Address, slot: U256, block: Option<BlockId>) -> RpcResult<B256> {
        self.run(move |ledger| {
            let value = read::state(ledger, block)?.snapshot.storage_value(address, slot)?;
            Ok(value.into())
        })
        .await
    }

    async fn call(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<StateOverride>,
    ) -> RpcResult<Bytes> {
        no_overrides(&overrides)?;
        self.run(move |ledger| {
            let state = read::state(ledger, block)?;
            let header = if block.is_some_and(|block| block.is_pending()) {
                call::next_header(&state, now_seconds())
            } else {
                state.header.clone()
            };
            call::run(ledger.chain_rules(), &state, &header, &request)
        })
        .await
    }

    async fn estimate_gas(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<StateOverride>,
    ) -> RpcResult<U64> {
        no_overrides(&overrides)?;
        self.run(move |ledger| {
            let state = read::state(ledger, block)?;
            let header = call::next_header(&state, now_seconds());
            let gas = call::estimate(ledger.chain_rules(), &state, &header, &request)?;
            Ok(U64::from(gas))
        })
        .await
    }

    async fn create_access_list(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
    ) -> RpcResult<AccessListResult> {
        self.run(move |ledger| {
            let state = read::state(ledger, block)?;
            let header = call::next_header(&state, now_seconds());
            access_list::create(ledger.chain_rules(), &state, &header, &request)
        })
        .await
    }

    async fn proof(
        &self,
        address: Address,
        slots: Vec<JsonStorageKey>,
        block: Option<BlockId>,
    ) -> RpcResult<EIP1186AccountProofResponse> {
        self.run(move |ledger| read::proof(ledger, address, slots, block)).await
    }

    async fn send_raw_transaction(&self, raw: Bytes) -> RpcResult<B256> {
        self.run(move |ledger| Ok(ledger.submit(&raw)?)).await
    }

    async fn transaction_by_hash(&self, hash: B256) -> RpcResult<Option<Transaction>> {
        self.run(move |ledger| read::transaction(ledger, hash)).await
    }

    async fn transaction_by_number_and_index(
        &self,
        block: BlockNumberOrTag,
        index: Index,
    ) -> RpcResult<Option<Transaction>> {
        self.transaction_at(block.into(), index).await
    }

    async fn transaction_by_hash_and_index(&self, hash: B256, index: Index) -> RpcResult<Option<Transaction>> {
        self.transaction_at(hash.into(), index).await
    }

    async fn transaction_receipt(&self, hash: B256) -> RpcResult<Option<TransactionReceipt>> {
        self.run(move |ledger| read::receipt(ledger, hash)).await
    }

    async fn block_by_number(&self, block: BlockNumberOrTag, full: Option<bool>) -> RpcResult<Option<Block>> {
        self.block(block.into(), full).await
    }

    async fn block_by_hash(&self, hash: B256, full: Option<bool>) -> RpcResult<Option<Block>> {
        self.block(hash.into(), full).await
    }

    async fn block_transaction_count_by_number(&self, block: BlockNumberOrTag) -> RpcResult<Option<U64>> {
        self.count(block.into(), |transactions| transactions as u64).await
    }

    async fn block_transaction_count_by_hash(&self, hash: B256) -> RpcResult<Option<U64>> {
        self.count(hash.into(), |transactions| transactions as u64).await
    }

    async fn uncle_count_by_number(&self, block: BlockNumberOrTag) -> RpcResult<Option<U64>> {
        self.count(block.into(), |_| 0).await
    }

    async fn uncle_count_by_hash(&self, hash: B256) -> RpcResult<Option<U64>> {
        self.count(hash.into(), |_| 0).await
    }

    async fn block_receipts(&self, block: BlockId) -> RpcResult<Option<Vec<TransactionReceipt>>> {
        self.run(move |ledger| {
            let head = ledger.head();
            match read::height_of(head.snapshot(), block)? {
                Some(height) => Ok(Some(read::receipts(head.snapshot(), height)?)),
                None => Ok(None),
            }
        })
        .await
    }

    async fn logs(&self, filter: Filter) -> RpcResult<Vec<Log>> {
        self.run(move |ledger| Ok(read::logs(ledger, &filter)?.into_iter().map(convert::log).collect()))
            .await
    }

    async fn new_filter(&self, filter: Filter) -> RpcResult<U256> {
        let filters = self.filters.clone();
        self.run(move |ledger| filters.install(ledger, Some(filter))).await
    }

    async fn new_block_filter(&self) -> RpcResult<U256> {
        let filters = self.filters.clone();
        self.run(move |ledger| filters.install(ledger, None)).await
    }

    async fn filter_changes(&self, id: U256) -> RpcResult<FilterChanges> {
        let filters = self.filters.clone();
        self.run(move |ledger| filters.changes(ledger, id)).await
    }

    async fn filter_logs(&self, id: U256) -> RpcResult<Vec<Log>> {
        let filters = self.filters.clone();
        self.run(move |ledger| filters.logs(ledger, id)).await
    }

    async fn uninstall_filter(&self, id: U256) -> RpcResult<bool> {
        Ok(self.filters.uninstall(id))
    }

    async fn subscribe(
        &self,
        pending: PendingSubscriptionSink,
        kind: SubscriptionKind,
        params: Option<Params>,
    ) -> SubscriptionResult {
        let topic = match Topic::parse(kind, params) {
            Ok(topic) => topic,
            Err(error) => {
                pending.reject(error).await;
                return Ok(());
            }
        };
        // Before the client is told so: it misses nothing after that.
        let blocks = blocks(&self.ledger);
        let sink = pending.accept().await?;
        topic.push(sink, blocks).await
    }
}

#[async_trait]
impl DebugServer for Handlers {
    async fn trace_transaction(&self, hash: B256, options: Option<GethDebugTracingOptions>) -> RpcResult<GethTrace> {
        self.run(move |ledger| trace::transaction(ledger, hash, options.unwrap_or_default()))
            .await
    }
}
