//! Consortia of one, two and three members: no failure is tolerated, and none does harm.

use std::time::Duration;

use crate::league::{League, comes_to_rest, stands_still};
use crate::processes::all;

#[tokio::test(flavor = "multi_thread")]
async fn a_consortium_of_one_decides_alone_and_survives_its_death() {
    let mut league = League::on_loopback(1);
    league.start(0);
    for _ in 0..3 {
        league.submit_all().await;
        league.all_decided().await;
        let before = league.kill(0).await;
        league.start(0);
        league.reach(&[0], before.height + 1, "a block after its death").await;
    }
    println!("TALLY small_consortia=1");
    league.finish().await;
}

async fn needs_all(members: u8) {
    let mut league = League::on_loopback(members);
    league.start_all();
    let everybody: Vec<usize> = (0..usize::from(members)).collect();
    league.reach(&everybody, 1, "first block").await;
    league.submit_all().await;
    league.all_decided().await;
    let last = everybody.len() - 1;
    league.kill(last).await;
    all(&league.running(), "that one is away is seen", 60, |report| {
        report.connected < usize::from(members)
    })
    .await;
    let others = &everybody[..last];
    // A block that had all votes when the last was killed may still be decided.
    comes_to_rest(&league, others).await;
    league.submit_all().await;
    stands_still(&league, others, Duration::from_secs(3)).await;
    league.start(last);
    league.all_decided().await;
    println!("TALLY small_consortia=1");
    league.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consortium_of_two_waits_for_the_one_that_is_away() {
    needs_all(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consortium_of_three_waits_for_the_one_that_is_away() {
    needs_all(3).await;
}
