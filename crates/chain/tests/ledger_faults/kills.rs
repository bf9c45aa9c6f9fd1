//! `kill -9` of any node at any moment while transactions come in, of all nodes at once, and the loss of a whole store.

use std::time::Duration;

use rand::Rng;

use crate::league::{League, comes_to_rest, rounds, seeded, stands_still};
use crate::processes::all;

const ALL: [usize; 4] = [0, 1, 2, 3];

#[tokio::test(flavor = "multi_thread")]
async fn nodes_killed_at_any_moment_lose_nothing_that_was_acknowledged() {
    let (_, mut random) = seeded();
    let mut league = League::of_four().await;
    let (mut kills, mut acknowledged) = (0, vec![0; 4]);
    for round in 0..rounds(6) {
        for _ in 0..random.random_range(1..4) {
            for member in ALL {
                league.submit(member, random.random_range(0..4)).await;
            }
        }
        // At whatever point of a height they are.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..120))).await;
        let victims = if round % 10 == 5 {
            ALL.to_vec()
        } else {
            vec![random.random_range(0..4usize)]
        };
        let mut said = Vec::new();
        for victim in &victims {
            said.push(league.kill(*victim).await);
            kills += 1;
        }
        for victim in &victims {
            league.start(*victim);
        }
        for victim in &victims {
            let node = league.nodes[*victim].as_ref().unwrap();
            all(&[node], "its first words after the kill", 60, |report| {
                !report.rpc.is_empty() || report.refused.is_some()
            })
            .await;
            assert_eq!(league.report(*victim).refused, None, "round {round}");
        }
        // A transaction is acknowledged when any node has it in a block. Nobody may be without it in the end, whoever of
        // them was killed right after it said so; a node that was catching up then fetches it again.
        let alive = league.running().into_iter().map(|node| node.report.borrow().clone());
        for report in alive.chain(said) {
            for (acknowledged, nonce) in acknowledged.iter_mut().zip(report.nonces) {
                *acknowledged = nonce.max(*acknowledged);
            }
        }
        let height = league.height();
        // And a new block, so that the next kill meets nodes that work and not only such as are about to begin.
        league.reach(&ALL, height + 1, "a block after the kill").await;
        let has_all = |report: &crate::processes::Report| report.nonces.iter().zip(&acknowledged).all(|(n, a)| n >= a);
        all(&league.running(), "what was acknowledged", 120, has_all).await;
        league.send_again(&ALL).await;
    }
    println!(
        "TALLY kill_rounds={} kills={kills} transactions={}",
        rounds(6),
        league.sent()
    );
    league.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_at_once_go_on_together() {
    let mut league = League::of_four().await;
    for _ in 0..rounds(2) {
        league.submit_all().await;
        let mut newest = 0;
        for member in ALL {
            newest = newest.max(league.kill(member).await.height);
        }
        league.start_all();
        league.reach(&ALL, newest + 1, "a block after all were killed").await;
        league.all_decided().await;
    }
    println!("TALLY all_killed={}", rounds(2));
    league.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_store_is_gone_fetches_the_ledger_and_validates_again() {
    let mut league = League::of_four().await;
    league.reach(&ALL, 5, "some blocks").await;
    for _ in 0..rounds(1) {
        league.submit_all().await;
        league.all_decided().await;
        league.kill(3).await;
        for name in ["ledger.redb", "consensus"] {
            let path = league.folder(3).join(name);
            assert!(path.exists(), "{name}");
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
            removed.unwrap();
        }
        let height = league.height();
        league.reach(&[0, 1, 2], height + 2, "blocks of the three").await;
        league.start(3);
        let height = league.height();
        league.reach(&[3], height, "the ledger from its beginning").await;
        // With one of the others away it takes all three that are left, the restored one among them.
        league.kill(0).await;
        let height = league.height();
        league.reach(&[1, 2, 3], height + 2, "blocks that need its vote").await;
        league.start(0);
        league.reach(&[0], height + 2, "what was decided without it").await;
    }
    println!("TALLY stores_lost={}", rounds(1));
    league.finish().await;
}

/// Without a quorum: what is promised then is that nothing happens.
#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_nodes_decide_nothing_until_a_third_is_back() {
    let mut league = League::of_four().await;
    league.kill(2).await;
    league.kill(3).await;
    comes_to_rest(&league, &[0, 1]).await;
    league.submit_all().await;
    stands_still(&league, &[0, 1], Duration::from_secs(3)).await;
    league.start(2);
    league.all_decided().await;
    league.start(3);
    league.finish().await;
}
