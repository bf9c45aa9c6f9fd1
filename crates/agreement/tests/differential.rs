//! The model and the contract's committed bytecode do the same: thousands of random sequences of calls go through both, and
//! after each call the answers, events, errors, agreements, bids, debts and balances are compared.
//!
//! Members, outsiders, an account that refuses coins and one that calls back while it is paid take part; members are voted
//! out and in again. `HANSE_SEED` repeats a run, `HANSE_SEQUENCES` sets its length; both are printed.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../contracts/tests/evm/mod.rs"]
mod evm;

#[path = "differential/both.rs"]
mod both;
#[path = "differential/generate.rs"]
mod generate;

use std::collections::BTreeMap;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use both::Both;

const STEPS: usize = 40;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

#[test]
fn random_sequences_do_the_same_in_the_model_and_in_the_contract() {
    let seed = setting("HANSE_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let sequences = setting("HANSE_SEQUENCES").unwrap_or(2000);
    println!("HANSE_SEED={seed} HANSE_SEQUENCES={sequences}, {STEPS} steps each");

    let start = Both::new();
    let started = Instant::now();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..sequences {
        let mut both = start.fork();
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
        both.context = format!("HANSE_SEED={} HANSE_SEQUENCES=1", seed.wrapping_add(number));
        for _ in 0..STEPS {
            if random.random_ratio(1, 25) {
                both.vote(&mut random);
            }
            both.advance(generate::seconds(&mut random));
            let input = generate::input(&mut random, &both.model, both.now());
            *outcomes.entry(both.step(&input)).or_default() += 1;
        }
        both.compare_everything();
    }
    let rate = sequences as f64 / started.elapsed().as_secs_f64();
    println!(
        "{rate:.0} sequences a second, {:.0} steps a second; outcomes: {outcomes:#?}",
        rate * STEPS as f64
    );

    // The comparison is worth what it has seen: every event and every error that a few members can cause. Bids are
    // limited to one of each member, so the limit of 64 has a test of its own.
    if sequences >= 1000 {
        for outcome in EVENTS.iter().chain(ERRORS) {
            assert!(outcomes.contains_key(*outcome), "{outcome} never happened");
        }
    }
}

const EVENTS: &[&str] = &[
    "Announced",
    "BidPlaced",
    "Awarded",
    "Deployed",
    "Confirmed",
    "Terminated",
    "Cancelled",
    "Expired",
    "Withdrawn",
];

const ERRORS: &[&str] = &[
    "NotMember",
    "IdTaken",
    "UnknownAgreement",
    "WrongState",
    "OwnAgreement",
    "NotCreator",
    "NotProvider",
    "NotParty",
    "DeadlinePassed",
    "NotExpired",
    "ConfirmWindowOpen",
    "NoSuchBid",
    "WrongPayment",
    "InvalidDeadlines",
    "InvalidTerms",
    "TooLong",
    "Empty",
    "NothingOwed",
    "TransferFailed",
];

#[test]
fn the_sixty_fifth_bidder_is_refused_but_bids_can_still_be_replaced() {
    let mut both = Both::new();
    both.admit_up_to(64);
    both.fill_with_bids();
}
