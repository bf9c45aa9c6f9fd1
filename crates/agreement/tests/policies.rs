//! What the policies promise: the cheapest sufficient bid wins, no core is promised twice, no replica is lost.
#![allow(clippy::unwrap_used, missing_docs)]

use hanse_agreement::policy::{
    Candidate, Capacity, NoBid, Placement, PriceList, Provider, Reason, Reservations, Unfit, Wish, choose,
    choose_among, decide, shortfalls,
};
use hanse_agreement::{Account, Agreement, AgreementId, Amount, Announcement, Bid, Hash, Price, State, Terms};
use proptest::prelude::*;

const ME: Account = Account([1; 20]);
const OTHER: Account = Account([2; 20]);

fn need() -> Terms {
    Terms {
        availability_bps: 9000,
        latency_ms: 20,
        cpu_millicores: 500,
        ram_mb: 256,
        replicas: 2,
        ..Terms::default()
    }
}

fn capacity() -> Terms {
    Terms {
        availability_bps: 9900,
        latency_ms: 10,
        jitter_ms: 5,
        bandwidth_mbps: 1000,
        cpu_millicores: 2500,
        ram_mb: 4096,
        replicas: 10,
    }
}

fn open(number: u8, requirements: Terms) -> Agreement {
    Agreement {
        announcement: Announcement {
            id: AgreementId([number; 32]),
            description: String::new(),
            requirements,
            manifest_hash: Hash([0; 32]),
            bid_deadline: 100,
            deploy_deadline: 200,
            confirm_window: 60,
        },
        state: State::Open,
        creator: OTHER,
        provider: None,
        price_per_hour: Price(0),
        hours_paid: 0,
        escrow: Amount::ZERO,
        endpoint_hash: None,
        confirm_deadline: None,
        bid_count: 0,
        announced_at: 50,
        changed_at: 50,
        confirmed_at: None,
    }
}

fn provider() -> Provider {
    let prices = PriceList {
        base: Price(7),
        per_millicore: Price(2),
        ..PriceList::per_replica(Price(100))
    };
    Provider {
        account: ME,
        prices,
        longest_confirm_window: 60,
    }
}

#[test]
fn a_bid_is_priced_by_the_list_and_reserves_what_it_promises() {
    let mut reservations = Reservations::new(capacity());
    let offer = decide(&provider(), &mut reservations, &open(1, need()), 100).unwrap();
    assert_eq!(offer.price_per_hour, Price(7 + 2 * 100 + 2 * 500 * 2));
    assert!(shortfalls(&need(), &offer.terms).is_empty());
    assert_eq!(
        reservations.held().collect::<Vec<_>>(),
        [(AgreementId([1; 32]), &offer.terms)]
    );
    let again = decide(&provider(), &mut reservations, &open(1, need()), 100).unwrap();
    assert_eq!(
        (again, reservations.held().count()),
        (offer, 1),
        "asking again changes nothing"
    );
}

#[test]
fn an_open_bid_keeps_its_capacity_until_the_agreement_is_lost_or_ended() {
    let mut reservations = Reservations::new(capacity()); // room for two
    for number in [1, 2] {
        decide(&provider(), &mut reservations, &open(number, need()), 60).unwrap();
    }
    let full = decide(&provider(), &mut reservations, &open(3, need()), 60).unwrap_err();
    assert_eq!(
        full.to_string(),
        "this domain cannot offer that: CPU 500 millicores, needed at least 1000 millicores"
    );

    let lost = Agreement {
        state: State::Awarded,
        provider: Some(OTHER),
        ..open(1, need())
    };
    reservations.observe(ME, &lost);
    decide(&provider(), &mut reservations, &open(3, need()), 60).unwrap();

    let won = Agreement {
        state: State::Confirmed,
        provider: Some(ME),
        ..open(2, need())
    };
    reservations.observe(ME, &won);
    assert_eq!(reservations.held().count(), 2, "what is won stays reserved");
    for end in [State::Terminated, State::Cancelled, State::Expired] {
        let mut ended = reservations.clone();
        ended.observe(
            ME,
            &Agreement {
                state: end,
                ..won.clone()
            },
        );
        assert_eq!(
            ended.held().map(|(id, _)| id).collect::<Vec<_>>(),
            [AgreementId([3; 32])]
        );
    }
}

#[test]
fn no_bid_where_it_would_be_refused_or_unwise() {
    let mut reservations = Reservations::new(capacity());
    let mut why = |agreement: &Agreement, now| decide(&provider(), &mut reservations, agreement, now).unwrap_err();
    let announced = open(1, need());
    assert_eq!(
        why(
            &Agreement {
                creator: ME,
                ..announced.clone()
            },
            60
        ),
        NoBid::Own
    );
    assert_eq!(
        why(
            &Agreement {
                state: State::Awarded,
                ..announced.clone()
            },
            60
        ),
        NoBid::NotOpen(State::Awarded)
    );
    assert_eq!(why(&announced, 101), NoBid::TooLate);
    let mut slow = announced.clone();
    slow.announcement.confirm_window = 61;
    assert_eq!(
        why(&slow, 60),
        NoBid::WindowTooLong {
            window: 61,
            longest: 60
        }
    );
    let fast = open(
        1,
        Terms {
            latency_ms: 9,
            ..need()
        },
    );
    assert_eq!(
        why(&fast, 60).to_string(),
        "this domain cannot offer that: latency 10 ms, needed at most 9 ms"
    );
    assert_eq!(reservations.held().count(), 0, "no bid, nothing reserved");
}

fn bid(sequence: u64, price: u128, offer: Terms) -> Bid {
    Bid {
        bidder: Account([sequence as u8; 20]),
        price_per_hour: Price(price),
        sequence,
        location: String::new(),
        offer,
    }
}

#[test]
fn each_rejected_bid_is_told_why() {
    let bids = [
        bid(4, 10, need()),
        bid(2, 10, need()),
        bid(3, 1, Terms { replicas: 1, ..need() }),
        bid(5, 11, need()),
        bid(6, 99, need()),
        bid(7, 1, need()),
    ];
    let choice = choose_among(&need(), &bids, Some(Price(50)), |account| {
        (account == Account([7; 20])).then_some(Reason::NotMember)
    });
    assert_eq!(choice.winner.as_ref().unwrap().sequence, 2);
    let reasons: Vec<(u64, String)> = choice
        .rejected
        .iter()
        .map(|rejected| (rejected.bid.sequence, rejected.reason.to_string()))
        .collect();
    let expected = [
        (3, "offers too little: 1 replicas, needed at least 2"),
        (4, "bid 2 came first at the same price"),
        (5, "another costs only 10 wei an hour"),
        (6, "costs more than the limit of 50 wei an hour"),
        (7, "the bidder is no longer a member"),
    ];
    assert_eq!(
        reasons,
        expected.map(|(sequence, reason)| (sequence, reason.to_owned()))
    );
    assert_eq!(choice.reason_against(&bids[1]), None);
    assert_eq!(
        choice.reason_against(&bids[3]),
        Some("another costs only 10 wei an hour".into())
    );
}

fn candidate<'a>(name: &'a str, categories: &[&'a str], capacity: Capacity) -> Candidate<'a> {
    Candidate {
        name,
        account: Some(OTHER),
        categories: Some(categories.to_vec()),
        capacity,
        reachable: true,
    }
}

#[test]
fn who_is_not_to_be_asked_is_told_why() {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (categories, domains) = (
        texts(&["gpu", "edge"]),
        texts(&["north", &OTHER.to_string().to_uppercase()]),
    );
    let by_category = Wish {
        categories: &categories,
        domains: &[],
    };
    let by_name = Wish {
        categories: &[],
        domains: &domains,
    };
    let why = |wish: &Wish<'_>, candidate: &Candidate<'_>| -> Vec<String> {
        wish.unfit(&need(), candidate).iter().map(ToString::to_string).collect()
    };
    let fit = candidate("south", &["edge", "gpu", "tape"], Capacity::UpTo(capacity()));
    assert_eq!(why(&by_category, &fit), [""; 0]);
    assert_eq!(why(&by_name, &fit), [""; 0], "the account counts as well");
    let foreign = Candidate {
        account: None,
        ..fit.clone()
    };
    assert_eq!(why(&by_name, &foreign), ["is not one of the domains that were named"]);
    assert!(!by_name.admits(&foreign));
    let unseen = Candidate {
        categories: None,
        capacity: Capacity::Unknown,
        ..fit.clone()
    };
    assert!(by_name.admits(&unseen) && !by_category.admits(&unseen));
    let small = Terms {
        cpu_millicores: 999,
        ..capacity()
    };
    let away = Candidate {
        reachable: false,
        ..candidate("south", &["edge"], Capacity::UpTo(small))
    };
    assert_eq!(
        why(&by_category, &away),
        [
            "does not say that it offers gpu",
            "does not answer in the swarm",
            "has too little: CPU 999 millicores, needed at least 1000 millicores",
        ]
    );
    let idle = candidate("south", &["edge", "gpu"], Capacity::Nothing);
    assert_eq!(why(&by_category, &idle), ["runs nothing for others at present"]);
    assert_eq!(
        by_category.unfit(&Terms::default(), &idle),
        [],
        "nothing is asked of what it runs"
    );
    let silent = candidate("south", &["edge", "gpu"], Capacity::Unknown);
    assert_eq!(by_category.unfit(&need(), &silent), [Unfit::CapacityUnknown]);
    assert!(!Unfit::CapacityUnknown.is_certain());
}

fn any_bids() -> impl Strategy<Value = Vec<Bid>> {
    prop::collection::vec((0..4_u128, 1..4_u32, 8990..9010_u16), 0..12).prop_map(|bids| {
        bids.into_iter()
            .zip(1..)
            .map(|((price, replicas, availability_bps), sequence)| {
                bid(
                    sequence,
                    price,
                    Terms {
                        replicas,
                        availability_bps,
                        ..need()
                    },
                )
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn whom_the_requirements_rule_out_would_not_bid_and_everybody_else_would(
        (cpu, ram, replicas) in (0..2_000_u32, 0..2_000_u32, 1..6_u32),
        (latency_ms, availability_bps) in (0..30_u32, 9_800..10_000_u16),
    ) {
        let wanted = Terms {
            availability_bps, latency_ms, cpu_millicores: cpu, ram_mb: ram, replicas, ..Terms::default()
        };
        let unfit = Wish::default().unfit(&wanted, &candidate("one", &[], Capacity::UpTo(capacity())));
        let provider = Provider { account: ME, prices: PriceList::default(), longest_confirm_window: 60 };
        let bid = decide(&provider, &mut Reservations::new(capacity()), &open(1, wanted), 60);
        prop_assert_eq!(unfit.is_empty(), bid.is_ok());
    }

    #[test]
    fn a_domain_is_admitted_if_it_offers_each_category_and_is_listed(
        wanted in prop::collection::vec("[a-d]", 0..4),
        offered in prop::collection::vec("[a-d]", 0..4),
        domains in prop::collection::vec("[a-d]", 0..3),
        name in "[a-d]",
    ) {
        let wish = Wish { categories: &wanted, domains: &domains };
        let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
        let admitted = wish.admits(&candidate(&name, &offered, Capacity::Nothing));
        let all = wanted.iter().all(|category| offered.contains(&category.as_str()));
        prop_assert_eq!(admitted, all && (domains.is_empty() || domains.contains(&name)));
    }

    #[test]
    fn the_winner_is_the_cheapest_sufficient_bid_and_the_earliest_of_those(
        bids in any_bids().prop_shuffle(),
    ) {
        let choice = choose(&need(), &bids);
        prop_assert_eq!(choice.rejected.len() + usize::from(choice.winner.is_some()), bids.len());
        let sufficient: Vec<&Bid> = bids.iter().filter(|bid| shortfalls(&need(), &bid.offer).is_empty()).collect();
        match &choice.winner {
            None => prop_assert!(sufficient.is_empty()),
            Some(winner) => {
                prop_assert!(sufficient.contains(&winner));
                for bid in sufficient {
                    prop_assert!((winner.price_per_hour, winner.sequence) <= (bid.price_per_hour, bid.sequence));
                }
            }
        }
        for rejected in &choice.rejected {
            let short = !shortfalls(&need(), &rejected.bid.offer).is_empty();
            let says_short = matches!(rejected.reason, Reason::FallsShort { .. });
            prop_assert_eq!(short, says_short);
        }
    }

    #[test]
    fn replicas_are_conserved(replicas in 0..100_u32, moves in prop::collection::vec(0..40_u32, 0..6)) {
        let mut placement = Placement::at_home(replicas);
        for moving in moves {
            match placement.move_out(moving) {
                Ok(next) => {
                    prop_assert_eq!(next.consumer(), placement.consumer() - moving);
                    prop_assert_eq!(next.provider(), placement.provider() + moving);
                    placement = next;
                }
                Err(refused) => {
                    prop_assert!(moving == 0 || moving > placement.consumer());
                    prop_assert_eq!(refused.present, placement.consumer());
                }
            }
            prop_assert_eq!(placement.total(), replicas);
        }
        prop_assert_eq!(placement.move_home(), Placement::at_home(replicas));
    }

    #[test]
    fn no_core_is_promised_twice(wanted in prop::collection::vec((1..1500_u32, 1..2000_u32, 1..5_u32), 1..20)) {
        let mut reservations = Reservations::new(capacity());
        for ((cpu_millicores, ram_mb, replicas), number) in wanted.into_iter().zip(1..) {
            let wanted = Terms { cpu_millicores, ram_mb, replicas, ..Terms::default() };
            let _ = decide(&provider(), &mut reservations, &open(number, wanted), 60);
            let sum = |part: fn(&Terms) -> u32| -> u64 {
                reservations.held().map(|(_, terms)| u64::from(part(terms)) * u64::from(terms.replicas)).sum()
            };
            prop_assert!(sum(|terms| terms.cpu_millicores) <= capacity().cpu_millicores.into());
            prop_assert!(sum(|terms| terms.ram_mb) <= capacity().ram_mb.into());
            prop_assert!(sum(|_| 1) <= capacity().replicas.into());
        }
    }
}
