//! Chains whose blocks can be replaced.

use futures::StreamExt;
use hanse_ledger::{Cursor, Event, Ledger, LedgerError, LedgerEvent, Refusal};
use serde_json::json;

use crate::anvil::Anvil;
use crate::league::{League, announcement, eventually, fresh_id, key};

/// An announcement whose block is replaced is noticed and sent again; nobody is told of it before it is final, and then
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn an_undone_announcement_is_repeated() {
    let anvil = Anvil::start(&[]).await;
    for url in [anvil.ws(), anvil.http()] {
        let mut league = League::on_anvil(&anvil, vec![url], 4).await;
        league.confirmations = 3;
        let _: serde_json::Value = anvil.raw("anvil_mine", json!(["0x4"])).await;
        let consumer = league.member(0).await;
        let id = fresh_id();
        let announcement = announcement(&consumer, id, 600).await;
        let nonce = league.nonce(&league.members[0]).await;
        let mut told = consumer.events(Cursor::after_block(consumer.tip().await.expect("tip").number));
        let ours = consumer.clone();
        let command = tokio::spawn(async move { ours.announce(key("announce"), announcement).await });
        eventually("it is in a block", 20, async || {
            league.nonce(&league.members[0]).await == nonce + 1
        })
        .await;
        let before = consumer.tip().await.expect("tip");
        let _: serde_json::Value = anvil.raw("anvil_reorg", json!([1, []])).await;
        assert!(!command.is_finished(), "one block is not final");
        eventually("it is in a block again", 20, async || {
            league.nonce(&league.members[0]).await == nonce + 1
                && consumer.tip().await.expect("tip").hash != before.hash
        })
        .await;
        let unknown = consumer.agreement(id).await.expect_err("what is not final is not read");
        assert!(
            matches!(unknown, LedgerError::Refused(Refusal::UnknownAgreement { .. })),
            "{unknown}"
        );
        for _ in 0..4 {
            assert!(league.nonce(&league.members[0]).await <= nonce + 1);
            let _: serde_json::Value = anvil.raw("anvil_mine", json!(["0x1"])).await;
        }
        let receipt = command.await.expect("ran").expect("announced");
        consumer
            .agreement(id)
            .await
            .expect("whoever was told that it is final can read it");
        assert_ne!(receipt.block, 0);
        let event = tokio::time::timeout(std::time::Duration::from_secs(30), told.next());
        let event = event.await.expect("told").expect("goes on").expect("an event");
        assert!(matches!(&event.kind, Event::Announced(e) if e.id == id));
        assert_eq!((event.tx, event.cursor.block), (receipt.tx, receipt.block));
    }
}

async fn next(
    told: &mut (impl futures::Stream<Item = Result<LedgerEvent, LedgerError>> + Unpin),
) -> Result<LedgerEvent, LedgerError> {
    let next = tokio::time::timeout(std::time::Duration::from_secs(60), told.next());
    next.await
        .expect("something is told within a minute")
        .expect("it goes on")
}

/// How often it is in the chain as it is now.
async fn announced(ledger: &Ledger, id: alloy::primitives::B256) -> usize {
    let mut told = ledger.events(Cursor::START);
    let mut blocks = Vec::new();
    // The stream has no end, so another event is made for it.
    let last = crate::league::announce(ledger).await;
    loop {
        let event = match next(&mut told).await {
            // It began with a newest block that is none any more.
            Err(LedgerError::Reorganised { from, .. }) => {
                blocks.retain(|block| *block < from);
                continue;
            }
            event => event.expect("an event"),
        };
        match event.kind {
            Event::Announced(it) if it.id == last => return blocks.len(),
            Event::Announced(it) if it.id == id => blocks.push(event.cursor.block),
            _ => {}
        }
    }
}

/// Blocks deeper than the confirmations are replaced: it is told, at once, also by no more blocks than there were; what was
/// final in them is sent again, without anybody asking for it, and told again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_undone_although_it_was_final_is_repeated_once() {
    let anvil = Anvil::start(&[]).await;
    for url in [anvil.ws(), anvil.http()] {
        let league = League::on_anvil(&anvil, vec![url], 4).await;
        let consumer = league.member(0).await;
        let from = Cursor::after_block(consumer.tip().await.expect("tip").number);
        let mut told = consumer.events(from);
        let id = crate::league::announce(&consumer).await;
        let first = next(&mut told).await.expect("an event");
        assert!(matches!(&first.kind, Event::Announced(e) if e.id == id));
        let nonce = league.nonce(&league.members[0]).await;
        let _: serde_json::Value = anvil.raw("anvil_reorg", json!([1, []])).await;
        let replaced = next(&mut told).await;
        let Err(LedgerError::Reorganised { from, .. }) = replaced else {
            panic!("{replaced:?}");
        };
        assert!(from <= first.cursor.block);
        let again = next(&mut told).await.expect("an event");
        assert!(matches!(&again.kind, Event::Announced(e) if e.id == id), "{again:?}");
        assert_ne!(again.cursor.hash, first.cursor.hash);
        assert_eq!(league.nonce(&league.members[0]).await, nonce, "no second transaction");
        assert_eq!(announced(&consumer, id).await, 1);
    }
}

/// Whoever repeats a command that was final learns that it is again, not that it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_command_that_was_undone_is_done_again() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.http()], 4).await;
    let consumer = league.member(0).await;
    let id = fresh_id();
    let announcement = announcement(&consumer, id, 600).await;
    let before = consumer
        .announce(key("announce"), announcement.clone())
        .await
        .expect("announced");
    // Nobody listens to events, and the process is another one.
    let consumer = league.restart(&league.members[0]).await;
    let _: serde_json::Value = anvil.raw("anvil_reorg", json!([1, []])).await;
    let after = consumer
        .announce(key("announce"), announcement)
        .await
        .expect("announced");
    assert_ne!(before.block, after.block);
    consumer.agreement(id).await.expect("it is there");
    assert_eq!(announced(&consumer, id).await, 1);
}

/// The blocks were replaced while nobody followed the chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_while_nobody_listened_is_told() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    let consumer = league.member(0).await;
    let undone = crate::league::announce(&consumer).await;
    let mut told = consumer.events(Cursor::START);
    let position = loop {
        let event = next(&mut told).await.expect("an event");
        if matches!(&event.kind, Event::Announced(e) if e.id == undone) {
            break event.cursor;
        }
    };
    drop(told);
    let position = serde_json::to_string(&position).expect("JSON");
    let _: serde_json::Value = anvil.raw("anvil_reorg", json!([1, []])).await;
    let consumer = league.restart(&league.members[0]).await;
    let mut told = consumer.events(serde_json::from_str(&position).expect("a position"));
    let replaced = next(&mut told).await;
    assert!(matches!(replaced, Err(LedgerError::Reorganised { .. })), "{replaced:?}");
    loop {
        // From further below, since nobody knows how far down it goes.
        let event = next(&mut told).await.expect("an event");
        if matches!(&event.kind, Event::Announced(e) if e.id == undone) {
            break;
        }
    }
}
