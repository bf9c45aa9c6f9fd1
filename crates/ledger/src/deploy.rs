//! Puts the contracts on a chain that does not have them yet.
//!
//! Where a contract will be follows from the account that creates it and its nonce. So a deployment is planned first, the
//! caller makes the plan durable, and carrying it out can be repeated after any interruption: since a chain takes one
//! transaction per nonce, nothing is created twice.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, TxKind, U64, U256, keccak256};
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::signers::local::PrivateKeySigner;
use hanse_contracts::{Addresses, IConsortium, addresses_of, consortium_init_code, federation_init_code};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::config::LedgerConfig;
use crate::endpoint::{Endpoint, RequestError};
use crate::error::LedgerError;
use crate::fees::{Fee, FeePolicy};
use crate::refusal::Refusal;
use crate::rpc::{Backoff, ChainIdentity, Rpc};
use crate::signing::seal;
use crate::submission::{Verdict, judge};

/// How long each of the two transactions may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A deployment before anything is sent: what is needed to carry it out, again and again if need be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// The chain.
    #[serde(flatten)]
    pub chain: ChainIdentity,
    /// Who creates both.
    pub deployer: Address,
    /// Nonce of the first of the two creations.
    pub nonce: u64,
    /// Where the Consortium is, or will be.
    pub consortium: Address,
    /// Where the Federation is, or will be.
    pub federation: Address,
    /// Keccak-256 of the Consortium's creation code, which holds founders and parameters.
    pub creation: B256,
}

/// Those who found the consortium, and its timeouts.
#[derive(Debug, Clone)]
pub struct Foundation {
    /// They need not include the deployer.
    pub founders: Vec<IConsortium::MemberInfo>,
    /// Timeouts of consensus, which only the embedded ledger heeds.
    pub parameters: IConsortium::ConsensusParameters,
}

impl Foundation {
    fn code(&self, addresses: Addresses) -> [Bytes; 2] {
        [
            consortium_init_code(self.founders.clone(), self.parameters.clone(), addresses.federation),
            federation_init_code(addresses.consortium),
        ]
    }
}

impl Deployment {
    /// Where the two contracts are, or will be.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses {
            consortium: self.consortium,
            federation: self.federation,
        }
    }

    /// Plans to create both with the next two transactions of `deployer`, which must not be used by anything else until
    /// they are made. Sends nothing.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn plan(url: &Url, deployer: Address, foundation: &Foundation) -> Result<Self, LedgerError> {
        let rpc = connect(url)?;
        let chain = identity(&rpc).await?;
        let nonce: U64 = rpc.request("eth_getTransactionCount", (deployer, "pending")).await?;
        let nonce = nonce.to();
        let addresses = addresses_of(deployer, nonce);
        let [creation, _] = foundation.code(addresses);
        Ok(Self {
            chain,
            deployer,
            nonce,
            consortium: addresses.consortium,
            federation: addresses.federation,
            creation: keccak256(creation),
        })
    }

    /// Creates what is not there yet and returns when both contracts are on the chain. Make the plan durable before; after
    /// an error or a crash, repeat it.
    ///
    /// # Errors
    /// `WrongChain`; `Config` if the signer or the foundation is not the planned one; `Refused` when the consortium does
    /// not accept the foundation; `Rejected` when the node does not take a transaction (no coins for gas, for example);
    /// `NonceUsed` when something else used the account meanwhile; `Timeout`; errors of the connection.
    pub async fn carry_out(
        &self,
        url: &Url,
        signer: &PrivateKeySigner,
        foundation: &Foundation,
    ) -> Result<(), LedgerError> {
        let rpc = connect(url)?;
        let found = identity(&rpc).await?;
        if !found.may_equal(&self.chain) {
            return Err(LedgerError::wrong_chain(url, self.chain, found));
        }
        let codes = foundation.code(self.addresses());
        if signer.address() != self.deployer {
            return Err(LedgerError::Config(format!(
                "the deployment was planned for the account {}, not {}; give its key",
                self.deployer,
                signer.address()
            )));
        }
        if keccak256(&codes[0]) != self.creation {
            return Err(LedgerError::Config(
                "the deployment was planned with other founders, parameters or contracts; give the genesis that it was planned with, or plan a new one".into(),
            ));
        }
        let creations = [self.consortium, self.federation].into_iter().zip(codes);
        for ((address, code), nonce) in creations.zip(self.nonce..) {
            let creation = Creation {
                rpc: &rpc,
                endpoint: rpc.current(),
                chain_id: self.chain.chain_id,
                signer,
                nonce,
                address,
                code,
            };
            creation.carry_out().await?;
        }
        Ok(())
    }
}

/// Plans and carries out at once, for those who do not care what an interruption leaves behind.
///
/// # Errors
/// As [`Deployment::carry_out`].
pub async fn deploy(url: &Url, signer: &PrivateKeySigner, foundation: &Foundation) -> Result<Deployment, LedgerError> {
    let deployment = Deployment::plan(url, signer.address(), foundation).await?;
    deployment.carry_out(url, signer, foundation).await?;
    Ok(deployment)
}

fn connect(url: &Url) -> Result<Rpc, LedgerError> {
    let nowhere = Address::ZERO;
    Rpc::new(&LedgerConfig::new(
        vec![url.clone()],
        nowhere,
        nowhere,
        Default::default(),
    ))
}

async fn identity(rpc: &Rpc) -> Result<ChainIdentity, LedgerError> {
    let endpoint = rpc.current();
    let identity = endpoint.identity().await;
    identity.map_err(|error| error.into_ledger("eth_chainId", endpoint.url()))
}

/// One of the two.
struct Creation<'a> {
    rpc: &'a Rpc,
    endpoint: Arc<Endpoint>,
    chain_id: u64,
    signer: &'a PrivateKeySigner,
    nonce: u64,
    address: Address,
    code: Bytes,
}

impl Creation<'_> {
    async fn carry_out(&self) -> Result<(), LedgerError> {
        if self.is_there().await? {
            return Ok(());
        }
        if self.count().await? <= self.nonce {
            self.send().await?;
        }
        let started = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            // First the count: if it shows that the nonce is used, the code must show what for.
            let count = self.count().await?;
            if self.is_there().await? {
                return Ok(());
            }
            if count > self.nonce {
                return Err(LedgerError::NonceUsed {
                    account: self.signer.address(),
                    nonce: self.nonce,
                    address: self.address,
                });
            }
            if started.elapsed() > PATIENCE {
                return Err(LedgerError::Timeout {
                    waited: PATIENCE,
                    detail: format!("the creation of the contract at {} is not in a block", self.address),
                });
            }
            sleep(backoff.next()).await;
        }
    }

    async fn is_there(&self) -> Result<bool, LedgerError> {
        let code: Bytes = self.rpc.request("eth_getCode", (self.address, "latest")).await?;
        Ok(!code.is_empty())
    }

    async fn count(&self) -> Result<u64, LedgerError> {
        let account = self.signer.address();
        let count: U64 = self.rpc.request("eth_getTransactionCount", (account, "latest")).await?;
        Ok(count.to())
    }

    async fn gas(&self) -> Result<u64, LedgerError> {
        let request = TransactionRequest {
            from: Some(self.signer.address()),
            to: Some(TxKind::Create),
            input: TransactionInput::new(self.code.clone()),
            ..TransactionRequest::default()
        };
        match self.rpc.try_request::<_, U256>("eth_estimateGas", (request,)).await {
            Ok(gas) => {
                let gas = gas.saturating_to::<u64>();
                Ok(gas.saturating_add(gas / 5))
            }
            Err((_, RequestError::Answer { revert: Some(data), .. })) if !data.is_empty() => {
                Err(Refusal::decode(&data).into())
            }
            Err((url, error)) => Err(error.into_ledger("eth_estimateGas", &url)),
        }
    }

    /// Hands it to the node. An earlier attempt may be there already, with another fee.
    async fn send(&self) -> Result<(), LedgerError> {
        let gas = self.gas().await?;
        let mut fees = FeePolicy::default();
        for retry in [true, false] {
            let head = self.rpc.latest().await?;
            let fee = fees.fee(head, &self.endpoint).await;
            let fee = fee.map_err(|error| error.into_ledger("eth_gasPrice", self.endpoint.url()))?;
            match self.submit(gas, fee).await? {
                Verdict::Has => return Ok(()),
                Verdict::Underpriced if retry => fees.underpriced(),
                // One with the same nonce is in the pool: the one of an earlier attempt.
                Verdict::Underpriced => return Ok(()),
                Verdict::Later(reason) | Verdict::Never(reason) => return Err(LedgerError::Rejected { reason }),
            }
        }
        Ok(())
    }

    async fn submit(&self, gas: u64, fee: Fee) -> Result<Verdict, LedgerError> {
        let (nothing, to) = (U256::ZERO, TxKind::Create);
        let (_, raw) = seal(
            self.signer,
            self.chain_id,
            to,
            nothing,
            &self.code,
            gas,
            self.nonce,
            fee,
        )?;
        match self.rpc.try_request::<_, B256>("eth_sendRawTransaction", (raw,)).await {
            Ok(_) => Ok(Verdict::Has),
            Err((_, RequestError::Answer { message, .. })) => Ok(judge(&message)),
            Err((url, error)) => Err(error.into_ledger("eth_sendRawTransaction", &url)),
        }
    }
}
