//! Puts the contracts on a chain that does not have them yet.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{B256, Bytes, TxKind, U64, U256};
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::signers::local::PrivateKeySigner;
use hanse_contracts::{Addresses, IConsortium, addresses_of, consortium_init_code, federation_init_code};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::config::LedgerConfig;
use crate::endpoint::{Endpoint, RequestError};
use crate::error::LedgerError;
use crate::fees::FeePolicy;
use crate::refusal::Refusal;
use crate::rpc::{Backoff, Rpc};
use crate::signing::seal;
use crate::submission::{Verdict, judge};

/// How long each of the two transactions may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Creation {
    status: Option<U64>,
    block_number: Option<U64>,
}

/// Deploys both contracts with two transactions of `signer`, which must not be used by anything else meanwhile, and
/// returns where they are. The founders need not include the signer.
///
/// # Errors
/// `Refused` when the consortium does not accept the founders or parameters; `Rejected` when the node does not take a
/// transaction (no coins for gas, for example); `Timeout`; errors of the connection. After an error before the second
/// transaction, deploy again: what the first one made is then of no use and does no harm.
pub async fn deploy(
    url: &Url,
    signer: &PrivateKeySigner,
    founders: Vec<IConsortium::MemberInfo>,
    parameters: IConsortium::ConsensusParameters,
) -> Result<Addresses, LedgerError> {
    let config = LedgerConfig::new(
        vec![url.clone()],
        Default::default(),
        Default::default(),
        Default::default(),
    );
    let rpc = Rpc::new(&config)?;
    let endpoint = rpc.current();
    let identity = endpoint.identity().await;
    let chain = identity.map_err(|error| error.into_ledger("eth_chainId", url))?;
    let nonce: U64 = rpc
        .request("eth_getTransactionCount", (signer.address(), "pending"))
        .await?;
    let nonce: u64 = nonce.to();
    let addresses = addresses_of(signer.address(), nonce);
    let consortium = consortium_init_code(founders, parameters, addresses.federation);
    let federation = federation_init_code(addresses.consortium);
    create(&rpc, &endpoint, chain.chain_id, signer, nonce, consortium).await?;
    create(&rpc, &endpoint, chain.chain_id, signer, nonce + 1, federation).await?;
    for (name, address) in [
        ("Consortium", addresses.consortium),
        ("Federation", addresses.federation),
    ] {
        let code: Bytes = rpc.request("eth_getCode", (address, "latest")).await?;
        if code.is_empty() {
            return Err(LedgerError::NoContract {
                name,
                address,
                chain_id: chain.chain_id,
            });
        }
    }
    Ok(addresses)
}

async fn create(
    rpc: &Rpc,
    endpoint: &Arc<Endpoint>,
    chain_id: u64,
    signer: &PrivateKeySigner,
    nonce: u64,
    code: Bytes,
) -> Result<(), LedgerError> {
    let url = endpoint.url();
    let request = TransactionRequest {
        from: Some(signer.address()),
        to: Some(TxKind::Create),
        input: TransactionInput::new(code.clone()),
        ..TransactionRequest::default()
    };
    let gas: U256 = match rpc.try_request("eth_estimateGas", (request,)).await {
        Ok(gas) => gas,
        Err((_, RequestError::Answer { revert: Some(data), .. })) if !data.is_empty() => {
            return Err(Refusal::decode(&data).into());
        }
        Err((url, error)) => return Err(error.into_ledger("eth_estimateGas", &url)),
    };
    let gas = gas.saturating_to::<u64>();
    let head = rpc.latest().await?;
    let fee = FeePolicy::default().fee(head, endpoint).await;
    let fee = fee.map_err(|error| error.into_ledger("eth_gasPrice", url))?;
    let gas = gas.saturating_add(gas / 5);
    let (hash, raw) = seal(signer, chain_id, TxKind::Create, U256::ZERO, &code, gas, nonce, fee)?;
    match rpc.try_request::<_, B256>("eth_sendRawTransaction", (raw,)).await {
        Ok(_) => {}
        Err((_, RequestError::Answer { message, .. })) => {
            if judge(&message) != Verdict::Has {
                return Err(LedgerError::Rejected { reason: message });
            }
        }
        Err((url, error)) => return Err(error.into_ledger("eth_sendRawTransaction", &url)),
    }
    let started = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        let receipt: Option<Creation> = rpc.request("eth_getTransactionReceipt", (hash,)).await?;
        match receipt {
            Some(Creation {
                status,
                block_number: Some(block),
            }) => {
                if status.is_none_or(|status| status == U64::from(1)) {
                    return Ok(());
                }
                return Err(LedgerError::Reverted {
                    tx: hash,
                    block: block.to(),
                    reason: "the creation of a contract failed".into(),
                });
            }
            _ if started.elapsed() > PATIENCE => {
                return Err(LedgerError::Timeout {
                    waited: PATIENCE,
                    detail: format!("contract creation {hash} is not in a block"),
                });
            }
            _ => sleep(backoff.next()).await,
        }
    }
}
