//! Networks that part and networks that are bad, with each node in a network namespace of its own.

use std::time::Duration;

use hanse_chain::genesis::ConsensusParameters;

use crate::league::{League, QUICK, rounds, seeded, stands_still};
use crate::sandbox;
use crate::switch::{Switch, Weather};

const ALL: [usize; 4] = [0, 1, 2, 3];

/// Votes that were under way when the network parted may still decide a block.
const SETTLE: Duration = Duration::from_secs(3);

#[test]
fn halves_make_no_block_and_no_fork_and_go_on_when_they_meet_again() {
    sandbox::run(
        "network::halves_make_no_block_and_no_fork_and_go_on_when_they_meet_again",
        async || {
            let (seed, _) = seeded();
            let switch = Switch::new(4, seed);
            let mut league = League::on(&switch, 4, QUICK);
            league.start_all();
            league.reach(&ALL, 1, "first block").await;
            for round in 0..rounds(1) {
                // Each time other halves.
                let partner = usize::try_from(1 + round % 3).unwrap();
                let half = move |node: usize| node == 0 || node == partner;
                league.submit_all().await;
                switch.link(move |from, to| half(from) == half(to));
                tokio::time::sleep(SETTLE).await;
                league.submit_all().await;
                stands_still(&league, &ALL, Duration::from_secs(5)).await;
                switch.link(|_, _| true);
                let height = league.height();
                league.reach(&ALL, height + 2, "blocks after the halves met").await;
                league.all_decided().await;
            }
            println!("TALLY partitions_2_2={} packets_cut={}", rounds(1), switch.fates().cut);
            league.finish().await;
        },
    );
}

#[test]
fn three_of_four_go_on_without_the_fourth_which_catches_up_when_it_is_back() {
    sandbox::run(
        "network::three_of_four_go_on_without_the_fourth_which_catches_up_when_it_is_back",
        async || {
            let (seed, _) = seeded();
            let switch = Switch::new(4, seed);
            let mut league = League::on(&switch, 4, QUICK);
            league.start_all();
            league.reach(&ALL, 1, "first block").await;
            for round in 0..rounds(1) {
                let away = usize::try_from(round % 4).unwrap();
                let others: Vec<usize> = ALL.into_iter().filter(|node| *node != away).collect();
                switch.link(move |from, to| (from == away) == (to == away));
                tokio::time::sleep(SETTLE).await;
                let cut_off_at = league.report(away).height;
                league.submit_all().await;
                league.send_again(&others).await;
                league.reach(&others, cut_off_at + 10, "blocks of the three").await;
                assert_eq!(league.report(away).height, cut_off_at, "one alone decides nothing");
                switch.link(|_, _| true);
                let height = league.height();
                league.reach(&[away], height, "what the others decided").await;
                league.all_decided().await;
            }
            println!("TALLY partitions_3_1={} packets_cut={}", rounds(1), switch.fates().cut);
            league.finish().await;
        },
    );
}

#[test]
fn late_lost_repeated_and_overtaking_packets_slow_the_ledger_down_and_nothing_else() {
    sandbox::run(
        "network::late_lost_repeated_and_overtaking_packets_slow_the_ledger_down_and_nothing_else",
        async || {
            let (seed, _) = seeded();
            let switch = Switch::new(4, seed);
            // As a consortium far apart would set them.
            let parameters = ConsensusParameters {
                propose_ms: 1500,
                vote_ms: 800,
                ..QUICK
            };
            let mut league = League::on(&switch, 4, parameters);
            league.start_all();
            league.reach(&ALL, 1, "first block").await;
            switch.set_weather(Weather {
                delay_ms: (10, 80),
                lost: 0.02,
                duplicated: 0.05,
            });
            for _ in 0..rounds(6) {
                league.submit_all().await;
                league.all_decided().await;
            }
            let fates = switch.fates();
            assert!(fates.lost > 0 && fates.duplicated > 0, "{fates:?}");
            println!(
                "TALLY bad_network_rounds={} packets_delayed={} packets_lost={} packets_duplicated={}",
                rounds(6),
                fates.passed,
                fates.lost,
                fates.duplicated
            );
            league.finish().await;
        },
    );
}
