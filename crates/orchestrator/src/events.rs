//! What the ledger tells, as far as federation and its subscribers care.

use hanse_agreement::{AgreementId, Effect};
use hanse_ledger::{Cursor, Event};
use serde_json::{Value, json};

/// An event and where it stands in the sequence of all.
#[derive(Debug, Clone)]
pub struct Told {
    /// Where to resume behind it.
    pub cursor: Cursor,
    /// Tells it from every other event, also if the chain replaces its block and it comes again.
    pub digest: [u8; 32],
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
    /// The event's fields, without those that are sealed to somebody.
    pub fields: Value,
    /// The agreement that it is about.
    pub agreement: Option<AgreementId>,
    /// What it does to that agreement.
    pub effect: Option<Effect>,
}

impl From<Event> for Happening {
    fn from(event: Event) -> Self {
        let agreement = event.agreement();
        let mut fields = fields(&event);
        if let Some(id) = agreement {
            fields["id"] = json!(AgreementId(id.0));
        }
        Self {
            name: event.name(),
            fields,
            agreement: agreement.map(|id| AgreementId(id.0)),
            effect: event.effect(),
        }
    }
}

/// What webhooks are told, beside the agreement's id.
fn fields(event: &Event) -> Value {
    match event {
        Event::Announced(it) => json!({
            "creator": it.creator, "description": it.description, "manifestHash": it.manifestHash,
            "bidDeadline": it.bidDeadline, "deployDeadline": it.deployDeadline,
        }),
        Event::BidPlaced(it) => json!({
            "bidder": it.bidder, "pricePerHour": it.pricePerHour.to_string(), "sequence": it.sequence,
            "replaced": it.replaced,
        }),
        Event::Awarded(it) => json!({
            "provider": it.provider, "pricePerHour": it.pricePerHour.to_string(), "escrow": it.escrow.to_string(),
        }),
        Event::Deployed(it) => json!({
            "provider": it.provider, "endpointHash": it.endpointHash, "confirmDeadline": it.confirmDeadline,
        }),
        Event::Confirmed(it) => json!({ "by": it.by, "released": it.released.to_string() }),
        Event::Terminated(it) => json!({ "by": it.by, "servedSeconds": it.servedSeconds }),
        Event::Cancelled(it) => json!({ "by": it.by, "refunded": it.refunded.to_string(), "reason": it.reason }),
        Event::Expired(it) => json!({ "by": it.by, "refunded": it.refunded.to_string() }),
        Event::Withdrawn(it) => json!({ "account": it.account, "amount": it.amount.to_string() }),
        Event::MemberAdmitted(it) => json!({ "account": it.account }),
        Event::MemberRemoved(it) => json!({ "account": it.account }),
        Event::MemberLeft(it) => json!({ "account": it.account }),
        Event::MemberUpdated(it) => json!({ "account": it.account }),
        Event::ValidatorKeyRotated(it) => json!({ "account": it.account }),
        Event::ProposalMade(it) => json!({ "id": it.id.to_string(), "proposer": it.proposer }),
        Event::ProposalApproved(it) => json!({ "id": it.id.to_string(), "by": it.by }),
        Event::ProposalPassed(it) => json!({ "id": it.id.to_string() }),
        Event::ProposalWithdrawn(it) => json!({ "id": it.id.to_string() }),
        // The enumeration may grow with the contracts.
        _ => json!({}),
    }
}
