//! What the ledger tells, as far as federation and its subscribers care.

use hanse_agreement::{Account, AgreementId};
use hanse_ledger::{Cursor, Event};
use serde_json::{Value, json};

use crate::federation::account;

/// An event and where it stands in the sequence of all.
#[derive(Debug, Clone)]
pub struct Told {
    /// Where to resume behind it.
    pub cursor: Cursor,
    /// Hash of the transaction.
    pub tx: String,
    /// What happened.
    pub what: Happening,
}

/// An event: its name in the contract, its fields, and what this crate has to know of it.
#[derive(Debug, Clone)]
pub struct Happening {
    /// Name of the contract's event.
    pub name: &'static str,
    /// The event's fields.
    pub fields: Value,
    /// The agreement that it is about.
    pub agreement: Option<AgreementId>,
    /// What this domain may have to do about it.
    pub matter: Matter,
}

/// What a domain may have to act on, or can learn from an event alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    /// Someone looks for a provider.
    Announced { creator: Account },
    /// Someone was chosen.
    Awarded {
        provider: Account,
        sealed_parameters: Vec<u8>,
    },
    /// A provider says where the service answers.
    Deployed { sealed_endpoint: Vec<u8> },
    /// Everything else is seen in the ledger's state.
    Other,
}

/// Names of all events, for subscriptions.
pub const NAMES: [&str; 19] = [
    "Announced",
    "BidPlaced",
    "Awarded",
    "Deployed",
    "Confirmed",
    "Terminated",
    "Cancelled",
    "Expired",
    "Withdrawn",
    "MemberAdmitted",
    "MemberRemoved",
    "MemberLeft",
    "MemberUpdated",
    "ValidatorKeyRotated",
    "ProposalMade",
    "ProposalApproved",
    "ProposalPassed",
    "ProposalWithdrawn",
    "ConsensusParametersChanged",
];

impl From<Event> for Happening {
    fn from(event: Event) -> Self {
        let about = |name, id: alloy::primitives::B256, mut fields: Value| {
            let id = AgreementId(id.0);
            fields["id"] = json!(id);
            Self {
                name,
                fields,
                agreement: Some(id),
                matter: Matter::Other,
            }
        };
        let member = |name, who: alloy::primitives::Address| Self {
            name,
            fields: json!({ "account": who }),
            agreement: None,
            matter: Matter::Other,
        };
        let proposal = |name, id: alloy::primitives::U256, fields: Value| {
            let mut fields = fields;
            fields["id"] = json!(id.to_string());
            Self {
                name,
                fields,
                agreement: None,
                matter: Matter::Other,
            }
        };
        match event {
            Event::Announced(it) => Self {
                matter: Matter::Announced {
                    creator: account(it.creator),
                },
                ..about(
                    "Announced",
                    it.id,
                    json!({
                        "creator": it.creator, "description": it.description, "manifestHash": it.manifestHash,
                        "bidDeadline": it.bidDeadline, "deployDeadline": it.deployDeadline,
                    }),
                )
            },
            Event::BidPlaced(it) => about(
                "BidPlaced",
                it.id,
                json!({
                    "bidder": it.bidder, "pricePerHour": it.pricePerHour.to_string(), "sequence": it.sequence,
                    "replaced": it.replaced,
                }),
            ),
            Event::Awarded(it) => Self {
                matter: Matter::Awarded {
                    provider: account(it.provider),
                    sealed_parameters: it.sealedParameters.to_vec(),
                },
                ..about(
                    "Awarded",
                    it.id,
                    json!({
                        "provider": it.provider, "pricePerHour": it.pricePerHour.to_string(),
                        "escrow": it.escrow.to_string(),
                    }),
                )
            },
            Event::Deployed(it) => Self {
                matter: Matter::Deployed {
                    sealed_endpoint: it.sealedEndpoint.to_vec(),
                },
                ..about(
                    "Deployed",
                    it.id,
                    json!({
                        "provider": it.provider, "endpointHash": it.endpointHash, "confirmDeadline": it.confirmDeadline,
                    }),
                )
            },
            Event::Confirmed(it) => about(
                "Confirmed",
                it.id,
                json!({ "by": it.by, "released": it.released.to_string() }),
            ),
            Event::Terminated(it) => about(
                "Terminated",
                it.id,
                json!({ "by": it.by, "servedSeconds": it.servedSeconds }),
            ),
            Event::Cancelled(it) => about(
                "Cancelled",
                it.id,
                json!({ "by": it.by, "refunded": it.refunded.to_string(), "reason": it.reason }),
            ),
            Event::Expired(it) => about(
                "Expired",
                it.id,
                json!({ "by": it.by, "refunded": it.refunded.to_string() }),
            ),
            Event::Withdrawn(it) => Self {
                fields: json!({ "account": it.account, "amount": it.amount.to_string() }),
                ..member("Withdrawn", it.account)
            },
            Event::MemberAdmitted(it) => member("MemberAdmitted", it.account),
            Event::MemberRemoved(it) => member("MemberRemoved", it.account),
            Event::MemberLeft(it) => member("MemberLeft", it.account),
            Event::MemberUpdated(it) => member("MemberUpdated", it.account),
            Event::ValidatorKeyRotated(it) => member("ValidatorKeyRotated", it.account),
            Event::ProposalMade(it) => proposal("ProposalMade", it.id, json!({ "proposer": it.proposer })),
            Event::ProposalApproved(it) => proposal("ProposalApproved", it.id, json!({ "by": it.by })),
            Event::ProposalPassed(it) => proposal("ProposalPassed", it.id, json!({})),
            Event::ProposalWithdrawn(it) => proposal("ProposalWithdrawn", it.id, json!({})),
            Event::ConsensusParametersChanged(_) => {
                let (fields, matter) = (json!({}), Matter::Other);
                Self {
                    name: "ConsensusParametersChanged",
                    fields,
                    agreement: None,
                    matter,
                }
            }
            // The enumeration may grow with the contracts.
            _ => Self {
                name: "Unknown",
                fields: json!({}),
                agreement: None,
                matter: Matter::Other,
            },
        }
    }
}
