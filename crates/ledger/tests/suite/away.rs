//! A ledger that goes away and comes back.

use std::sync::Arc;
use std::time::Duration;

use hanse_ledger::{Cursor, Event, LedgerError, Link};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

use crate::anvil::Anvil;
use crate::league::{League, announce, bid_prices, events_until, eventually, fresh_id, key, terms};

/// A line to a node that can be cut.
struct Line {
    port: u16,
    up: Arc<watch::Sender<bool>>,
    task: tokio::task::JoinHandle<()>,
}

impl Line {
    async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let up = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&up);
        let task = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut up = state.subscribe();
                if !*up.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = up.changed() => {}
                    }
                });
            }
        });
        Self { port, up, task }
    }

    fn url(&self, scheme: &str) -> Url {
        format!("{scheme}://127.0.0.1:{}", self.port).parse().expect("a URL")
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The line is cut for 5 s with a command and an event stream in the middle of their work.
#[tokio::test(flavor = "multi_thread")]
async fn five_seconds_away() {
    for scheme in ["ws", "http"] {
        let anvil = Anvil::start(&[]).await;
        let line = Line::to(anvil.port).await;
        let league = League::on_anvil(&anvil, vec![line.url(scheme)], 4).await;
        let consumer = league.member(0).await;
        let provider = league.member(1).await;
        let id = announce(&consumer).await;
        let ours = consumer.clone();
        let reading = tokio::spawn(async move {
            events_until(
                &ours,
                Cursor::START,
                |event| matches!(&event.kind, Event::BidPlaced(bid) if bid.pricePerHour == 3),
            )
            .await
        });
        let bid = |price: u128| {
            let provider = provider.clone();
            async move {
                let key = key(format!("{id}/{price}"));
                provider.place_bid(key, id, price, String::new(), terms(1)).await
            }
        };
        bid(1).await.expect("bid");
        let _: serde_json::Value = anvil.raw("evm_setAutomine", serde_json::json!([false])).await;
        let second = tokio::spawn(bid(2));
        eventually("the bid waits", 20, async || {
            let status: serde_json::Value = anvil.raw("txpool_status", serde_json::json!([])).await;
            status["pending"] == "0x1"
        })
        .await;
        let away = std::time::Instant::now();
        line.up.send_replace(false);
        let status = provider.status();
        eventually("it is noticed", 10, async || {
            matches!(status.borrow().link, Link::Away { .. })
        })
        .await;
        let refused = bid(3).await.expect_err("nobody answers");
        assert!(
            matches!(refused, LedgerError::Unreachable { .. }) && refused.is_retryable(),
            "{refused}"
        );
        // Meanwhile the chain goes on.
        let _: serde_json::Value = anvil.raw("evm_mine", serde_json::json!([])).await;
        let _: serde_json::Value = anvil.raw("evm_setAutomine", serde_json::json!([true])).await;
        tokio::time::sleep(Duration::from_secs(5).saturating_sub(away.elapsed())).await;
        assert!(!second.is_finished());
        line.up.send_replace(true);
        second.await.expect("ran").expect("the receipt is found afterwards");
        eventually("it is noticed", 10, async || status.borrow().link == Link::Connected).await;
        bid(3).await.expect("bid");
        let events = reading.await.expect("read");
        assert_eq!(bid_prices(&events, id), [1, 2, 3], "{scheme}");
    }
}

/// The node itself is stopped and started again with its state.
#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_started_again() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let state = folder.path().join("state.json");
    let mut anvil = Anvil::start(&["--state", state.to_str().expect("UTF-8")]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    let consumer = league.member(0).await;
    let id = announce(&consumer).await;
    anvil.stop().await;
    let status = consumer.status();
    eventually("it is noticed", 10, async || {
        matches!(status.borrow().link, Link::Away { .. })
    })
    .await;
    anvil.start_again().await;
    eventually("it is noticed", 20, async || status.borrow().link == Link::Connected).await;
    consumer
        .cancel(key("cancel"), id, "changed my mind".into())
        .await
        .expect("cancelled");
    let events = events_until(
        &consumer,
        Cursor::START,
        |event| matches!(&event.kind, Event::Cancelled(e) if e.id == id),
    )
    .await;
    assert!(
        events
            .iter()
            .any(|event| matches!(&event.kind, Event::Announced(e) if e.id == id))
    );
}

/// Two lines to the chain: when one is cut, the other takes over in the middle of work.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_endpoint_takes_over() {
    let anvil = Anvil::start(&["--block-time", "1"]).await;
    let (first, second) = (Line::to(anvil.port).await, Line::to(anvil.port).await);
    let league = League::on_anvil(&anvil, vec![first.url("ws"), second.url("http")], 4).await;
    let consumer = league.member(0).await;
    let ids: Vec<_> = (0..10).map(|_| fresh_id()).collect();
    let mut tasks = Vec::new();
    for id in ids.clone() {
        let announcement = crate::league::announcement(&consumer, id, 600).await;
        let consumer = consumer.clone();
        tasks.push(tokio::spawn(async move {
            // Whoever is told that nobody answered repeats, as the documentation says.
            loop {
                match consumer.announce(key(format!("{id}")), announcement.clone()).await {
                    Err(LedgerError::Unreachable { .. }) => {}
                    other => return other,
                }
            }
        }));
    }
    first.up.send_replace(false);
    for task in tasks {
        task.await.expect("ran").expect("announced");
    }
    assert_eq!(consumer.status().borrow().url, second.url("http"));
    let mut count = 0;
    let events = events_until(&consumer, Cursor::START, |event| {
        count += usize::from(matches!(&event.kind, Event::Announced(e) if ids.contains(&e.id)));
        count == ids.len()
    })
    .await;
    assert!(events.is_sorted_by_key(|event| event.cursor));
}
