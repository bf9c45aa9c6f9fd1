//! Transactions that get lost, are overtaken, or get stuck.

use std::time::Duration;

use alloy::primitives::{B256, U64, U256};
use hanse_ledger::{Cursor, LedgerError};

use crate::anvil::Anvil;
use crate::league::{League, announce, bid_prices, events_until, eventually, key, terms};

async fn pending(anvil: &Anvil, account: alloy::primitives::Address) -> Vec<(u64, B256)> {
    let content: serde_json::Value = anvil.raw("txpool_content", serde_json::json!([])).await;
    let mut found = Vec::new();
    for kind in ["pending", "queued"] {
        let Some(accounts) = content[kind].as_object() else {
            continue;
        };
        for (address, transactions) in accounts {
            if address.parse::<alloy::primitives::Address>().expect("an address") != account {
                continue;
            }
            for (nonce, transaction) in transactions.as_object().expect("by nonce") {
                let hash = transaction["hash"].as_str().expect("a hash").parse().expect("a hash");
                found.push((nonce.parse().expect("a nonce"), hash));
            }
        }
    }
    found.sort_unstable();
    found
}

async fn mine(anvil: &Anvil) {
    let _: serde_json::Value = anvil.raw("evm_mine", serde_json::json!([])).await;
}

/// Five are out, all are dropped, or only one in the middle: all are sent again and land once.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_transactions_are_sent_again() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    let consumer = league.member(0).await;
    let provider = league.member(1).await;
    for dropped in [vec![2], vec![0, 1, 2, 3, 4]] {
        let id = announce(&consumer).await;
        let _: serde_json::Value = anvil.raw("evm_setAutomine", serde_json::json!([false])).await;
        let bids: Vec<_> = (1..=5u128)
            .map(|price| {
                let provider = provider.clone();
                tokio::spawn(async move {
                    provider
                        .place_bid(key(format!("{id}/{price}")), id, price, String::new(), terms(1))
                        .await
                })
            })
            .collect();
        eventually("five transactions wait", 20, async || {
            pending(&anvil, provider.account()).await.len() == 5
        })
        .await;
        let waiting = pending(&anvil, provider.account()).await;
        for index in &dropped {
            // Anvil drops what depends on it along with it.
            let hash = waiting[*index].1;
            let gone: Option<B256> = anvil.raw("anvil_dropTransaction", serde_json::json!([hash])).await;
            assert!(gone.is_some() || *index != dropped[0], "it was there");
        }
        eventually("they are sent again", 20, async || {
            pending(&anvil, provider.account()).await == waiting
        })
        .await;
        let _: serde_json::Value = anvil.raw("evm_setAutomine", serde_json::json!([true])).await;
        mine(&anvil).await;
        for bid in bids {
            bid.await.expect("ran").expect("bid");
        }
        let mut count = 0;
        let events = events_until(&consumer, Cursor::START, |event| {
            count += bid_prices(std::slice::from_ref(event), id).len();
            count == 5
        })
        .await;
        let mut prices = bid_prices(&events, id);
        prices.sort_unstable();
        assert_eq!(prices, [1, 2, 3, 4, 5]);
    }
}

/// Someone else sends from the same account and takes the nonce: the command is signed again and lands once.
#[tokio::test(flavor = "multi_thread")]
async fn other_use_of_the_account_is_survived() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    let consumer = league.member(0).await;
    let provider = league.member(1).await;
    let id = announce(&consumer).await;
    let nonce = league.nonce(&league.members[1]).await;
    let _: serde_json::Value = anvil.raw("evm_setAutomine", serde_json::json!([false])).await;
    let ours = provider.clone();
    let bid = tokio::spawn(async move { ours.place_bid(key("bid"), id, 9, String::new(), terms(1)).await });
    eventually("the bid waits", 20, async || {
        pending(&anvil, provider.account()).await.len() == 1
    })
    .await;
    // The account's key is known to anvil, which plays the other program.
    let theirs: B256 = anvil
        .raw(
            "eth_sendTransaction",
            serde_json::json!([{
                "from": provider.account(), "to": consumer.account(), "value": "0x1", "nonce": U64::from(nonce),
                "gas": "0x5208", "maxFeePerGas": U256::from(90_000_000_000u64), "maxPriorityFeePerGas": U256::from(80_000_000_000u64)
            }]),
        )
        .await;
    assert_eq!(pending(&anvil, provider.account()).await, [(nonce, theirs)]);
    mine(&anvil).await;
    let _: serde_json::Value = anvil.raw("evm_setAutomine", serde_json::json!([true])).await;
    let receipt = bid.await.expect("ran").expect("bid");
    assert_ne!(receipt.tx, theirs);
    assert_eq!(league.nonce(&league.members[1]).await, nonce + 2);
    let events = events_until(&consumer, Cursor::START, |event| event.tx == receipt.tx).await;
    assert_eq!(bid_prices(&events, id), [9]);
}

/// A command that nobody includes times out in time; repeated, it is the same one, and it can be given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_leaves_the_command_in_pursuit() {
    let anvil = Anvil::start(&[]).await;
    let mut league = League::on_anvil(&anvil, vec![anvil.http()], 4).await;
    let id = announce(&league.member(0).await).await;
    league.receipt_timeout = Duration::from_secs(2);
    let provider = league.member(1).await;
    let nonce = league.nonce(&league.members[1]).await;
    let _: serde_json::Value = anvil.raw("evm_setAutomine", serde_json::json!([false])).await;
    let bid = |name: &str, price| provider.place_bid(key(name), id, price, String::new(), terms(1));
    let late = bid("bid", 3).await.expect_err("nobody makes blocks");
    assert!(
        matches!(late, LedgerError::Timeout { .. }) && late.is_retryable(),
        "{late}"
    );
    assert!(late.to_string().contains("sent, but not in a final block"), "{late}");
    assert_eq!(provider.in_flight().await.expect("open"), [key("bid")]);
    let waiting = pending(&anvil, provider.account()).await;
    assert_eq!(waiting.len(), 1);
    // Given up: another command makes its nonce be used up by nothing.
    assert!(provider.withdraw_command(key("bid")).await.expect("asked"));
    let second = tokio::spawn({
        let provider = provider.clone();
        async move { provider.place_bid(key("second"), id, 4, String::new(), terms(1)).await }
    });
    eventually("the empty transaction replaces the bid", 20, async || {
        let now = pending(&anvil, provider.account()).await;
        now.len() == 2 && now[0].1 != waiting[0].1
    })
    .await;
    mine(&anvil).await;
    second.await.expect("ran").expect("bid");
    assert_eq!(league.nonce(&league.members[1]).await, nonce + 2);
    let bids = provider.bids(id).await.expect("bids");
    assert_eq!(bids.iter().map(|bid| bid.pricePerHour).collect::<Vec<_>>(), [4]);
    assert!(provider.in_flight().await.expect("open").is_empty());
}
