//! Chains whose blocks can be replaced.

use futures::StreamExt;
use hanse_ledger::{Cursor, Event, LedgerError};

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
        let _: serde_json::Value = anvil.raw("anvil_mine", serde_json::json!(["0x4"])).await;
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
        let _: serde_json::Value = anvil.raw("anvil_reorg", serde_json::json!([1, []])).await;
        assert!(!command.is_finished(), "one block is not final");
        eventually("it is in a block again", 20, async || {
            consumer.agreement(id).await.is_ok() && consumer.tip().await.expect("tip").hash != before.hash
        })
        .await;
        for _ in 0..4 {
            assert!(league.nonce(&league.members[0]).await <= nonce + 1);
            let _: serde_json::Value = anvil.raw("anvil_mine", serde_json::json!(["0x1"])).await;
        }
        let receipt = command.await.expect("ran").expect("announced");
        assert_ne!(receipt.block, 0);
        let event = tokio::time::timeout(std::time::Duration::from_secs(30), told.next());
        let event = event.await.expect("told").expect("goes on").expect("an event");
        assert!(matches!(&event.kind, Event::Announced(e) if e.id == id));
        assert_eq!((event.tx, event.cursor.block), (receipt.tx, receipt.block));
    }
}

/// A replacement deeper than the confirmations is told, and what the new blocks hold is told too.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_is_too_deep_is_told() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    let consumer = league.member(0).await;
    let from = Cursor::after_block(consumer.tip().await.expect("tip").number);
    let mut told = consumer.events(from);
    let first = crate::league::announce(&consumer).await;
    let event = told.next().await.expect("goes on").expect("an event");
    assert!(matches!(&event.kind, Event::Announced(e) if e.id == first));
    let _: serde_json::Value = anvil.raw("anvil_reorg", serde_json::json!([1, []])).await;
    let _: serde_json::Value = anvil.raw("anvil_mine", serde_json::json!(["0x1"])).await;
    let patience = std::time::Duration::from_secs(30);
    let replaced = tokio::time::timeout(patience, told.next())
        .await
        .expect("told")
        .expect("goes on");
    let Err(LedgerError::Reorganised { from, .. }) = replaced else {
        panic!("{replaced:?}");
    };
    assert!(from <= event.cursor.block);
    let second = crate::league::announce(&consumer).await;
    let event = tokio::time::timeout(patience, told.next())
        .await
        .expect("told")
        .expect("goes on");
    let event = event.expect("an event");
    assert!(
        matches!(&event.kind, Event::Announced(e) if e.id == second),
        "{event:?}"
    );
}
