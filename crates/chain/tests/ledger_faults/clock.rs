//! A validator whose clock is a minute wrong, as libfaketime makes it.

use std::path::Path;

use crate::league::{League, rounds};

/// Where Debian and Ubuntu put it.
const FAKETIME: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

async fn with_a_clock_that_is_off_by(offset: &str) {
    let library = FAKETIME.into_iter().find(|path| Path::new(path).exists());
    let library = library.expect("libfaketime is not installed: apt-get install libfaketime, or cargo xtask tools");
    let mut league = League::on_loopback(4);
    // Clocks that measure how long something takes are right: machines whose time of day is wrong have those, too.
    league.settings[3].prefix = vec![
        "env".into(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME={offset}"),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
    ];
    league.start_all();
    league.reach(&[0, 1, 2], 2, "first blocks of the others").await;
    for _ in 0..rounds(8) {
        let height = league.height();
        league.submit_all().await;
        league.all_decided().await;
        league
            .reach(
                &[0, 1, 2, 3],
                height + 2,
                "blocks on all, the one with the wrong clock too",
            )
            .await;
    }
    // Each refused what others proposed; that is for the clocks to settle and no misbehaviour.
    for member in 0..4 {
        let recorded = std::fs::read_to_string(league.folder(member).join("consensus/evidence.json"));
        assert!(recorded.is_err(), "member {member} recorded {}", recorded.unwrap());
    }
    println!("TALLY wrong_clock_rounds={}", rounds(8));
    league.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_a_minute_ahead_hinders_nobody_and_follows() {
    with_a_clock_that_is_off_by("+60s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_a_minute_behind_hinders_nobody_and_follows() {
    with_a_clock_that_is_off_by("-60s").await;
}
