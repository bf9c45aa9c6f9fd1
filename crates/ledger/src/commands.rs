//! The commands. Each returns once its transaction is final, or says why it has no effect.
//!
//! Announcements and terms are taken as the bindings' types or those of `hanse-agreement`, which convert.
//!
//! Errors are the same for all: see [`LedgerError`] for what each means for a repetition.

use alloy::primitives::{Address, B256, Bytes, U256};
use hanse_contracts::{Consortium, Federation, IConsortium, IFederation};

use crate::error::LedgerError;
use crate::intent::{IntentKey, Receipt};
use crate::ledger::Ledger;

/// On agreements.
impl Ledger {
    /// Announces a service. The agreement's id must be new for ever.
    ///
    /// # Errors
    /// See [`LedgerError`]; refusals: `NotMember`, `IdTaken`, `InvalidDeadlines`, `InvalidTerms`, `TooLong`.
    pub async fn announce(
        &self,
        key: IntentKey,
        announcement: impl Into<IFederation::Announcement>,
    ) -> Result<Receipt, LedgerError> {
        let announcement = announcement.into();
        self.federation(key, U256::ZERO, Federation::announceCall { announcement })
            .await
    }

    /// Places this account's only bid on an agreement, or replaces it. `price_per_hour` in wei.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn place_bid(
        &self,
        key: IntentKey,
        id: B256,
        price_per_hour: u128,
        location: String,
        offer: impl Into<IFederation::Terms>,
    ) -> Result<Receipt, LedgerError> {
        let call = Federation::placeBidCall {
            id,
            pricePerHour: price_per_hour,
            location,
            offer: offer.into(),
        };
        self.federation(key, U256::ZERO, call).await
    }

    /// Awards the agreement to the bid of `bidder` with that `sequence`. `hours_paid` 0: nothing goes into escrow and
    /// `value` must be 0; else `value` is the price per hour times the hours, in wei.
    ///
    /// # Errors
    /// See [`LedgerError`]; refusals: `WrongPayment`, `NoSuchBid`, `NotCreator`, `DeadlinePassed`, `WrongState`.
    #[expect(clippy::too_many_arguments, reason = "the contract's, in its order")]
    pub async fn choose(
        &self,
        key: IntentKey,
        id: B256,
        bidder: Address,
        sequence: u64,
        hours_paid: u32,
        sealed_parameters: Bytes,
        value: U256,
    ) -> Result<Receipt, LedgerError> {
        let call = Federation::chooseCall {
            id,
            bidder,
            sequence,
            hoursPaid: hours_paid,
            sealedParameters: sealed_parameters,
        };
        self.federation(key, value, call).await
    }

    /// As the provider: the service runs, and this is where, sealed to the creator.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn deployed(&self, key: IntentKey, id: B256, sealed_endpoint: Bytes) -> Result<Receipt, LedgerError> {
        let call = Federation::deployedCall {
            id,
            sealedEndpoint: sealed_endpoint,
        };
        self.federation(key, U256::ZERO, call).await
    }

    /// As the creator: the service answers. Releases the escrow.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn confirm(&self, key: IntentKey, id: B256) -> Result<Receipt, LedgerError> {
        self.federation(key, U256::ZERO, Federation::confirmCall { id }).await
    }

    /// As the creator, before it is confirmed. Refunds the escrow.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn cancel(&self, key: IntentKey, id: B256, reason: String) -> Result<Receipt, LedgerError> {
        self.federation(key, U256::ZERO, Federation::cancelCall { id, reason })
            .await
    }

    /// As the provider, before it is confirmed. Refunds the escrow.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn decline(&self, key: IntentKey, id: B256, reason: String) -> Result<Receipt, LedgerError> {
        self.federation(key, U256::ZERO, Federation::declineCall { id, reason })
            .await
    }

    /// By anyone: ends what missed its deadline or lost a party.
    ///
    /// # Errors
    /// See [`LedgerError`]; refusal: `NotExpired`.
    pub async fn expire(&self, key: IntentKey, id: B256) -> Result<Receipt, LedgerError> {
        self.federation(key, U256::ZERO, Federation::expireCall { id }).await
    }

    /// By anyone: confirms what the creator left unanswered beyond the confirmation window.
    ///
    /// # Errors
    /// See [`LedgerError`]; refusal: `ConfirmWindowOpen`.
    pub async fn settle(&self, key: IntentKey, id: B256) -> Result<Receipt, LedgerError> {
        self.federation(key, U256::ZERO, Federation::settleCall { id }).await
    }

    /// By creator or provider: ends a confirmed agreement.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn terminate(&self, key: IntentKey, id: B256) -> Result<Receipt, LedgerError> {
        self.federation(key, U256::ZERO, Federation::terminateCall { id }).await
    }

    /// Pays out what this account is owed.
    ///
    /// # Errors
    /// See [`LedgerError`]; refusal: `NothingOwed`.
    pub async fn withdraw(&self, key: IntentKey) -> Result<Receipt, LedgerError> {
        self.federation(key, U256::ZERO, Federation::withdrawCall {}).await
    }
}

/// On the consortium.
impl Ledger {
    /// Proposes to admit a domain; counts as this member's approval.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn propose_admission(
        &self,
        key: IntentKey,
        candidate: IConsortium::MemberInfo,
    ) -> Result<Receipt, LedgerError> {
        self.consortium(key, Consortium::proposeAdmissionCall { candidate })
            .await
    }

    /// Proposes to remove a member; counts as this member's approval.
    ///
    /// # Errors
    /// See [`LedgerError`]; refusals: `RemovesTooMuchPower`, `BelowFaultTolerance`.
    pub async fn propose_removal(
        &self,
        key: IntentKey,
        target: Address,
        accept_fewer_than_four: bool,
    ) -> Result<Receipt, LedgerError> {
        let call = Consortium::proposeRemovalCall {
            target,
            acceptFewerThanFour: accept_fewer_than_four,
        };
        self.consortium(key, call).await
    }

    /// Proposes other timeouts of consensus; counts as this member's approval.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn propose_parameters(
        &self,
        key: IntentKey,
        parameters: IConsortium::ConsensusParameters,
    ) -> Result<Receipt, LedgerError> {
        self.consortium(key, Consortium::proposeParametersCall { parameters })
            .await
    }

    /// Approves a proposal; the approval that makes more than two thirds carries it out.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn approve(&self, key: IntentKey, proposal: U256) -> Result<Receipt, LedgerError> {
        self.consortium(key, Consortium::approveCall { id: proposal }).await
    }

    /// Withdraws an own proposal.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn withdraw_proposal(&self, key: IntentKey, proposal: U256) -> Result<Receipt, LedgerError> {
        self.consortium(key, Consortium::withdrawProposalCall { id: proposal })
            .await
    }

    /// Leaves the consortium.
    ///
    /// # Errors
    /// See [`LedgerError`]; refusals: `LiveAgreements`, `RemovesTooMuchPower`, `BelowFaultTolerance`.
    pub async fn leave(&self, key: IntentKey, accept_fewer_than_four: bool) -> Result<Receipt, LedgerError> {
        let call = Consortium::leaveCall {
            acceptFewerThanFour: accept_fewer_than_four,
        };
        self.consortium(key, call).await
    }

    /// Publishes other addresses and keys of this domain. Account, name and validator key stay.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub async fn update_member(
        &self,
        key: IntentKey,
        sealing_key: B256,
        consensus_address: String,
        peer_id: String,
        url: String,
    ) -> Result<Receipt, LedgerError> {
        let call = Consortium::updateMemberCall {
            sealingKey: sealing_key,
            consensusAddress: consensus_address,
            peerId: peer_id,
            url,
        };
        self.consortium(key, call).await
    }

    /// Replaces this domain's validator key.
    ///
    /// # Errors
    /// See [`LedgerError`]; refusals: `ValidatorKeyTaken`, `RotatedRecently`.
    pub async fn rotate_key(&self, key: IntentKey, new_key: B256) -> Result<Receipt, LedgerError> {
        self.consortium(key, Consortium::rotateValidatorKeyCall { newKey: new_key })
            .await
    }
}
