//! Random calls: most of them by the right account at the right moment with the right payment, so that sequences get far;
//! the rest wrong in one way or another.

use hanse_agreement::{
    Account, Action, Agreement, AgreementId, Amount, Announcement, Federation, Hash, Input, Price, State, Terms, limits,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::both::{CALLERS, REFUSER, name};

/// Between two calls: often none, sometimes past a deadline.
pub fn seconds(random: &mut StdRng) -> u64 {
    match random.random_range(0..20) {
        0..14 => 0,
        14..19 => random.random_range(1..5),
        _ => random.random_range(5..60),
    }
}

/// One that is accepted.
pub fn announcement(id: AgreementId, now: u64) -> Announcement {
    Announcement {
        id,
        description: "a service".into(),
        requirements: Terms {
            availability_bps: 9900,
            replicas: 2,
            ..Terms::default()
        },
        manifest_hash: Hash([7; 32]),
        bid_deadline: now + 20,
        deploy_deadline: now + 50,
        confirm_window: 15,
    }
}

/// The agreement that an action is about.
pub fn id_of(action: &Action) -> Option<AgreementId> {
    match action {
        Action::Announce(announcement) => Some(announcement.id),
        Action::PlaceBid { id, .. }
        | Action::Choose { id, .. }
        | Action::Deployed { id, .. }
        | Action::Confirm { id }
        | Action::Cancel { id, .. }
        | Action::Decline { id, .. }
        | Action::Expire { id }
        | Action::Settle { id }
        | Action::Terminate { id } => Some(*id),
        Action::Withdraw { .. } => None,
    }
}

pub fn input(random: &mut StdRng, federation: &Federation, now: u64) -> Input {
    let anyone = name(random.random_range(1..=CALLERS));
    let creditors: Vec<Account> = (1..=CALLERS)
        .map(name)
        .filter(|account| !federation.owed(*account).is_zero())
        .collect();
    if random.random_ratio(1, if creditors.is_empty() { 40 } else { 8 }) {
        return withdraw(random, &creditors, anyone);
    }
    let id = id(random, federation);
    let (caller, action) = match federation.agreement(id) {
        Some(agreement) if random.random_ratio(7, 8) => next(random, federation, agreement, anyone),
        None if random.random_ratio(7, 8) => (anyone, announce(random, id, now)),
        _ => (anyone, any_action(random, federation, id, now)),
    };
    Input { caller, action }
}

/// Mostly of a live agreement, of which there are few; sometimes of an ended or a new one.
fn id(random: &mut StdRng, federation: &Federation) -> AgreementId {
    let (live, ended): (Vec<&Agreement>, Vec<&Agreement>) =
        federation.agreements().partition(|agreement| agreement.state.is_live());
    let new = AgreementId([(live.len() + ended.len() + 1) as u8; 32]);
    let pool = match random.random_range(0..20) {
        0 => &ended,
        1 => return new,
        _ if live.len() < 2 => return new,
        _ => &live,
    };
    pool.choose(random).map_or(new, |agreement| agreement.id())
}

/// By someone who is owed, if there is one.
fn withdraw(random: &mut StdRng, creditors: &[Account], anyone: Account) -> Input {
    let caller = match creditors.choose(random) {
        Some(creditor) if random.random_ratio(4, 5) => *creditor,
        _ => anyone,
    };
    Input {
        caller,
        action: Action::Withdraw {
            accepted: caller != name(REFUSER),
        },
    }
}

/// What may come next in the state that the agreement is in, mostly by who may do it.
fn next(random: &mut StdRng, federation: &Federation, agreement: &Agreement, anyone: Account) -> (Account, Action) {
    let id = agreement.id();
    let (creator, provider) = (agreement.creator, agreement.provider.unwrap_or(anyone));
    let (caller, action) = match (agreement.state, random.random_range(0..10)) {
        (State::Open, 0..8) if agreement.bid_count == 0 => (anyone, place_bid(random, id)),
        (State::Open, 0..4) => (anyone, place_bid(random, id)),
        (State::Open, 4..8) => (creator, choose(random, federation, id)),
        (State::Open | State::Awarded, 8) => (
            creator,
            Action::Cancel {
                id,
                reason: text(random, limits::REASON),
            },
        ),
        (State::Awarded, 0..6) => (
            provider,
            Action::Deployed {
                id,
                sealed_endpoint: blob(random),
            },
        ),
        (State::Awarded | State::Deployed, 6) => (
            provider,
            Action::Decline {
                id,
                reason: text(random, limits::REASON),
            },
        ),
        (State::Deployed, 0..4) => (creator, Action::Confirm { id }),
        (State::Deployed, 4..6) => (anyone, Action::Settle { id }),
        (State::Deployed, 7) => (
            creator,
            Action::Cancel {
                id,
                reason: text(random, limits::REASON),
            },
        ),
        (State::Confirmed, 0..3) => (*[creator, provider].choose(random).unwrap(), Action::Terminate { id }),
        _ => (anyone, Action::Expire { id }),
    };
    if random.random_ratio(1, 12) {
        (anyone, action)
    } else {
        (caller, action)
    }
}

fn any_action(random: &mut StdRng, federation: &Federation, id: AgreementId, now: u64) -> Action {
    match random.random_range(0..10) {
        0 => announce(random, id, now),
        1 => place_bid(random, id),
        2 => choose(random, federation, id),
        3 => Action::Deployed {
            id,
            sealed_endpoint: blob(random),
        },
        4 => Action::Confirm { id },
        5 => Action::Cancel {
            id,
            reason: text(random, limits::REASON),
        },
        6 => Action::Decline {
            id,
            reason: text(random, limits::REASON),
        },
        7 => Action::Expire { id },
        8 => Action::Settle { id },
        _ => Action::Terminate { id },
    }
}

fn announce(random: &mut StdRng, id: AgreementId, now: u64) -> Action {
    let bid_deadline = now + random.random_range(1..40);
    let mut announcement = Announcement {
        id,
        description: text(random, limits::DESCRIPTION),
        requirements: terms(random),
        manifest_hash: Hash(random.random()),
        bid_deadline,
        deploy_deadline: bid_deadline + random.random_range(1..60),
        confirm_window: random.random_range(1..30),
    };
    match random.random_range(0..30) {
        0 => announcement.bid_deadline = now,
        1 => announcement.deploy_deadline = announcement.bid_deadline,
        2 => announcement.confirm_window = 0,
        3 => announcement.confirm_window = u32::MAX,
        4 => announcement.deploy_deadline = u64::MAX,
        5 => (announcement.bid_deadline, announcement.deploy_deadline) = (u64::MAX - 1, u64::MAX),
        _ => {}
    }
    Action::Announce(announcement)
}

fn place_bid(random: &mut StdRng, id: AgreementId) -> Action {
    let price = match random.random_range(0..10) {
        0 => 0,
        1 => u128::MAX,
        _ => random.random_range(1..1000),
    };
    Action::PlaceBid {
        id,
        price_per_hour: Price(price),
        location: text(random, limits::LOCATION),
        offer: terms(random),
    }
}

fn choose(random: &mut StdRng, federation: &Federation, id: AgreementId) -> Action {
    let (bidder, sequence, price) = match federation.bids(id).choose(random) {
        Some(bid) if random.random_ratio(9, 10) => (bid.bidder, bid.sequence, bid.price_per_hour),
        Some(bid) => (bid.bidder, bid.sequence + 1, bid.price_per_hour),
        None => (
            name(random.random_range(1..=CALLERS)),
            random.random_range(0..2),
            Price(1),
        ),
    };
    let hours_paid = match random.random_range(0..10) {
        0 | 1 => 0,
        2 => u32::MAX,
        _ => random.random_range(1..100),
    };
    let payment = match random.random_range(0..12) {
        0 => Amount::from(1),
        1 => Amount::ZERO,
        _ => price.for_hours(hours_paid),
    };
    Action::Choose {
        id,
        bidder,
        sequence,
        hours_paid,
        sealed_parameters: blob(random),
        payment,
    }
}

fn terms(random: &mut StdRng) -> Terms {
    Terms {
        availability_bps: if random.random_ratio(1, 30) {
            10_001
        } else {
            random.random_range(0..=10_000)
        },
        latency_ms: random.random(),
        jitter_ms: random.random(),
        bandwidth_mbps: random.random(),
        cpu_millicores: random.random(),
        ram_mb: random.random(),
        replicas: if random.random_ratio(1, 30) {
            0
        } else {
            random.random_range(1..10)
        },
    }
}

/// Around the limit now and then.
fn length(random: &mut StdRng, limit: usize) -> usize {
    match random.random_range(0..30) {
        0 => limit,
        1 => limit + 1,
        2 => 0,
        _ => random.random_range(0..50),
    }
}

fn text(random: &mut StdRng, limit: usize) -> String {
    "x".repeat(length(random, limit))
}

fn blob(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; length(random, limits::SEALED)];
    random.fill(&mut bytes[..]);
    bytes
}
