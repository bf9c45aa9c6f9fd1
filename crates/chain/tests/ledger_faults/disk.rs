//! A validator whose disk is full.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use hanse_sandbox::must;

use crate::league::{League, rounds};

/// Room for the store to grow in: redb asks for twice what it has.
const DISK: &str = "size=64m";

#[test]
fn a_validator_whose_disk_is_full_says_so_and_the_others_go_on_until_it_is_back() {
    hanse_sandbox::run(
        "disk::a_validator_whose_disk_is_full_says_so_and_the_others_go_on_until_it_is_back",
        async || {
            let mut league = League::on_loopback(4);
            let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
            let disk = tempfile::tempdir().unwrap();
            let folder = disk.path().to_owned();
            must("mount", &["-t", "tmpfs", "-o", DISK, "tmpfs", &path(&folder)]);
            must("cp", &["-r", &format!("{}/.", path(league.folder(3))), &path(&folder)]);
            league.settings[3].folder = folder.clone();
            league.start_all();
            league.reach(&[0, 1, 2, 3], 2, "first blocks").await;
            let filler = folder.join("filler");
            for _ in 0..rounds(1) {
                let mut file = File::create(&filler).unwrap();
                while file.write_all(&[0x5a; 4096]).is_ok() {}
                let deadline = Instant::now() + Duration::from_secs(100);
                let reason = loop {
                    assert!(
                        Instant::now() < deadline,
                        "the full disk was not noticed: {:?}",
                        league.report(3)
                    );
                    for _ in 0..8 {
                        for member in 0..3 {
                            league.submit(member, member).await;
                        }
                    }
                    let height = league.height();
                    league.reach(&[0, 1, 2], height + 1, "blocks of the others").await;
                    let report = league.report(3);
                    if let Some(reason) = report.halted {
                        break reason;
                    }
                };
                println!("{reason}");
                assert!(
                    reason.contains("no space left") || reason.contains("write-ahead log could not be written"),
                    "{reason}"
                );
                let height = league.height();
                league.reach(&[0, 1, 2], height + 3, "blocks of the three others").await;
                league.kill(3).await;
                drop(file);
                std::fs::remove_file(&filler).unwrap();
                let height = league.height();
                league.start(3);
                league
                    .reach(&[3], height, "what was decided while the disk was full")
                    .await;
                league.all_decided().await;
            }
            println!("TALLY full_disks={}", rounds(1));
            league.finish().await;
            must("umount", &[&path(&folder)]);
        },
    );
}
