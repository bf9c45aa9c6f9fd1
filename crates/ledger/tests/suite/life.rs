//! What must hold on every chain. Each function is one promise; `main.rs` runs them on each backend.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy::primitives::{Bytes, U256};
use futures::future::join_all;
use hanse_ledger::{Cursor, Event, LedgerError, Link, Refusal};
use rand::{Rng, SeedableRng};

use crate::league::{League, announce, announcement, bid_prices, events_until, fresh_id, key, terms};

/// Announced, bid for, replaced, chosen, deployed, confirmed, terminated: what each party reads and is told.
pub async fn an_agreement_lives(league: &League) {
    let consumer = league.member(0).await;
    let provider = league.member(1).await;
    let rival = league.member(2).await;
    let id = announce(&consumer).await;

    let bid = |price: u128| (price, "Lübeck".to_owned(), terms(1));
    let (price, location, offer) = bid(20);
    let first = provider
        .place_bid(key("first"), id, price, location, offer)
        .await
        .expect("bid");
    let (price, location, offer) = bid(30);
    rival
        .place_bid(key("rival"), id, price, location, offer)
        .await
        .expect("bid");
    let (price, location, offer) = bid(10);
    let second = provider
        .place_bid(key("second"), id, price, location, offer)
        .await
        .expect("bid");
    assert!(second.block > first.block || second.tx != first.tx);

    let (agreement, bids) = consumer.details(id).await.expect("details");
    assert_eq!((agreement.state, agreement.bidCount, bids.len()), (1, 2, 2));
    let best = bids.iter().min_by_key(|bid| bid.pricePerHour).expect("two bids");
    assert_eq!((best.bidder, best.pricePerHour), (provider.account(), 10));
    assert_eq!(bids, consumer.bids(id).await.expect("bids"));

    let sealed = Bytes::from_static(b"sealed parameters");
    consumer
        .choose(
            key("choose"),
            id,
            best.bidder,
            best.sequence,
            0,
            sealed.clone(),
            U256::ZERO,
        )
        .await
        .expect("chosen");
    let endpoint = Bytes::from_static(b"sealed endpoint");
    provider
        .deployed(key("deployed"), id, endpoint.clone())
        .await
        .expect("deployed");
    consumer.confirm(key("confirm"), id).await.expect("confirmed");
    assert_eq!(consumer.live_agreements(provider.account()).await.expect("count"), 1);
    let ended = provider.terminate(key("terminate"), id).await.expect("terminated");
    let agreement = rival.agreement(id).await.expect("agreement");
    assert_eq!(agreement.state, 5);
    assert_eq!(agreement.provider, provider.account());
    assert_eq!(agreement.endpointHash, alloy::primitives::keccak256(&endpoint));

    let is_end = |event: &hanse_ledger::LedgerEvent| matches!(&event.kind, Event::Terminated(e) if e.id == id);
    let events = events_until(&rival, Cursor::START, is_end).await;
    let story: Vec<&Event> = events
        .iter()
        .map(|event| &event.kind)
        .filter(|kind| match kind {
            Event::Announced(e) => e.id == id,
            Event::BidPlaced(e) => e.id == id,
            Event::Awarded(e) => e.id == id && e.sealedParameters == sealed,
            Event::Deployed(e) => e.id == id && e.sealedEndpoint == endpoint,
            Event::Confirmed(e) => e.id == id,
            Event::Terminated(e) => e.id == id,
            _ => false,
        })
        .collect();
    assert_eq!(story.len(), 8, "{story:#?}");
    assert_eq!(bid_prices(&events, id), [20, 30, 10]);
    let last = events.last().expect("events");
    assert_eq!(
        (last.tx, last.cursor.block, last.block_time),
        (ended.tx, ended.block, ended.block_time)
    );

    let count = consumer.agreement_count().await.expect("count");
    let page = consumer.agreements(count - 1, 10).await.expect("page");
    assert_eq!(page.last().map(|agreement| agreement.announcement.id), Some(id));
    assert_eq!(consumer.members().await.expect("members").len(), league.members.len());
    assert_eq!(
        consumer.member(provider.account()).await.expect("member").info.name,
        "domain-1"
    );
    assert!(consumer.proposals().await.expect("proposals").is_empty());
    assert_eq!(
        consumer.consensus_parameters().await.expect("parameters").proposeMs,
        400
    );
    let status = consumer.status().borrow().clone();
    assert_eq!((status.link, status.member), (Link::Connected, Some(true)));
}

/// The same key is the same command, whatever happens to it; for something else it is refused.
pub async fn a_repeated_key_is_the_same_command(league: &League) {
    let consumer = league.member(0).await;
    let provider = league.member(1).await;
    let id = announce(&consumer).await;
    let nonce = league.nonce(&league.members[1]).await;
    let bid = |price| provider.place_bid(key(format!("{id}/bid")), id, price, String::new(), terms(1));
    let (one, two) = tokio::join!(bid(5), bid(5));
    let (one, two) = (one.expect("bid"), two.expect("the same bid"));
    assert_eq!(one, two);
    assert_eq!(bid(5).await.expect("the same bid"), one);
    assert!(matches!(bid(6).await, Err(LedgerError::KeyReused { .. })));
    let again = league.restart(&league.members[1]).await;
    let repeated = again.place_bid(key(format!("{id}/bid")), id, 5, String::new(), terms(1));
    assert_eq!(repeated.await.expect("the same bid"), one);
    assert_eq!(league.nonce(&league.members[1]).await, nonce + 1);
}

/// A refusal is typed, spends no nonce, and leaves the key free.
pub async fn a_refusal_costs_nothing(league: &League) {
    let consumer = league.member(0).await;
    let id = fresh_id();
    let nonce = league.nonce(&league.members[0]).await;
    let refused = consumer.confirm(key(format!("{id}/confirm")), id).await;
    assert_eq!(
        refused.expect_err("unknown").refusal(),
        Some(&Refusal::UnknownAgreement { id })
    );
    assert_eq!(league.nonce(&league.members[0]).await, nonce);
    let stranger = league.connect(&league.stranger).await;
    let status = stranger.status().borrow().clone();
    assert_eq!(status.member, Some(false), "a stranger may connect and is told");
    let announcement = announcement(&stranger, id, 600).await;
    let refused = stranger.announce(key("x"), announcement).await.expect_err("a stranger");
    let account = stranger.account();
    assert_eq!(refused.refusal(), Some(&Refusal::NotMember { account }));
    assert!(refused.to_string().contains("ask a member"), "{refused}");
    assert!(!refused.is_retryable());
}

/// Two hundred commands of one account at once: each takes effect once.
pub async fn many_commands_at_once_all_land_once(league: &League) {
    const COMMANDS: u128 = 200;
    let consumer = league.member(0).await;
    let provider = league.member(1).await;
    let id = announce(&consumer).await;
    let nonce = league.nonce(&league.members[1]).await;
    let bids = (1..=COMMANDS).map(|price| {
        let provider = provider.clone();
        async move {
            provider
                .place_bid(key(format!("{id}/{price}")), id, price, String::new(), terms(1))
                .await
        }
    });
    let started = std::time::Instant::now();
    let receipts = join_all(bids).await;
    let took = started.elapsed();
    let blocks: std::collections::BTreeSet<u64> = receipts
        .iter()
        .map(|receipt| receipt.as_ref().expect("each lands").block)
        .collect();
    println!("{COMMANDS} commands at once: {took:?}, {} blocks", blocks.len());
    assert_eq!(u128::from(league.nonce(&league.members[1]).await - nonce), COMMANDS);
    let mut seen = 0;
    let events = events_until(&provider, Cursor::START, |event| {
        seen += u128::from(matches!(&event.kind, Event::BidPlaced(bid) if bid.id == id));
        seen == COMMANDS
    })
    .await;
    let mut prices = bid_prices(&events, id);
    prices.sort_unstable();
    assert!(prices.into_iter().eq(1..=COMMANDS));
    assert!(provider.in_flight().await.expect("open commands").is_empty());
}

/// From whichever event one resumes, the rest follows, whole and in order.
pub async fn events_resume_anywhere(league: &League) {
    let consumer = league.member(0).await;
    let provider = league.member(1).await;
    let mut last = fresh_id();
    for round in 0..6 {
        let id = announce(&consumer).await;
        let bids = (1..=5u128).map(|price| {
            let provider = provider.clone();
            async move {
                let key = key(format!("{id}/{price}"));
                provider
                    .place_bid(key, id, price, format!("round {round}"), terms(1))
                    .await
            }
        });
        for bid in join_all(bids).await {
            bid.expect("bid");
        }
        consumer
            .cancel(key(format!("{id}/cancel")), id, String::new())
            .await
            .expect("cancelled");
        last = id;
    }
    let is_last = |event: &hanse_ledger::LedgerEvent| matches!(&event.kind, Event::Cancelled(e) if e.id == last);
    let all = events_until(&consumer, Cursor::START, is_last).await;
    assert!(all.len() >= 6 * 7);
    assert!(all.is_sorted_by_key(|event| event.cursor));
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    for _ in 0..12 {
        let from = random.random_range(0..all.len() - 1);
        let rest = events_until(&provider, all[from].cursor, is_last).await;
        let facts = |event: &hanse_ledger::LedgerEvent| (event.cursor, event.tx, event.block_time, event.kind.clone());
        assert!(
            rest.iter().map(facts).eq(all[from + 1..].iter().map(facts)),
            "resumed behind event {from}"
        );
    }
    // And what comes after the last one is told when it happens.
    let cursor = all.last().expect("events").cursor;
    let reader = provider.clone();
    let live = tokio::spawn(async move { events_until(&reader, cursor, |_| true).await });
    let id = announce(&consumer).await;
    let live = live.await.expect("read");
    assert!(matches!(&live[0].kind, Event::Announced(e) if e.id == id));
}

/// How long a command takes from the call to its receipt, and how much of that after its block was seen.
pub async fn latency(league: &League, what: &str) {
    const COMMANDS: u128 = 60;
    let consumer = league.member(0).await;
    let provider = league.member(1).await;
    let id = announce(&consumer).await;
    let blocks: Arc<Mutex<HashMap<u64, Instant>>> = Arc::default();
    let watching = tokio::spawn({
        let (mut status, blocks) = (provider.status(), Arc::clone(&blocks));
        async move {
            while status.changed().await.is_ok() {
                if let Some(head) = status.borrow_and_update().head {
                    blocks
                        .lock()
                        .expect("not poisoned")
                        .entry(head.number)
                        .or_insert_with(Instant::now);
                }
            }
        }
    });
    let (mut commands, mut after_block) = (Vec::new(), Vec::new());
    for price in 1..=COMMANDS {
        let started = Instant::now();
        let receipt = provider
            .place_bid(key(format!("{id}/{price}")), id, price, String::new(), terms(1))
            .await
            .expect("bid");
        commands.push(started.elapsed());
        // Over HTTP the receipt may be there before the poll that shows the block.
        if let Some(seen) = blocks.lock().expect("not poisoned").get(&receipt.block) {
            after_block.push(seen.elapsed());
        }
    }
    watching.abort();
    commands.sort_unstable();
    after_block.sort_unstable();
    let at = |times: &[Duration], share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{what}: command p50 {:?}, p90 {:?}; of that after the block was seen p50 {:?}, p90 {:?}",
        at(&commands, 50),
        at(&commands, 90),
        at(&after_block, 50),
        at(&after_block, 90)
    );
    // Alloy's own poller would make it seconds; the bound leaves room for a loaded machine.
    assert!(
        at(&commands, 50) < Duration::from_secs(1),
        "{what}: {:?}",
        at(&commands, 50)
    );
}
