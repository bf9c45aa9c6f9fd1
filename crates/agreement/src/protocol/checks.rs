//! What has to hold for a transition; each check refuses with the contract's error.

use super::{Entry, Federation};
use crate::{Account, Agreement, AgreementId, Rejection, State, Terms, limits};

impl Federation {
    pub(super) fn known(&self, id: AgreementId) -> Result<&Entry, Rejection> {
        self.entries.get(&id).ok_or(Rejection::UnknownAgreement { id })
    }

    pub(super) fn known_mut(&mut self, id: AgreementId) -> Result<&mut Entry, Rejection> {
        self.entries.get_mut(&id).ok_or(Rejection::UnknownAgreement { id })
    }

    pub(super) fn require_member(&self, account: Account) -> Result<(), Rejection> {
        if self.members.contains(&account) {
            Ok(())
        } else {
            Err(Rejection::NotMember { account })
        }
    }

    pub(super) fn lost_party(&self, agreement: &Agreement) -> bool {
        !self.members.contains(&agreement.creator)
            || agreement
                .provider
                .is_some_and(|provider| !self.members.contains(&provider))
    }
}

pub(super) fn missed_deadline(agreement: &Agreement, now: u64) -> bool {
    match agreement.state {
        State::Open if agreement.bid_count == 0 => now > agreement.announcement.bid_deadline,
        State::Open | State::Awarded => now > agreement.announcement.deploy_deadline,
        _ => false,
    }
}

pub(super) fn require_state(agreement: &Agreement, wanted: &[State]) -> Result<(), Rejection> {
    if wanted.contains(&agreement.state) {
        Ok(())
    } else {
        Err(Rejection::WrongState {
            id: agreement.id(),
            current: agreement.state,
        })
    }
}

pub(super) fn require_creator(agreement: &Agreement, caller: Account) -> Result<(), Rejection> {
    if agreement.creator == caller {
        Ok(())
    } else {
        Err(Rejection::NotCreator {
            id: agreement.id(),
            caller,
        })
    }
}

pub(super) fn require_provider(agreement: &Agreement, caller: Account) -> Result<(), Rejection> {
    if agreement.provider == Some(caller) {
        Ok(())
    } else {
        Err(Rejection::NotProvider {
            id: agreement.id(),
            caller,
        })
    }
}

pub(super) fn require_in_time(id: AgreementId, deadline: u64, now: u64) -> Result<(), Rejection> {
    if now <= deadline {
        Ok(())
    } else {
        Err(Rejection::DeadlinePassed { id, deadline })
    }
}

pub(super) fn require_short(length: usize, limit: usize) -> Result<(), Rejection> {
    if length <= limit {
        Ok(())
    } else {
        Err(Rejection::TooLong {
            length: length as u64,
            limit: limit as u64,
        })
    }
}

pub(super) fn require_meaningful(terms: &Terms) -> Result<(), Rejection> {
    if terms.replicas >= 1 && terms.availability_bps <= limits::AVAILABILITY_BPS {
        Ok(())
    } else {
        Err(Rejection::InvalidTerms)
    }
}
