//! From the bindings to the types of `hanse-agreement` and back. What a contract of this repository never gives (an
//! unknown state number, the placeholder state 0) is an error, because the address may hold something else.

use alloy::primitives::{Address, B256, U256};
use hanse_agreement as model;

use crate::Federation::{FederationErrors, FederationEvents};
use crate::IFederation;

/// A number that is no state of an agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ledger gave {0} as the state of an agreement; is the contract at this address a Federation of this version?"
)]
pub struct UnknownState(pub u8);

fn account(address: Address) -> model::Account {
    model::Account(address.into_array())
}

fn optional_account(address: Address) -> Option<model::Account> {
    (!address.is_zero()).then(|| account(address))
}

fn id(id: B256) -> model::AgreementId {
    model::AgreementId(id.0)
}

fn amount(wei: U256) -> model::Amount {
    model::Amount::from_be_bytes(wei.to_be_bytes())
}

fn length(bytes: U256) -> u64 {
    bytes.saturating_to()
}

/// Zero is how the contract says "not yet".
fn optional_time(seconds: u64) -> Option<u64> {
    (seconds != 0).then_some(seconds)
}

impl TryFrom<IFederation::State> for model::State {
    type Error = UnknownState;

    fn try_from(state: IFederation::State) -> Result<Self, UnknownState> {
        let code = state.into_underlying();
        Self::from_code(code).ok_or(UnknownState(code))
    }
}

impl From<IFederation::Terms> for model::Terms {
    fn from(terms: IFederation::Terms) -> Self {
        Self {
            availability_bps: terms.availabilityBps,
            latency_ms: terms.latencyMs,
            jitter_ms: terms.jitterMs,
            bandwidth_mbps: terms.bandwidthMbps,
            cpu_millicores: terms.cpuMillicores,
            ram_mb: terms.ramMb,
            replicas: terms.replicas,
        }
    }
}

impl From<model::Terms> for IFederation::Terms {
    fn from(terms: model::Terms) -> Self {
        Self {
            availabilityBps: terms.availability_bps,
            latencyMs: terms.latency_ms,
            jitterMs: terms.jitter_ms,
            bandwidthMbps: terms.bandwidth_mbps,
            cpuMillicores: terms.cpu_millicores,
            ramMb: terms.ram_mb,
            replicas: terms.replicas,
        }
    }
}

impl From<IFederation::Announcement> for model::Announcement {
    fn from(announcement: IFederation::Announcement) -> Self {
        Self {
            id: id(announcement.id),
            description: announcement.description,
            requirements: announcement.requirements.into(),
            manifest_hash: model::Hash(announcement.manifestHash.0),
            bid_deadline: announcement.bidDeadline,
            deploy_deadline: announcement.deployDeadline,
            confirm_window: announcement.confirmWindow,
        }
    }
}

impl From<model::Announcement> for IFederation::Announcement {
    fn from(announcement: model::Announcement) -> Self {
        Self {
            id: announcement.id.0.into(),
            description: announcement.description,
            requirements: announcement.requirements.into(),
            manifestHash: announcement.manifest_hash.0.into(),
            bidDeadline: announcement.bid_deadline,
            deployDeadline: announcement.deploy_deadline,
            confirmWindow: announcement.confirm_window,
        }
    }
}

impl From<IFederation::Bid> for model::Bid {
    fn from(bid: IFederation::Bid) -> Self {
        Self {
            bidder: account(bid.bidder),
            price_per_hour: model::Price(bid.pricePerHour),
            sequence: bid.sequence,
            location: bid.location,
            offer: bid.offer.into(),
        }
    }
}

impl TryFrom<IFederation::Agreement> for model::Agreement {
    type Error = UnknownState;

    fn try_from(agreement: IFederation::Agreement) -> Result<Self, UnknownState> {
        Ok(Self {
            announcement: agreement.announcement.into(),
            state: IFederation::State::from_underlying(agreement.state).try_into()?,
            creator: account(agreement.creator),
            provider: optional_account(agreement.provider),
            price_per_hour: model::Price(agreement.pricePerHour),
            hours_paid: agreement.hoursPaid,
            escrow: amount(agreement.escrow),
            endpoint_hash: (!agreement.endpointHash.is_zero()).then_some(model::Hash(agreement.endpointHash.0)),
            confirm_deadline: optional_time(agreement.confirmDeadline),
            bid_count: agreement.bidCount,
            announced_at: agreement.announcedAt,
            changed_at: agreement.changedAt,
            confirmed_at: optional_time(agreement.confirmedAt),
        })
    }
}

impl TryFrom<FederationEvents> for model::Effect {
    type Error = UnknownState;

    fn try_from(event: FederationEvents) -> Result<Self, UnknownState> {
        use FederationEvents as E;
        Ok(match event {
            E::Announced(e) => Self::Announced {
                id: id(e.id),
                creator: account(e.creator),
                description: e.description,
                manifest_hash: model::Hash(e.manifestHash.0),
                bid_deadline: e.bidDeadline,
                deploy_deadline: e.deployDeadline,
            },
            E::BidPlaced(e) => Self::BidPlaced {
                id: id(e.id),
                bidder: account(e.bidder),
                price_per_hour: model::Price(e.pricePerHour),
                sequence: e.sequence,
                replaced: e.replaced,
            },
            E::Awarded(e) => Self::Awarded {
                id: id(e.id),
                provider: account(e.provider),
                price_per_hour: model::Price(e.pricePerHour),
                escrow: amount(e.escrow),
                sealed_parameters: e.sealedParameters.into(),
            },
            E::Deployed(e) => Self::Deployed {
                id: id(e.id),
                provider: account(e.provider),
                endpoint_hash: model::Hash(e.endpointHash.0),
                confirm_deadline: e.confirmDeadline,
                sealed_endpoint: e.sealedEndpoint.into(),
            },
            E::Confirmed(e) => Self::Confirmed {
                id: id(e.id),
                by: account(e.by),
                released: amount(e.released),
            },
            E::Terminated(e) => Self::Terminated {
                id: id(e.id),
                by: account(e.by),
                served_seconds: e.servedSeconds,
            },
            E::Cancelled(e) => Self::Cancelled {
                id: id(e.id),
                by: account(e.by),
                refunded: amount(e.refunded),
                reason: e.reason,
            },
            E::Expired(e) => Self::Expired {
                id: id(e.id),
                by: account(e.by),
                was: IFederation::State::from_underlying(e.was).try_into()?,
                refunded: amount(e.refunded),
            },
            E::Withdrawn(e) => Self::Withdrawn {
                account: account(e.account),
                amount: amount(e.amount),
            },
        })
    }
}

impl TryFrom<FederationErrors> for model::Rejection {
    type Error = UnknownState;

    fn try_from(error: FederationErrors) -> Result<Self, UnknownState> {
        use FederationErrors as E;
        Ok(match error {
            E::NotMember(e) => Self::NotMember {
                account: account(e.account),
            },
            E::IdTaken(e) => Self::IdTaken { id: id(e.id) },
            E::UnknownAgreement(e) => Self::UnknownAgreement { id: id(e.id) },
            E::WrongState(e) => Self::WrongState {
                id: id(e.id),
                current: IFederation::State::from_underlying(e.current).try_into()?,
            },
            E::OwnAgreement(e) => Self::OwnAgreement { id: id(e.id) },
            E::NotCreator(e) => Self::NotCreator {
                id: id(e.id),
                caller: account(e.caller),
            },
            E::NotProvider(e) => Self::NotProvider {
                id: id(e.id),
                caller: account(e.caller),
            },
            E::NotParty(e) => Self::NotParty {
                id: id(e.id),
                caller: account(e.caller),
            },
            E::DeadlinePassed(e) => Self::DeadlinePassed {
                id: id(e.id),
                deadline: e.deadline,
            },
            E::NotExpired(e) => Self::NotExpired { id: id(e.id) },
            E::ConfirmWindowOpen(e) => Self::ConfirmWindowOpen {
                id: id(e.id),
                deadline: e.deadline,
            },
            E::NoSuchBid(e) => Self::NoSuchBid {
                id: id(e.id),
                bidder: account(e.bidder),
            },
            E::TooManyBids(e) => Self::TooManyBids { id: id(e.id) },
            E::WrongPayment(e) => Self::WrongPayment {
                expected: amount(e.expected),
                sent: amount(e.sent),
            },
            E::InvalidDeadlines(_) => Self::InvalidDeadlines,
            E::InvalidTerms(_) => Self::InvalidTerms,
            E::TooLong(e) => Self::TooLong {
                length: length(e.length),
                limit: length(e.limit),
            },
            E::Empty(_) => Self::Empty,
            E::NothingOwed(e) => Self::NothingOwed {
                account: account(e.account),
            },
            E::TransferFailed(e) => Self::TransferFailed {
                account: account(e.account),
            },
        })
    }
}
