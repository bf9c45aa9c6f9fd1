//! The contracts' errors as values, each with what happened and what to do.

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::{SolError, SolInterface};
use hanse_agreement::State;
use hanse_contracts::{Consortium::ConsortiumErrors, Federation::FederationErrors};

/// Why a contract refuses a command. The variants are the contracts' custom errors; the meaning of each is in
/// `contracts/src/interfaces`. Times are Unix seconds of the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the names and the message of each variant say all there is to say"
)]
pub enum Refusal {
    #[error("{account} is not a member of the consortium; ask a member to propose its admission")]
    NotMember { account: Address },

    // Federation
    #[error("the agreement id {id} is taken for ever; choose another")]
    IdTaken { id: B256 },
    #[error("there is no agreement {id}; check the id and that this is the right ledger")]
    UnknownAgreement { id: B256 },
    #[error("agreement {id} is {current}, which does not allow this step; look at it again before the next one")]
    WrongState { id: B256, current: State },
    #[error("agreement {id} was announced by this account; leave bidding on it to other members")]
    OwnAgreement { id: B256 },
    #[error("only the creator of agreement {id} may do this, and {caller} is not; use the creator's account")]
    NotCreator { id: B256, caller: Address },
    #[error("only the chosen provider of agreement {id} may do this, and {caller} is not; use the provider's account")]
    NotProvider { id: B256, caller: Address },
    #[error("only creator and provider of agreement {id} may do this, and {caller} is neither")]
    NotParty { id: B256, caller: Address },
    #[error(
        "the deadline of agreement {id} was {deadline} (Unix seconds) and has passed; announce it again with a later one"
    )]
    DeadlinePassed { id: B256, deadline: u64 },
    #[error("agreement {id} has missed no deadline and lost no party; it cannot be expired now")]
    NotExpired { id: B256 },
    #[error("the creator of agreement {id} may still answer until {deadline} (Unix seconds); settle it after that")]
    ConfirmWindowOpen { id: B256, deadline: u64 },
    #[error("agreement {id} has no such bid of {bidder}; it may have been replaced: read the bids again")]
    NoSuchBid { id: B256, bidder: Address },
    #[error("agreement {id} has as many bids as it can hold")]
    TooManyBids { id: B256 },
    #[error("the payment must be {expected} wei but {sent} were sent; send price per hour times hours exactly")]
    WrongPayment { expected: U256, sent: U256 },
    #[error(
        "the deadlines are not in order: now < bid deadline < deployment deadline, and a confirmation window of at least 1 s"
    )]
    InvalidDeadlines,
    #[error("the terms make no sense: at least 1 replica and at most 10000 basis points of availability")]
    InvalidTerms,
    #[error("a text or sealed part is {length} bytes long, at most {limit} are allowed; shorten it")]
    TooLong { length: U256, limit: U256 },
    #[error("a part that must not be empty is empty")]
    Empty,
    #[error("nothing is owed to {account}; there is nothing to withdraw")]
    NothingOwed { account: Address },
    #[error("{account} did not accept the payment; withdraw from an account that can receive coins")]
    TransferFailed { account: Address },

    // Consortium
    #[error("{account} is a member already")]
    AlreadyMember { account: Address },
    #[error("the name {name:?} is taken; choose another")]
    NameTaken { name: String },
    #[error("the validator key {key} belongs to a member already; make a new one (two nodes must never share one)")]
    ValidatorKeyTaken { key: B256 },
    #[error("the member's field {field:?} is missing or malformed; correct it")]
    InvalidMember { field: String },
    #[error("there is no proposal {id}; list the open ones")]
    UnknownProposal { id: U256 },
    #[error("proposal {id} is decided, withdrawn or past its deadline; make a new one")]
    ProposalClosed { id: U256 },
    #[error("{by} has approved proposal {id} already; the other members' approvals are what it lacks")]
    AlreadyApproved { id: U256, by: Address },
    #[error("only its proposer may withdraw proposal {id}, and {by} is not")]
    NotProposer { id: U256, by: Address },
    #[error("with {members} members this would take away more than a third of the votes at once; admit members first")]
    RemovesTooMuchPower { members: U256 },
    #[error(
        "with {members} members the ledger would no longer tolerate a faulty one afterwards; accept fewer than four expressly, or admit members first"
    )]
    BelowFaultTolerance { members: U256 },
    #[error("another change of membership is in this block; repeat in the next one")]
    ChangeInThisBlock,
    #[error("{account} is a party of {count} live agreements; terminate, cancel or decline them first")]
    LiveAgreements { account: Address, count: U256 },
    #[error("the consensus parameters are out of range")]
    InvalidParameters,
    #[error("the consortium has its largest size, {limit} members")]
    TooManyMembers { limit: U256 },
    #[error("{proposer} has {limit} open proposals already; withdraw one first")]
    TooManyProposals { proposer: Address, limit: U256 },
    #[error("{account} rotated its validator key a short while ago; again after {until} (Unix seconds)")]
    RotatedRecently { account: Address, until: u64 },

    /// Revert data that none of the contracts' errors explains: another contract, or a newer version of ours.
    #[error(
        "the contract refused with data that is not known here (0x{}); check the contract addresses",
        alloy::hex::encode(data)
    )]
    Unknown { data: alloy::primitives::Bytes },
}

impl Refusal {
    /// Reads the data of a revert.
    #[must_use]
    pub fn decode(data: &[u8]) -> Self {
        if let Ok(error) = FederationErrors::abi_decode(data) {
            return error.into();
        }
        if let Ok(error) = ConsortiumErrors::abi_decode(data) {
            return error.into();
        }
        Self::Unknown {
            data: alloy::primitives::Bytes::copy_from_slice(data),
        }
    }
}

impl From<FederationErrors> for Refusal {
    fn from(error: FederationErrors) -> Self {
        use FederationErrors as E;
        match error {
            E::NotMember(e) => Self::NotMember { account: e.account },
            E::IdTaken(e) => Self::IdTaken { id: e.id },
            E::UnknownAgreement(e) => Self::UnknownAgreement { id: e.id },
            E::WrongState(e) => match State::from_code(e.current) {
                Some(current) => Self::WrongState { id: e.id, current },
                None => Self::Unknown {
                    data: e.abi_encode().into(),
                },
            },
            E::OwnAgreement(e) => Self::OwnAgreement { id: e.id },
            E::NotCreator(e) => Self::NotCreator {
                id: e.id,
                caller: e.caller,
            },
            E::NotProvider(e) => Self::NotProvider {
                id: e.id,
                caller: e.caller,
            },
            E::NotParty(e) => Self::NotParty {
                id: e.id,
                caller: e.caller,
            },
            E::DeadlinePassed(e) => Self::DeadlinePassed {
                id: e.id,
                deadline: e.deadline,
            },
            E::NotExpired(e) => Self::NotExpired { id: e.id },
            E::ConfirmWindowOpen(e) => Self::ConfirmWindowOpen {
                id: e.id,
                deadline: e.deadline,
            },
            E::NoSuchBid(e) => Self::NoSuchBid {
                id: e.id,
                bidder: e.bidder,
            },
            E::TooManyBids(e) => Self::TooManyBids { id: e.id },
            E::WrongPayment(e) => Self::WrongPayment {
                expected: e.expected,
                sent: e.sent,
            },
            E::InvalidDeadlines(_) => Self::InvalidDeadlines,
            E::InvalidTerms(_) => Self::InvalidTerms,
            E::TooLong(e) => Self::TooLong {
                length: e.length,
                limit: e.limit,
            },
            E::Empty(_) => Self::Empty,
            E::NothingOwed(e) => Self::NothingOwed { account: e.account },
            E::TransferFailed(e) => Self::TransferFailed { account: e.account },
        }
    }
}

impl From<ConsortiumErrors> for Refusal {
    fn from(error: ConsortiumErrors) -> Self {
        use ConsortiumErrors as E;
        match error {
            E::NotMember(e) => Self::NotMember { account: e.account },
            E::AlreadyMember(e) => Self::AlreadyMember { account: e.account },
            E::NameTaken(e) => Self::NameTaken { name: e.name },
            E::ValidatorKeyTaken(e) => Self::ValidatorKeyTaken { key: e.key },
            E::InvalidMember(e) => Self::InvalidMember { field: e.field },
            E::UnknownProposal(e) => Self::UnknownProposal { id: e.id },
            E::ProposalClosed(e) => Self::ProposalClosed { id: e.id },
            E::AlreadyApproved(e) => Self::AlreadyApproved { id: e.id, by: e.by },
            E::NotProposer(e) => Self::NotProposer { id: e.id, by: e.by },
            E::RemovesTooMuchPower(e) => Self::RemovesTooMuchPower { members: e.members },
            E::BelowFaultTolerance(e) => Self::BelowFaultTolerance { members: e.members },
            E::ChangeInThisBlock(_) => Self::ChangeInThisBlock,
            E::LiveAgreements(e) => Self::LiveAgreements {
                account: e.account,
                count: e.count,
            },
            E::InvalidParameters(_) => Self::InvalidParameters,
            E::TooManyMembers(e) => Self::TooManyMembers { limit: e.limit },
            E::TooManyProposals(e) => Self::TooManyProposals {
                proposer: e.proposer,
                limit: e.limit,
            },
            E::RotatedRecently(e) => Self::RotatedRecently {
                account: e.account,
                until: e.until,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_contracts::{Consortium, Federation};

    use super::*;

    /// Those that the tests against a chain do not provoke: 64 members or bids, a contract as member, a newer contract.
    #[test]
    fn rare_errors_are_read_too() {
        let id = B256::repeat_byte(7);
        let account = Address::repeat_byte(8);
        let limit = U256::from(64);
        let cases = [
            (Federation::TooManyBids { id }.abi_encode(), Refusal::TooManyBids { id }),
            (
                Federation::TransferFailed { account }.abi_encode(),
                Refusal::TransferFailed { account },
            ),
            (
                Consortium::TooManyMembers { limit }.abi_encode(),
                Refusal::TooManyMembers { limit },
            ),
        ];
        for (data, refusal) in cases {
            assert_eq!(Refusal::decode(&data), refusal);
        }
        let newer = Federation::WrongState { id, current: 99 }.abi_encode();
        for strange in [&newer[..], b"", b"\x01\x02\x03\x04\x05"] {
            assert!(matches!(Refusal::decode(strange), Refusal::Unknown { data } if *data == *strange));
        }
    }
}
