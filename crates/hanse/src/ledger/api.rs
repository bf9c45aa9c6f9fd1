//! The ledger's routes, for this domain's operator. All that they tell comes over JSON-RPC, so that it is the same whatever
//! ledger it is; only a node that the agent runs itself is asked for more.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use alloy::consensus::Transaction as _;
use alloy::network::TransactionResponse as _;
use alloy::primitives::{Address, B256};
use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy::rpc::types::Block;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use hanse_chain::consensus::ConsensusStatus;
use hanse_chain::ledger::Ledger as EmbeddedLedger;
use hanse_chain::node::Node;
use hanse_contracts::Addresses;
use hanse_ledger::Ledger;
use hanse_orchestrator::api::Problem;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::{IntoParams, OpenApi};

use super::pages::{BlockLine, MemberName, NodePage, Reason, StatusPage, TransactionPage};
use super::{backup, explain};

/// How long all the questions that one answer takes may take together.
const WITHIN: Duration = Duration::from_secs(30);

/// Blocks in one answer.
const MOST_BLOCKS: u64 = 200;
const SOME_BLOCKS: u64 = 20;

/// The agent's own node. It is not kept alive from here.
struct OwnNode {
    ledger: Weak<EmbeddedLedger>,
    status: watch::Receiver<ConsensusStatus>,
}

/// What the routes work with.
struct Desk {
    ledger: Ledger,
    node: Option<OwnNode>,
}

type Service = State<Arc<Desk>>;
type Answer<T> = Result<Json<T>, Problem>;

/// All routes.
pub fn routes(ledger: Ledger, node: Option<&Node>) -> Router {
    let node = node.map(|node| OwnNode {
        ledger: Arc::downgrade(node.ledger()),
        status: node.watch_status(),
    });
    let backup = backup::routes(node.as_ref().map(|node| node.ledger.clone()));
    Router::new()
        .route("/api/v1/ledger", get(status))
        .route("/api/v1/ledger/blocks", get(blocks))
        .route("/api/v1/ledger/transactions/{hash}", get(transaction))
        .with_state(Arc::new(Desk { ledger, node }))
        .merge(backup)
}

#[derive(OpenApi)]
#[openapi(paths(status, blocks, transaction, backup::serve))]
pub struct Description;

/// Which blocks, newest first.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BlocksQuery {
    /// Lowest height; as many below `to` as the limit allows when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Highest height; the newest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// How many at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// How the ledger stands: newest block, members, and this domain's own node if it runs one.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "ledger", responses((status = 200, body = StatusPage),
    (status = 502, body = Problem)))]
async fn status(State(desk): Service) -> Answer<StatusPage> {
    within(desk.status()).await
}

/// Blocks, newest first, 20 unless told otherwise, 200 at most.
#[utoipa::path(get, path = "/api/v1/ledger/blocks", tag = "ledger", params(BlocksQuery),
    responses((status = 200, body = [BlockLine]), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn blocks(State(desk): Service, Query(query): Query<BlocksQuery>) -> Answer<Vec<BlockLine>> {
    within(desk.blocks(query)).await
}

/// A transaction: which command it was, what it brought, and why it was refused if it was.
#[utoipa::path(get, path = "/api/v1/ledger/transactions/{hash}", tag = "ledger", params(("hash" = String, Path)),
    responses((status = 200, body = TransactionPage), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn transaction(State(desk): Service, Path(hash): Path<String>) -> Answer<TransactionPage> {
    let hash = hash.parse().map_err(|_| {
        Problem::invalid(format!(
            "{hash:?} is no transaction hash; one looks like 0x and 64 hexadecimal digits"
        ))
    })?;
    within(desk.transaction(hash)).await
}

async fn within<T>(answer: impl Future<Output = Result<T, Problem>>) -> Answer<T> {
    match tokio::time::timeout(WITHIN, answer).await {
        Ok(answer) => answer.map(Json),
        Err(_) => Err(Problem::timed_out(format!(
            "the ledger did not answer within {WITHIN:?}"
        ))),
    }
}

fn away(error: impl std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "ledger",
        "The ledger does not answer",
        error.to_string(),
    )
}

impl Desk {
    async fn provider(&self) -> Result<DynProvider, Problem> {
        let url = self.ledger.status().borrow().url.clone();
        let provider = ProviderBuilder::new().connect(url.as_str()).await.map_err(away)?;
        Ok(provider.erased())
    }

    fn contracts(&self) -> Addresses {
        let config = self.ledger.config();
        Addresses {
            consortium: config.consortium,
            federation: config.federation,
        }
    }

    async fn names(&self) -> Result<Vec<MemberName>, Problem> {
        let members = self.ledger.members().await.map_err(away)?;
        let me = self.ledger.account();
        let name = |member: hanse_ledger::IConsortium::Member| MemberName {
            me: member.info.account == me,
            account: member.info.account,
            name: member.info.name,
        };
        Ok(members.into_iter().map(name).collect())
    }

    async fn status(&self) -> Result<StatusPage, Problem> {
        let provider = self.provider().await?;
        let members = self.names().await?;
        let newest = provider.get_block_number().await.map_err(away)?;
        let block = block_at(&provider, newest).await?;
        Ok(StatusPage {
            url: self.ledger.status().borrow().url.to_string(),
            chain_id: self.ledger.chain_id(),
            block: line(&block, &by_account(&members)),
            tolerated: members.len().saturating_sub(1) / 3,
            members,
            node: self.node.as_ref().map(OwnNode::page),
        })
    }

    async fn blocks(&self, query: BlocksQuery) -> Result<Vec<BlockLine>, Problem> {
        let limit = query.limit.unwrap_or(SOME_BLOCKS);
        if !(1..=MOST_BLOCKS).contains(&limit) {
            return Err(Problem::invalid(format!("limit must be from 1 to {MOST_BLOCKS}")));
        }
        let provider = self.provider().await?;
        let newest = provider.get_block_number().await.map_err(away)?;
        let to = query.to.unwrap_or(newest);
        if to > newest {
            return Err(Problem::not_found(format!(
                "block {to} is not there; the newest is {newest}"
            )));
        }
        let from = query.from.unwrap_or(0).max((to + 1).saturating_sub(limit));
        if from > to {
            return Err(Problem::invalid(format!("from ({from}) is above to ({to})")));
        }
        let names = by_account(&self.names().await?);
        let mut lines = Vec::new();
        for height in (from..=to).rev() {
            lines.push(line(&block_at(&provider, height).await?, &names));
        }
        Ok(lines)
    }

    async fn transaction(&self, hash: B256) -> Result<TransactionPage, Problem> {
        let provider = self.provider().await?;
        let found = provider.get_transaction_by_hash(hash).await.map_err(away)?;
        let Some(found) = found else {
            return Err(Problem::not_found(format!(
                "this ledger has no transaction {hash}, neither in a block nor waiting"
            )));
        };
        let receipt = provider.get_transaction_receipt(hash).await.map_err(away)?;
        let outcome = match &receipt {
            None => "waiting",
            Some(receipt) if receipt.status() => "succeeded",
            Some(_) => "reverted",
        };
        let revert = match outcome {
            "reverted" => revert(&provider, hash).await,
            _ => None,
        };
        let ours = self.contracts();
        let events = receipt.iter().flat_map(|receipt| receipt.inner.logs());
        Ok(TransactionPage {
            hash,
            outcome: outcome.to_owned(),
            block: receipt.as_ref().and_then(|receipt| receipt.block_number),
            from: found.from(),
            from_name: by_account(&self.names().await?).remove(&found.from()),
            to: found.to(),
            nonce: found.nonce(),
            gas_used: receipt.as_ref().map(|receipt| receipt.gas_used),
            command: found.to().and_then(|to| explain::command(ours, to, found.input())),
            events: events
                .map(|log| explain::event(ours, log.address(), &log.inner.data))
                .collect(),
            revert,
        })
    }
}

impl OwnNode {
    fn page(&self) -> NodePage {
        let status = self.status.borrow().clone();
        NodePage {
            validates: status.is_validator,
            connected: status.connected,
            quorum: status.quorum,
            has_quorum: status.has_quorum(),
            mempool: self.ledger.upgrade().map_or(0, |ledger| ledger.mempool().len()),
            engine_restarts: status.engine_restarts,
            abstains: status.abstains,
            halted: status.halted,
        }
    }
}

fn by_account(members: &[MemberName]) -> HashMap<Address, String> {
    members
        .iter()
        .map(|member| (member.account, member.name.clone()))
        .collect()
}

async fn block_at(provider: &DynProvider, height: u64) -> Result<Block, Problem> {
    let block = provider.get_block_by_number(height.into()).await.map_err(away)?;
    block.ok_or_else(|| Problem::not_found(format!("the ledger has no block {height}")))
}

fn line(block: &Block, names: &HashMap<Address, String>) -> BlockLine {
    let header = &block.header;
    BlockLine {
        height: header.number,
        hash: header.hash,
        state_root: header.state_root,
        time: header.timestamp,
        proposer: header.beneficiary,
        proposer_name: names.get(&header.beneficiary).cloned(),
        transactions: block.transactions.len(),
        gas_used: header.gas_used,
    }
}

/// What the transaction's outermost call returned, if the node can still execute it.
async fn revert(provider: &DynProvider, hash: B256) -> Option<Reason> {
    let tracer = serde_json::json!({ "tracer": "callTracer", "tracerConfig": { "onlyTopCall": true } });
    let frame: serde_json::Value = provider
        .raw_request("debug_traceTransaction".into(), (hash, tracer))
        .await
        .ok()?;
    match frame["output"].as_str() {
        Some(output) => Some(explain::reason(&alloy::hex::decode(output).ok()?)),
        // Without data it was the machine that gave up, most likely for want of gas.
        None => Some(Reason {
            name: String::new(),
            message: frame["error"].as_str()?.to_owned(),
        }),
    }
}
