//! Reading the contracts and the chain. What the contracts answer is of the newest block that is final, as are the events
//! that are told: as many blocks lie above it as [`confirmations`](crate::LedgerConfig::confirmations) says. Where that
//! is none, it is the newest block of the endpoint in use.

use alloy::eips::BlockNumberOrTag;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use hanse_contracts::{Consortium, Federation, IConsortium, IFederation};

use crate::endpoint::RequestError;
use crate::error::LedgerError;
use crate::head::Head;
use crate::ledger::Ledger;
use crate::refusal::Refusal;
use crate::rpc::Rpc;

/// Most agreements in one answer of the contract.
pub const PAGE: u64 = 100;

/// Calls a view at a block.
pub(crate) async fn read<C: SolCall>(
    rpc: &Rpc,
    to: Address,
    call: C,
    block: BlockNumberOrTag,
) -> Result<C::Return, LedgerError> {
    let request = TransactionRequest::default()
        .to(to)
        .input(alloy::rpc::types::TransactionInput::new(call.abi_encode().into()));
    match rpc.try_request::<_, Bytes>("eth_call", (request, block)).await {
        // What calls of accounts without code answer. That there is a contract now was checked when connecting.
        Ok(answer)
            if answer.is_empty()
                && let Some(block) = block.as_number() =>
        {
            Err(LedgerError::NotFinalYet { block })
        }
        Ok(answer) => C::abi_decode_returns_validate(&answer).map_err(|error| LedgerError::Protocol {
            method: "eth_call",
            url: rpc.current().url().to_string(),
            detail: format!("{} at {to} answered something else: {error}", C::SIGNATURE),
        }),
        Err((_, RequestError::Answer { revert: Some(data), .. })) if !data.is_empty() => {
            Err(Refusal::decode(&data).into())
        }
        Err((_, RequestError::Link(detail))) => Err(LedgerError::Unreachable { detail }),
        Err((url, error)) => Err(error.into_ledger("eth_call", &url)),
    }
}

impl Ledger {
    async fn read_federation<C: SolCall>(&self, call: C) -> Result<C::Return, LedgerError> {
        read(self.rpc(), self.config().federation, call, self.block_to_read().await?).await
    }

    async fn read_consortium<C: SolCall>(&self, call: C) -> Result<C::Return, LedgerError> {
        read(self.rpc(), self.config().consortium, call, self.block_to_read().await?).await
    }

    /// The newest final block.
    async fn block_to_read(&self) -> Result<BlockNumberOrTag, LedgerError> {
        let confirmations = self.config().confirmations;
        if confirmations == 0 {
            return Ok(BlockNumberOrTag::Latest);
        }
        let head = match self.heads().newest() {
            Some(seen) => seen.head,
            None => self.rpc().latest().await?,
        };
        Ok(self.heads().settled(head, confirmations).into())
    }

    /// One agreement.
    ///
    /// # Errors
    /// Refused with `UnknownAgreement`; errors of the connection.
    pub async fn agreement(&self, id: B256) -> Result<IFederation::Agreement, LedgerError> {
        self.read_federation(Federation::agreementCall { id }).await
    }

    /// One agreement and its bids, of the same block.
    ///
    /// # Errors
    /// As [`agreement`](Self::agreement).
    pub async fn details(&self, id: B256) -> Result<(IFederation::Agreement, Vec<IFederation::Bid>), LedgerError> {
        let details = self.read_federation(Federation::detailsCall { id }).await?;
        Ok((details._0, details._1))
    }

    /// The bids on an agreement.
    ///
    /// # Errors
    /// As [`agreement`](Self::agreement).
    pub async fn bids(&self, id: B256) -> Result<Vec<IFederation::Bid>, LedgerError> {
        self.read_federation(Federation::bidsCall { id }).await
    }

    /// Agreements in the order of their announcement: at most `limit` (and at most [`PAGE`]) from index `start`.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn agreements(&self, start: u64, limit: u64) -> Result<Vec<IFederation::Agreement>, LedgerError> {
        let call = Federation::agreementsCall {
            start: U256::from(start),
            limit: U256::from(limit.min(PAGE)),
        };
        self.read_federation(call).await
    }

    /// How many agreements there are.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn agreement_count(&self) -> Result<u64, LedgerError> {
        let count: U256 = self.read_federation(Federation::agreementCountCall {}).await?;
        Ok(count.saturating_to())
    }

    /// Live agreements of which the account is a party; leaving the consortium is refused while there are any.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn live_agreements(&self, account: Address) -> Result<u64, LedgerError> {
        let count: U256 = self.read_federation(Federation::liveAgreementsCall { account }).await?;
        Ok(count.saturating_to())
    }

    /// What [`withdraw`](Self::withdraw) would pay the account, in wei.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn owed(&self, account: Address) -> Result<U256, LedgerError> {
        self.read_federation(Federation::owedCall { account }).await
    }

    /// All members.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn members(&self) -> Result<Vec<IConsortium::Member>, LedgerError> {
        self.read_consortium(Consortium::membersCall {}).await
    }

    /// One member.
    ///
    /// # Errors
    /// Refused with `NotMember`; errors of the connection.
    pub async fn member(&self, account: Address) -> Result<IConsortium::Member, LedgerError> {
        self.read_consortium(Consortium::memberCall { account }).await
    }

    /// Whether the account is a member. Asked about the own account, the answer also goes into the
    /// [`status`](Self::status).
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn is_member(&self, account: Address) -> Result<bool, LedgerError> {
        let member = self.read_consortium(Consortium::isMemberCall { account }).await?;
        if account == self.account() {
            self.rpc().status().send_if_modified(|status| {
                let changed = status.member != Some(member);
                status.member = Some(member);
                changed
            });
        }
        Ok(member)
    }

    /// Proposals that can still be approved.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn proposals(&self) -> Result<Vec<IConsortium::Proposal>, LedgerError> {
        self.read_consortium(Consortium::openProposalsCall {}).await
    }

    /// One proposal, also a decided one.
    ///
    /// # Errors
    /// Refused with `UnknownProposal`; errors of the connection.
    pub async fn proposal(&self, id: U256) -> Result<IConsortium::Proposal, LedgerError> {
        self.read_consortium(Consortium::proposalCall { id }).await
    }

    /// Timeouts of consensus, in milliseconds.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn consensus_parameters(&self) -> Result<IConsortium::ConsensusParameters, LedgerError> {
        self.read_consortium(Consortium::consensusParametersCall {}).await
    }

    /// The account's coins, in wei.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn balance(&self, account: Address) -> Result<U256, LedgerError> {
        self.rpc().request("eth_getBalance", (account, "latest")).await
    }

    /// The newest block.
    ///
    /// # Errors
    /// Errors of the connection.
    pub async fn tip(&self) -> Result<Head, LedgerError> {
        self.rpc().latest().await
    }
}
