//! One function for each of the contract's.

use sha3::{Digest, Keccak256};

use super::checks::{
    missed_deadline, require_creator, require_in_time, require_meaningful, require_provider, require_short,
    require_state,
};
use super::{Entry, Federation};
use crate::{
    Account, Agreement, AgreementId, Amount, Announcement, Bid, Effect, Hash, Price, Rejection, State, Terms, limits,
};

/// Which bid the creator saw and takes.
pub(super) struct Choice {
    pub bidder: Account,
    pub sequence: u64,
    pub hours_paid: u32,
}

impl Federation {
    pub(super) fn announce(
        &mut self,
        caller: Account,
        announcement: &Announcement,
        now: u64,
    ) -> Result<Effect, Rejection> {
        self.require_member(caller)?;
        let id = announcement.id;
        if self.entries.contains_key(&id) {
            return Err(Rejection::IdTaken { id });
        }
        require_short(announcement.description.len(), limits::DESCRIPTION)?;
        require_meaningful(&announcement.requirements)?;
        if announcement.bid_deadline <= now
            || announcement.deploy_deadline <= announcement.bid_deadline
            || announcement.confirm_window == 0
        {
            return Err(Rejection::InvalidDeadlines);
        }

        let agreement = Agreement {
            announcement: announcement.clone(),
            state: State::Open,
            creator: caller,
            provider: None,
            price_per_hour: Price(0),
            hours_paid: 0,
            escrow: Amount::ZERO,
            endpoint_hash: None,
            confirm_deadline: None,
            bid_count: 0,
            announced_at: now,
            changed_at: now,
            confirmed_at: None,
        };
        let entry = Entry {
            agreement,
            bids: Vec::new(),
            last_sequence: 0,
        };
        self.entries.insert(id, entry);
        Ok(Effect::Announced {
            id,
            creator: caller,
            description: announcement.description.clone(),
            manifest_hash: announcement.manifest_hash,
            bid_deadline: announcement.bid_deadline,
            deploy_deadline: announcement.deploy_deadline,
        })
    }

    pub(super) fn place_bid(
        &mut self,
        caller: Account,
        id: AgreementId,
        price_per_hour: Price,
        location: &str,
        offer: Terms,
        now: u64,
    ) -> Result<Effect, Rejection> {
        let agreement = &self.known(id)?.agreement;
        require_state(agreement, &[State::Open])?;
        self.require_member(caller)?;
        if caller == agreement.creator {
            return Err(Rejection::OwnAgreement { id });
        }
        require_in_time(id, agreement.announcement.bid_deadline, now)?;
        require_short(location.len(), limits::LOCATION)?;
        require_meaningful(&offer)?;

        let entry = self.known_mut(id)?;
        let sequence = entry.last_sequence + 1;
        let bid = Bid {
            bidder: caller,
            price_per_hour,
            sequence,
            location: location.to_owned(),
            offer,
        };
        let earlier = entry.bids.iter().position(|bid| bid.bidder == caller);
        match earlier {
            Some(position) => entry.bids[position] = bid,
            None if entry.bids.len() == limits::BIDS => return Err(Rejection::TooManyBids { id }),
            None => {
                entry.bids.push(bid);
                entry.agreement.bid_count += 1;
            }
        }
        entry.last_sequence = sequence;
        Ok(Effect::BidPlaced {
            id,
            bidder: caller,
            price_per_hour,
            sequence,
            replaced: earlier.is_some(),
        })
    }

    pub(super) fn choose(
        &mut self,
        caller: Account,
        id: AgreementId,
        wanted: Choice,
        sealed_parameters: &[u8],
        payment: Amount,
        now: u64,
    ) -> Result<Effect, Rejection> {
        let Choice {
            bidder,
            sequence,
            hours_paid,
        } = wanted;
        let entry = self.known(id)?;
        let agreement = &entry.agreement;
        require_state(agreement, &[State::Open])?;
        require_creator(agreement, caller)?;
        self.require_member(caller)?;
        require_in_time(id, agreement.announcement.deploy_deadline, now)?;
        let price_per_hour = entry
            .bids
            .iter()
            .find(|bid| bid.bidder == bidder && bid.sequence == sequence)
            .ok_or(Rejection::NoSuchBid { id, bidder })?
            .price_per_hour;
        self.require_member(bidder)?;
        require_short(sealed_parameters.len(), limits::SEALED)?;
        let expected = price_per_hour.for_hours(hours_paid);
        if payment != expected {
            return Err(Rejection::WrongPayment {
                expected,
                sent: payment,
            });
        }

        let agreement = &mut self.known_mut(id)?.agreement;
        agreement.provider = Some(bidder);
        agreement.price_per_hour = price_per_hour;
        agreement.hours_paid = hours_paid;
        agreement.escrow = payment;
        enter(agreement, State::Awarded, now);
        Ok(Effect::Awarded {
            id,
            provider: bidder,
            price_per_hour,
            escrow: payment,
            sealed_parameters: sealed_parameters.to_vec(),
        })
    }

    pub(super) fn deployed(
        &mut self,
        caller: Account,
        id: AgreementId,
        sealed_endpoint: &[u8],
        now: u64,
    ) -> Result<Effect, Rejection> {
        let agreement = &self.known(id)?.agreement;
        require_state(agreement, &[State::Awarded])?;
        require_provider(agreement, caller)?;
        self.require_member(caller)?;
        require_in_time(id, agreement.announcement.deploy_deadline, now)?;
        if sealed_endpoint.is_empty() {
            return Err(Rejection::Empty);
        }
        require_short(sealed_endpoint.len(), limits::SEALED)?;

        let endpoint_hash = Hash(Keccak256::digest(sealed_endpoint).into());
        let agreement = &mut self.known_mut(id)?.agreement;
        let confirm_deadline = now + u64::from(agreement.announcement.confirm_window);
        agreement.endpoint_hash = Some(endpoint_hash);
        agreement.confirm_deadline = Some(confirm_deadline);
        enter(agreement, State::Deployed, now);
        Ok(Effect::Deployed {
            id,
            provider: caller,
            endpoint_hash,
            confirm_deadline,
            sealed_endpoint: sealed_endpoint.to_vec(),
        })
    }

    pub(super) fn confirm(&mut self, caller: Account, id: AgreementId, now: u64) -> Result<Effect, Rejection> {
        let agreement = &self.known(id)?.agreement;
        require_state(agreement, &[State::Deployed])?;
        require_creator(agreement, caller)?;
        self.release(id, caller, now)
    }

    pub(super) fn settle(&mut self, caller: Account, id: AgreementId, now: u64) -> Result<Effect, Rejection> {
        let agreement = &self.known(id)?.agreement;
        require_state(agreement, &[State::Deployed])?;
        if let Some(deadline) = agreement.confirm_deadline.filter(|deadline| now <= *deadline) {
            return Err(Rejection::ConfirmWindowOpen { id, deadline });
        }
        self.release(id, caller, now)
    }

    pub(super) fn cancel(
        &mut self,
        caller: Account,
        id: AgreementId,
        reason: &str,
        now: u64,
    ) -> Result<Effect, Rejection> {
        let agreement = &self.known(id)?.agreement;
        require_state(agreement, &[State::Open, State::Awarded, State::Deployed])?;
        require_creator(agreement, caller)?;
        if let Some(deadline) = agreement.confirm_deadline {
            require_in_time(id, deadline, now)?;
        }
        self.give_up(caller, id, reason, now)
    }

    pub(super) fn decline(
        &mut self,
        caller: Account,
        id: AgreementId,
        reason: &str,
        now: u64,
    ) -> Result<Effect, Rejection> {
        let agreement = &self.known(id)?.agreement;
        require_state(agreement, &[State::Awarded, State::Deployed])?;
        require_provider(agreement, caller)?;
        self.give_up(caller, id, reason, now)
    }

    fn give_up(&mut self, caller: Account, id: AgreementId, reason: &str, now: u64) -> Result<Effect, Rejection> {
        require_short(reason.len(), limits::REASON)?;
        let refunded = self.refund(id, State::Cancelled, now)?;
        Ok(Effect::Cancelled {
            id,
            by: caller,
            refunded,
            reason: reason.to_owned(),
        })
    }

    pub(super) fn expire(&mut self, caller: Account, id: AgreementId, now: u64) -> Result<Effect, Rejection> {
        let agreement = &self.known(id)?.agreement;
        let was = agreement.state;
        require_state(
            agreement,
            &[State::Open, State::Awarded, State::Deployed, State::Confirmed],
        )?;
        let due = was == State::Deployed && agreement.confirm_deadline.is_some_and(|deadline| now > deadline);
        if due || !(missed_deadline(agreement, now) || self.lost_party(agreement)) {
            return Err(Rejection::NotExpired { id });
        }
        let refunded = self.refund(id, State::Expired, now)?;
        Ok(Effect::Expired {
            id,
            by: caller,
            was,
            refunded,
        })
    }

    pub(super) fn terminate(&mut self, caller: Account, id: AgreementId, now: u64) -> Result<Effect, Rejection> {
        let agreement = &self.known(id)?.agreement;
        require_state(agreement, &[State::Confirmed])?;
        if !agreement.is_party(caller) {
            return Err(Rejection::NotParty { id, caller });
        }
        let agreement = &mut self.known_mut(id)?.agreement;
        enter(agreement, State::Terminated, now);
        Ok(Effect::Terminated {
            id,
            by: caller,
            served_seconds: agreement.served_seconds(now),
        })
    }

    pub(super) fn withdraw(&mut self, caller: Account, accepted: bool) -> Result<Effect, Rejection> {
        let amount = self.owed(caller);
        if amount.is_zero() {
            return Err(Rejection::NothingOwed { account: caller });
        }
        if !accepted {
            return Err(Rejection::TransferFailed { account: caller });
        }
        self.owed.remove(&caller);
        Ok(Effect::Withdrawn {
            account: caller,
            amount,
        })
    }

    // Shared steps

    fn refund(&mut self, id: AgreementId, end: State, now: u64) -> Result<Amount, Rejection> {
        let agreement = &mut self.known_mut(id)?.agreement;
        let refunded = std::mem::take(&mut agreement.escrow);
        let creator = agreement.creator;
        enter(agreement, end, now);
        self.owe(creator, refunded);
        Ok(refunded)
    }

    fn release(&mut self, id: AgreementId, by: Account, now: u64) -> Result<Effect, Rejection> {
        let agreement = &mut self.known_mut(id)?.agreement;
        let released = std::mem::take(&mut agreement.escrow);
        let provider = agreement.provider.expect("what is deployed has a provider");
        agreement.confirmed_at = Some(now);
        enter(agreement, State::Confirmed, now);
        self.owe(provider, released);
        Ok(Effect::Confirmed { id, by, released })
    }

    fn owe(&mut self, account: Account, amount: Amount) {
        let total = [self.owed(account), amount].into_iter().sum::<Amount>();
        if !total.is_zero() {
            self.owed.insert(account, total);
        }
    }
}

fn enter(agreement: &mut Agreement, next: State, now: u64) {
    agreement.state = next;
    agreement.changed_at = now;
}
