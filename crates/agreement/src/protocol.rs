//! The state of a federation and the one function that changes it. The transitions are to be read beside
//! `contracts/src/Federation.sol`: same steps, same checks, same order.

mod checks;
mod transitions;

use std::collections::{BTreeMap, BTreeSet};

use crate::{Account, Action, Agreement, AgreementId, Amount, Bid, Effect, Input, Rejection};
use transitions::Choice;

/// All that the contract `Federation` keeps, and the member list that it asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Federation {
    /// The consortium's members. Changed by its votes, not by [`apply`].
    pub members: BTreeSet<Account>,
    entries: BTreeMap<AgreementId, Entry>,
    owed: BTreeMap<Account, Amount>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    agreement: Agreement,
    bids: Vec<Bid>,
    last_sequence: u64,
}

/// What `input` makes of `federation` at the time `now`, and the events of it; or why it changes nothing.
pub fn apply(federation: &Federation, input: &Input, now: u64) -> Result<(Federation, Vec<Effect>), Rejection> {
    let mut next = federation.clone();
    let effect = next.step(input.caller, &input.action, now)?;
    Ok((next, vec![effect]))
}

impl Federation {
    /// A federation between these members that has no agreements yet.
    pub fn new(members: impl IntoIterator<Item = Account>) -> Self {
        Self {
            members: members.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The agreement, if there is one of this id.
    pub fn agreement(&self, id: AgreementId) -> Option<&Agreement> {
        self.entries.get(&id).map(|entry| &entry.agreement)
    }

    /// All agreements, in the order of their ids.
    pub fn agreements(&self) -> impl Iterator<Item = &Agreement> {
        self.entries.values().map(|entry| &entry.agreement)
    }

    /// The bids of an agreement; a replaced bid stays at its place.
    pub fn bids(&self, id: AgreementId) -> &[Bid] {
        self.entries.get(&id).map_or(&[], |entry| &entry.bids)
    }

    /// What a withdrawal would pay.
    pub fn owed(&self, account: Account) -> Amount {
        self.owed.get(&account).copied().unwrap_or(Amount::ZERO)
    }

    /// All that is held: in escrow and owed.
    pub fn balance(&self) -> Amount {
        self.agreements()
            .map(|agreement| agreement.escrow)
            .chain(self.owed.values().copied())
            .sum()
    }

    /// Live agreements of which the account is creator or provider.
    pub fn live_agreements(&self, account: Account) -> usize {
        self.agreements()
            .filter(|agreement| agreement.state.is_live() && agreement.is_party(account))
            .count()
    }

    fn step(&mut self, caller: Account, action: &Action, now: u64) -> Result<Effect, Rejection> {
        match action {
            Action::Announce(announcement) => self.announce(caller, announcement, now),
            Action::PlaceBid {
                id,
                price_per_hour,
                location,
                offer,
            } => self.place_bid(caller, *id, *price_per_hour, location, *offer, now),
            Action::Choose {
                id,
                bidder,
                sequence,
                hours_paid,
                sealed_parameters,
                payment,
            } => {
                let wanted = Choice {
                    bidder: *bidder,
                    sequence: *sequence,
                    hours_paid: *hours_paid,
                };
                self.choose(caller, *id, wanted, sealed_parameters, *payment, now)
            }
            Action::Deployed { id, sealed_endpoint } => self.deployed(caller, *id, sealed_endpoint, now),
            Action::Confirm { id } => self.confirm(caller, *id, now),
            Action::Settle { id } => self.settle(caller, *id, now),
            Action::Cancel { id, reason } => self.cancel(caller, *id, reason, now),
            Action::Decline { id, reason } => self.decline(caller, *id, reason, now),
            Action::Expire { id } => self.expire(caller, *id, now),
            Action::Terminate { id } => self.terminate(caller, *id, now),
            Action::Withdraw { accepted } => self.withdraw(caller, *accepted),
        }
    }
}
