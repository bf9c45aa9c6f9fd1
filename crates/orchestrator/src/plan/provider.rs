//! What a provider does next in one agreement; see [`super::consumer`] for how the answer is used.

use hanse_agreement::{Account, Agreement, Bid, State};

use super::{Next, after, start_of_next};
use crate::model::{ManifestCopy, Outcome, ProviderRecord, Want};

/// How long a provider that ends a service by itself keeps it running (ms).
pub const NOTICE_MS: u64 = 30_000;

/// How long an agreement that the ledger does not know any more is waited for (ms), and how often it is looked for.
pub const GONE_MS: u64 = 60_000;
const LOOK_AGAIN_MS: u64 = 1_000;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch the manifest, and see whether it may be deployed here.
    FetchManifest,
    /// Send the bid.
    PlaceBid,
    /// Deploy the manifest, wait until it is ready, and seal its address.
    Deploy,
    /// Tell the ledger where it runs.
    ReportDeployed,
    /// Give the award back, and say why.
    Decline(String),
    /// End on the ledger what missed its deadline.
    Expire,
    /// Claim what the consumer neither confirmed nor refused in time.
    Settle,
    /// Tell the ledger that the service is over.
    Terminate,
    /// Remove everything that was deployed.
    TearDown,
    /// Note the end.
    Finish(Outcome),
}

/// Names the next action. `me` is this domain's account.
pub fn next(
    record: &ProviderRecord,
    agreement: Option<&Agreement>,
    bids: &[Bid],
    me: Account,
    now_ms: u64,
) -> Next<Action> {
    if record.outcome.is_some() {
        return Next::Done;
    }
    let Some(agreement) = agreement else {
        return await_return(record, now_ms);
    };
    let mine = agreement.provider == Some(me);
    match agreement.state {
        State::Open => bid(record, agreement, bids, me, now_ms),
        _ if !mine => close(record, Outcome::Lost),
        State::Awarded => deploy(record, agreement, now_ms),
        State::Deployed => await_confirmation(record, agreement, now_ms),
        State::Confirmed => match record.want {
            Want::Run => Next::Wait,
            Want::Cancel { .. } | Want::Terminate => Next::Do(Action::Terminate),
        },
        State::Terminated => leave(record, agreement, Outcome::Terminated, now_ms),
        State::Cancelled => leave(record, agreement, cancelled(record), now_ms),
        State::Expired => close(
            record,
            Outcome::Expired {
                reason: why_expired(record),
            },
        ),
    }
}

fn why_expired(record: &ProviderRecord) -> String {
    match record.manifest.trouble() {
        Some(trouble) => format!("a deadline passed; the manifest was not to be had: {trouble}"),
        None => "a deadline passed or a party left".into(),
    }
}

/// The ledger does not know the agreement any more: its block was replaced, or the node that was asked is behind. As a rule
/// it comes again; a service that may be in use is not taken down for that.
fn await_return(record: &ProviderRecord, now_ms: u64) -> Next<Action> {
    let since = record.missing_since_ms.unwrap_or(now_ms);
    if now_ms >= since.saturating_add(GONE_MS) {
        return close(record, Outcome::Lost);
    }
    Next::WaitUntil(now_ms + LOOK_AGAIN_MS)
}

fn bid(record: &ProviderRecord, agreement: &Agreement, bids: &[Bid], me: Account, now_ms: u64) -> Next<Action> {
    let terms = &agreement.announcement;
    let no_more = record.want != Want::Run || record.failed.is_some() || after(terms.bid_deadline, now_ms);
    let as_wanted = |bid: &Bid| bid.price_per_hour == record.price_per_hour && bid.offer == record.offer;
    let mine = bids.iter().find(|bid| bid.bidder == me);
    if mine.is_some_and(|bid| no_more || as_wanted(bid)) {
        // The creator has until the deployment deadline to choose; after it the reservation is freed.
        return if after(terms.deploy_deadline, now_ms) {
            Next::Do(Action::Expire)
        } else {
            Next::WaitUntil(start_of_next(terms.deploy_deadline))
        };
    }
    if no_more {
        return close(record, Outcome::Lost);
    }
    // Who bids has the manifest: it can be deployed should its author be away when the award is made, and nothing is promised
    // that may not run here.
    Next::Do(match record.manifest {
        ManifestCopy::Wanted { .. } => Action::FetchManifest,
        ManifestCopy::Kept => Action::PlaceBid,
    })
}

fn deploy(record: &ProviderRecord, agreement: &Agreement, now_ms: u64) -> Next<Action> {
    if after(agreement.announcement.deploy_deadline, now_ms) {
        return Next::Do(Action::Expire);
    }
    match (&record.failed, &record.want) {
        (Some(reason), _) | (None, Want::Cancel { reason }) => Next::Do(Action::Decline(reason.clone())),
        (None, Want::Terminate) => Next::Do(Action::Decline("the provider's owner withdrew".into())),
        (None, Want::Run) if record.sealed_endpoint.is_some() => Next::Do(Action::ReportDeployed),
        // The parameters come with the event, which may be later than what the ledger's state shows.
        (None, Want::Run) if record.sealed_parameters.is_none() => {
            Next::WaitUntil(start_of_next(agreement.announcement.deploy_deadline))
        }
        (None, Want::Run) => Next::Do(match record.manifest {
            ManifestCopy::Wanted { .. } => Action::FetchManifest,
            ManifestCopy::Kept => Action::Deploy,
        }),
    }
}

fn await_confirmation(record: &ProviderRecord, agreement: &Agreement, now_ms: u64) -> Next<Action> {
    match &record.want {
        Want::Cancel { reason } => return Next::Do(Action::Decline(reason.clone())),
        Want::Terminate => return Next::Do(Action::Decline("the provider's owner withdrew".into())),
        Want::Run => {}
    }
    match agreement.confirm_deadline {
        Some(deadline) if after(deadline, now_ms) => Next::Do(Action::Settle),
        Some(deadline) => Next::WaitUntil(start_of_next(deadline)),
        None => Next::Wait,
    }
}

/// A consumer that ends a service has its own back before it says so. One that is left needs the provider's copy until it has.
fn leave(record: &ProviderRecord, agreement: &Agreement, outcome: Outcome, now_ms: u64) -> Next<Action> {
    let until = agreement.changed_at * 1000 + NOTICE_MS;
    if record.leaving && record.deploying && !record.torn_down && now_ms < until {
        return Next::WaitUntil(until);
    }
    close(record, outcome)
}

fn close(record: &ProviderRecord, outcome: Outcome) -> Next<Action> {
    Next::Do(if record.deploying && !record.torn_down {
        Action::TearDown
    } else {
        Action::Finish(outcome)
    })
}

fn cancelled(record: &ProviderRecord) -> Outcome {
    let reason = match (&record.failed, &record.want) {
        (Some(reason), _) | (None, Want::Cancel { reason }) => reason.clone(),
        _ => "called off by the consumer".into(),
    };
    Outcome::Cancelled { reason }
}
