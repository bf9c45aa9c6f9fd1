//! Networks that part and networks that are bad, with each node in a network namespace of its own.

use std::time::{Duration, Instant};

use hanse_chain::genesis::ConsensusParameters;

use crate::league::{League, QUICK, comes_to_rest, rounds, seeded, stands_still};
use crate::switch::{Switch, Weather};

const ALL: [usize; 4] = [0, 1, 2, 3];

/// Waits until the network has kept back so many packets more.
async fn cuts(switch: &Switch, more: u64) {
    let wanted = switch.fates().cut + more;
    let deadline = Instant::now() + Duration::from_secs(60);
    while switch.fates().cut < wanted {
        assert!(Instant::now() < deadline, "the network lets everything pass");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn halves_make_no_block_and_no_fork_and_go_on_when_they_meet_again() {
    hanse_sandbox::run(
        "network::halves_make_no_block_and_no_fork_and_go_on_when_they_meet_again",
        async || {
            let (seed, _) = seeded();
            let switch = Switch::new(4, seed);
            let mut league = League::of_four_on(&switch, QUICK).await;
            for round in 0..rounds(1) {
                // Each time other halves.
                let partner = usize::try_from(1 + round % 3).unwrap();
                let half = move |node: usize| node == 0 || node == partner;
                league.submit_all().await;
                switch.link(move |from, to| half(from) == half(to));
                cuts(&switch, 20).await;
                comes_to_rest(&league, &ALL).await;
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
    hanse_sandbox::run(
        "network::three_of_four_go_on_without_the_fourth_which_catches_up_when_it_is_back",
        async || {
            let (seed, _) = seeded();
            let switch = Switch::new(4, seed);
            let mut league = League::of_four_on(&switch, QUICK).await;
            for round in 0..rounds(1) {
                let away = usize::try_from(round % 4).unwrap();
                let others: Vec<usize> = ALL.into_iter().filter(|node| *node != away).collect();
                switch.link(move |from, to| (from == away) == (to == away));
                cuts(&switch, 20).await;
                comes_to_rest(&league, &[away]).await;
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
    hanse_sandbox::run(
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
            let mut league = League::of_four_on(&switch, parameters).await;
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
