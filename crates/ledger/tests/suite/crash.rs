//! A client process is killed in the middle of its work, again and again.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt;
use hanse_ledger::{Addresses, Cursor, Event, Ledger, LedgerConfig, LedgerError};
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::anvil::Anvil;
use crate::league::{League, announce, bid_prices, events_until, key, terms, test_key};

const TASK: &str = "HANSE_LEDGER_CRASH_TASK";
const BIDS: u128 = 80;
/// Fewer than 8 commands are done before each, so something is always left to do.
const KILLS: usize = 8;

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
    let bids = futures::stream::iter(1..=BIDS).map(|price| {
        let ledger = ledger.clone();
        async move {
            let key = key(format!("bid/{price}"));
            ledger
                .place_bid(key, task.id, price, String::new(), terms(1))
                .await
                .unwrap_or_else(|error| panic!("bid {price}: {error}"));
            println!("done {price}.");
        }
    });
    // A few at a time, so that there is something left to be killed in the middle of.
    bids.buffer_unordered(6).collect::<()>().await;
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
        let mut known = BTreeSet::new();
        for kill in 0..=KILLS {
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
            // Killed a moment after a few more commands are done; the last one may finish.
            let more = if kill == KILLS {
                usize::MAX
            } else {
                random.random_range(0..8)
            };
            let goal = known.len().saturating_add(more);
            let reading = async {
                while known.len() < goal {
                    match lines.next_line().await.expect("its output") {
                        Some(line) if line.contains("all done") => return,
                        Some(line) => known.extend(line.split("done ").nth(1).map(ToOwned::to_owned)),
                        None => panic!("it ended before all was done"),
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(150), reading)
                .await
                .expect("it does something");
            if kill < KILLS {
                tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
            }
            child.kill().await.expect("killed");
        }
        println!("{} commands were known to be done, with {arguments:?}", known.len());
        // All are done, so each repetition is answered from the store.
        let provider = league.member(1).await;
        // What became final while the process died is noted by the next one.
        let settled = async {
            while !provider.in_flight().await.expect("open").is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), settled)
            .await
            .expect("nothing stays in flight");
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
