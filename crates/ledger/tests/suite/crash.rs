//! A client process is killed in the middle of its work, again and again.

use std::process::Stdio;
use std::time::Duration;

use hanse_ledger::{Addresses, Cursor, Event, Ledger, LedgerConfig, LedgerError};
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::anvil::Anvil;
use crate::league::{League, announce, bid_prices, events_until, key, terms, test_key};

const TASK: &str = "HANSE_LEDGER_CRASH_TASK";
const BIDS: u128 = 60;

/// What the killed process is told.
#[derive(Serialize, Deserialize)]
struct Task {
    url: url::Url,
    consortium: alloy::primitives::Address,
    federation: alloy::primitives::Address,
    store: std::path::PathBuf,
    id: alloy::primitives::B256,
}

/// Not a test: the process that is killed. It places all the bids at once and says when each is done.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test below"]
async fn the_process_that_is_killed() {
    let Ok(task) = std::env::var(TASK) else { return };
    let task: Task = serde_json::from_str(&task).expect("a task");
    let config = LedgerConfig::new(vec![task.url], task.consortium, task.federation, task.store);
    let ledger = Ledger::connect(config, test_key(1)).await.expect("connected");
    let bids = (1..=BIDS).map(|price| {
        let ledger = ledger.clone();
        async move {
            let key = key(format!("bid/{price}"));
            ledger
                .place_bid(key, task.id, price, String::new(), terms(1))
                .await
                .unwrap_or_else(|error| panic!("bid {price}: {error}"));
            println!("done {price}");
        }
    });
    futures::future::join_all(bids).await;
    println!("all done");
}

/// However often it is killed, started again it sends each command exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_sends_each_command_once() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    for arguments in [&["--block-time", "1"][..], &[][..]] {
        let anvil = Anvil::start(arguments).await;
        let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
        let Addresses { consortium, federation } = league.addresses;
        let consumer = league.member(0).await;
        let id = announce(&consumer).await;
        let task = Task {
            url: anvil.ws(),
            consortium,
            federation,
            store: league.config(&league.members[1]).store,
            id,
        };
        let task = serde_json::to_string(&task).expect("JSON");
        let nonce = league.nonce(&league.members[1]).await;
        let mut done = false;
        let mut kills = 0;
        while !done {
            let mut child = Command::new(std::env::current_exe().expect("this test"))
                .args([
                    "--exact",
                    "crash::the_process_that_is_killed",
                    "--ignored",
                    "--nocapture",
                ])
                .env(TASK, &task)
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("this test again");
            let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
            // The last time it may finish. Else it is killed a moment after some of its commands are done, or before
            // any is.
            let patience = if kills < 6 {
                random.random_range(0..900)
            } else {
                120_000
            };
            let wait_for_one = random.random_bool(0.5);
            let reading = async {
                if wait_for_one {
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line.contains("done") {
                            done |= line.contains("all done");
                            break;
                        }
                    }
                }
                tokio::time::timeout(Duration::from_millis(patience), async {
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line.contains("all done") {
                            done = true;
                            return;
                        }
                    }
                })
                .await
            };
            let _ = tokio::time::timeout(Duration::from_secs(150), reading)
                .await
                .expect("it does something");
            child.kill().await.expect("killed");
            kills += 1;
            assert!(kills < 10, "it never finishes");
        }
        println!("{kills} kills, with {arguments:?}");
        // All are done, so each repetition is answered from the store.
        let provider = league.member(1).await;
        assert!(provider.in_flight().await.expect("open").is_empty());
        let again = provider.place_bid(key("bid/1"), id, 1, String::new(), terms(1));
        again.await.expect("the receipt of then");
        let other = provider.place_bid(key("bid/1"), id, 2, String::new(), terms(1)).await;
        assert!(matches!(other, Err(LedgerError::KeyReused { .. })));
        assert_eq!(u128::from(league.nonce(&league.members[1]).await - nonce), BIDS);
        let mut count = 0;
        let events = events_until(&consumer, Cursor::START, |event| {
            count += u128::from(matches!(&event.kind, Event::BidPlaced(bid) if bid.id == id));
            count == BIDS
        })
        .await;
        let mut prices = bid_prices(&events, id);
        prices.sort_unstable();
        assert!(prices.into_iter().eq(1..=BIDS));
    }
}
