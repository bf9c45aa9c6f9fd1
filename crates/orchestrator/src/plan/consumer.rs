//! What a consumer does next in one agreement.
//!
//! [`next`] looks at what the ledger says, what this domain has done so far and the time, and names one action, or until
//! when there is nothing to do. The caller carries the action out, writes down what came of it, and asks again; so
//! the same question after a crash gets the same answer.

use hanse_agreement::policy::choose;
use hanse_agreement::{Agreement, Bid, State};

use super::{Next, after, start_of_next};
use crate::model::{ConsumerRecord, Outcome, Stage, Want};

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the announcement.
    Announce,
    /// Award the service to this bid, as it is now.
    Choose(Bid),
    /// Call the agreement off on the ledger.
    Cancel(String),
    /// End the agreement on the ledger because a deadline passed.
    Expire,
    /// Open the sealed endpoint.
    OpenEndpoint,
    /// Point traffic to the provider and see whether the service does its work there. Nothing of one's own is removed.
    HandOver,
    /// Tell the ledger that the service works.
    Confirm,
    /// Give up one's own share: remove the moved part, or scale it down.
    Complete,
    /// Take everything back: own parts first, then traffic.
    Restore,
    /// Tell the ledger that the service is over.
    Terminate,
    /// Note the end.
    Finish(Outcome),
}

/// Names the next action. `agreement` is what the ledger has under the record's id, if anything; `bids` are those of
/// present members.
pub fn next(record: &ConsumerRecord, agreement: Option<&Agreement>, bids: &[Bid], now_ms: u64) -> Next<Action> {
    if record.outcome.is_some() {
        return Next::Done;
    }
    let Some(agreement) = agreement else {
        return before_announcement(record, now_ms);
    };
    match agreement.state {
        State::Open => negotiate(record, agreement, bids, now_ms),
        State::Awarded => await_deployment(record, now_ms),
        State::Deployed => check(record, agreement, now_ms),
        State::Confirmed => run(record),
        State::Terminated => wind_up(record, Outcome::Terminated),
        State::Cancelled => wind_up(record, cancelled(record)),
        State::Expired => wind_up(
            record,
            Outcome::Expired {
                reason: "a deadline passed or a party left".into(),
            },
        ),
    }
}

fn before_announcement(record: &ConsumerRecord, now_ms: u64) -> Next<Action> {
    if let Want::Cancel { reason } = &record.want {
        return wind_up(record, Outcome::Cancelled { reason: reason.clone() });
    }
    if now_ms / 1000 >= record.announcement.bid_deadline {
        let reason = "the announcement did not reach the ledger before its bid deadline".into();
        return wind_up(record, Outcome::Expired { reason });
    }
    Next::Do(Action::Announce)
}

fn negotiate(record: &ConsumerRecord, agreement: &Agreement, bids: &[Bid], now_ms: u64) -> Next<Action> {
    if let Want::Cancel { reason } = &record.want {
        return Next::Do(Action::Cancel(reason.clone()));
    }
    if let Some(by_hand) = record.chosen_by_hand
        && let Some(bid) = bids.iter().find(|bid| bid.bidder == by_hand)
    {
        return Next::Do(Action::Choose(bid.clone()));
    }
    let terms = &record.announcement;
    if after(terms.deploy_deadline, now_ms) {
        return Next::Do(Action::Expire);
    }
    // The chain undid an award that was acted on: what has moved stays where it is, if that provider bids again.
    if let Some(award) = record.award.as_ref().filter(|_| record.stage.uses_provider()) {
        return match bids.iter().find(|bid| bid.bidder == award.bid.bidder) {
            Some(bid) => Next::Do(Action::Choose(bid.clone())),
            None if after(terms.bid_deadline, now_ms) => Next::Do(Action::Cancel(
                "the provider that has the service did not bid again after its award was undone".into(),
            )),
            None => Next::WaitUntil(start_of_next(terms.bid_deadline)),
        };
    }
    let window_ends = (agreement.announced_at * 1000).max(record.requested_ms) + record.bid_window_ms;
    let eligible = bids.iter().filter(|bid| record.may_provide(bid.bidder));
    let eligible: Vec<Bid> = eligible.cloned().collect();
    let enough = eligible.len() >= record.offers_wanted as usize || now_ms >= window_ends;
    // Who is no longer a member can't be chosen; the caller leaves out its bids.
    if enough && let Some(bid) = choose(&terms.requirements, &eligible).winner {
        return Next::Do(Action::Choose(bid));
    }
    if after(terms.bid_deadline, now_ms) {
        return Next::Do(if bids.is_empty() {
            Action::Expire
        } else if eligible.is_empty() {
            Action::Cancel("none of the providers that were asked for has bid".into())
        } else {
            Action::Cancel("no bid meets the requirements".into())
        });
    }
    Next::WaitUntil(if enough {
        start_of_next(terms.bid_deadline)
    } else {
        window_ends.min(start_of_next(terms.bid_deadline))
    })
}

fn await_deployment(record: &ConsumerRecord, now_ms: u64) -> Next<Action> {
    if let Want::Cancel { reason } = &record.want {
        return Next::Do(Action::Cancel(reason.clone()));
    }
    if after(record.announcement.deploy_deadline, now_ms) {
        return Next::Do(Action::Expire);
    }
    Next::WaitUntil(start_of_next(record.announcement.deploy_deadline))
}

fn check(record: &ConsumerRecord, agreement: &Agreement, now_ms: u64) -> Next<Action> {
    let window_over = agreement
        .confirm_deadline
        .is_some_and(|deadline| after(deadline, now_ms));
    let objection = match (&record.want, &record.check_failed) {
        (Want::Cancel { reason }, _) | (_, Some(reason)) => Some(reason.clone()),
        _ => None,
    };
    match objection {
        // Too late to object: the provider is paid, and the service ends by termination.
        Some(_) if window_over => Next::Do(Action::Confirm),
        Some(_) if record.stage.uses_provider() => Next::Do(Action::Restore),
        Some(reason) => Next::Do(Action::Cancel(reason)),
        None if record.endpoint.is_none() => open(record),
        None if record.stage < Stage::Verified => Next::Do(Action::HandOver),
        None => Next::Do(Action::Confirm),
    }
}

fn run(record: &ConsumerRecord) -> Next<Action> {
    let over = record.want != Want::Run || record.check_failed.is_some();
    if over {
        return Next::Do(if record.stage.uses_provider() {
            Action::Restore
        } else {
            Action::Terminate
        });
    }
    // The provider may have settled before this domain had looked.
    if record.endpoint.is_none() {
        return open(record);
    }
    if record.stage < Stage::Verified {
        return Next::Do(Action::HandOver);
    }
    if record.stage < Stage::Completed {
        return Next::Do(Action::Complete);
    }
    Next::Wait
}

/// The endpoint comes with the event, which may be later than what the ledger's state shows.
fn open(record: &ConsumerRecord) -> Next<Action> {
    if record.sealed_endpoint.is_some() {
        Next::Do(Action::OpenEndpoint)
    } else {
        Next::Wait
    }
}

fn wind_up(record: &ConsumerRecord, outcome: Outcome) -> Next<Action> {
    Next::Do(if record.stage.uses_provider() {
        Action::Restore
    } else {
        Action::Finish(outcome)
    })
}

fn cancelled(record: &ConsumerRecord) -> Outcome {
    let reason = match (&record.want, &record.check_failed) {
        (_, Some(reason)) | (Want::Cancel { reason }, None) => reason.clone(),
        _ => "called off by the provider".into(),
    };
    Outcome::Cancelled { reason }
}
