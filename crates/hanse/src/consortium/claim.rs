//! Who is no member any more gets what it is still owed: a member passes its signed withdrawal on.
//!
//! The ledger itself bounds this: of those who are no members it takes nothing but a withdrawal of something owed.

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::Encodable2718;
use alloy::primitives::{Address, TxKind, U256};
use alloy::signers::SignerSync;
use alloy::sol_types::SolCall;
use anyhow::{Context, bail, ensure};
use hanse_chain::ledger::claims::CLAIM_GAS;
use hanse_contracts::Federation;
use hanse_orchestrator::api::Problem;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use url::Url;

use super::api::ClaimBody;
use super::pages::ClaimPage;
use super::remote;
use super::service::{Consortium, failed, of_ledger};
use crate::keys::DomainKeys;

/// A withdrawal is some 200 bytes.
const LARGEST: usize = 2048;
const WITHIN: Duration = Duration::from_secs(60);

impl Consortium {
    /// What an account could withdraw.
    pub(super) async fn claimable(&self, account: Address) -> Result<ClaimPage, Problem> {
        let owed = self.ledger.owed(account).await.map_err(of_ledger)?;
        let nonce = self.rpc("eth_getTransactionCount", json!([account, "latest"])).await?;
        let nonce: U256 = serde_json::from_value(nonce).map_err(|error| failed(&error.into()))?;
        Ok(ClaimPage {
            owed: owed.to_string(),
            nonce: nonce.saturating_to(),
            chain_id: self.ledger.chain_id(),
            federation: self.ledger.config().federation,
        })
    }

    /// Passes a withdrawal on to this domain's node, which takes nothing else from those who are no members.
    pub(super) async fn submit_claim(&self, raw: &str) -> Result<Value, Problem> {
        if raw.len() > LARGEST {
            return Err(Problem::invalid("this is more than a withdrawal"));
        }
        let tx = self.rpc("eth_sendRawTransaction", json!([raw])).await?;
        Ok(json!({ "tx": tx }))
    }

    async fn rpc(&self, method: &str, params: Value) -> Result<Value, Problem> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer: Result<Value, _> = async {
            let url = self
                .node()
                .map_err(|problem| anyhow::anyhow!(problem.detail))?
                .rpc
                .clone();
            remote::post(&self.http, &url, "", &request).await
        }
        .await;
        let answer = answer.map_err(|error| failed(&error))?;
        match answer["error"]["message"].as_str() {
            Some(message) => Err(Problem::conflict(message)),
            None => Ok(answer["result"].clone()),
        }
    }
}

/// Withdraws what the account is owed, through a member's agent, and waits until it is there. Returns the amount in wei.
pub async fn withdraw(keys: &DomainKeys, through: &Url) -> anyhow::Result<String> {
    let http = remote::client()?;
    let account = keys.ledger.address();
    let path = format!("api/v1/consortium/claims/{account}");
    let page: ClaimPage = remote::get(&http, through, &path).await?;
    ensure!(
        page.owed != "0",
        "nothing is owed to {account}; there is nothing to withdraw"
    );
    let transaction = TxEip1559 {
        chain_id: page.chain_id,
        nonce: page.nonce,
        gas_limit: CLAIM_GAS,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(page.federation),
        value: U256::ZERO,
        access_list: Default::default(),
        input: Federation::withdrawCall {}.abi_encode().into(),
    };
    let signature = keys.ledger.sign_hash_sync(&transaction.signature_hash())?;
    let raw = TxEnvelope::from(transaction.into_signed(signature)).encoded_2718();
    let body = ClaimBody {
        raw_transaction: format!("0x{}", hex::encode(raw)),
    };
    let _: Value = remote::post(&http, through, "api/v1/consortium/claims", &body)
        .await
        .context("the withdrawal was not taken")?;
    let deadline = Instant::now() + WITHIN;
    loop {
        let now: ClaimPage = remote::get(&http, through, &path).await?;
        if now.owed == "0" {
            return Ok(page.owed);
        }
        if Instant::now() > deadline {
            bail!(
                "the withdrawal is not in a block after {} s; try again",
                WITHIN.as_secs()
            );
        }
        sleep(Duration::from_millis(500)).await;
    }
}
