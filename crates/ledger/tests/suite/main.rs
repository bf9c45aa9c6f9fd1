//! The client against real nodes. Needs anvil and hardhat, which `cargo xtask test` installs.
#![allow(clippy::unwrap_used, missing_docs)]

mod anvil;
mod away;
mod connecting;
mod crash;
mod embedded;
mod hardhat;
mod league;
mod life;
mod loss;
mod refusals;
mod replaced;
mod sparse;

use anvil::Anvil;
use embedded::Embedded;
use hardhat::Hardhat;
use league::League;
use sparse::Sparse;

/// All that must hold on every chain.
async fn suite(league: &League, what: &str) {
    life::many_commands_at_once_all_land_once(league).await;
    suite_of_single_commands(league, what).await;
}

async fn suite_of_single_commands(league: &League, what: &str) {
    life::an_agreement_lives(league).await;
    life::a_repeated_key_is_the_same_command(league).await;
    life::a_refusal_costs_nothing(league).await;
    life::events_resume_anywhere(league).await;
    life::latency(league, what).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_anvil_over_websocket() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    suite(&league, "anvil, ws").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_anvil_over_http() {
    let anvil = Anvil::start(&[]).await;
    let league = League::on_anvil(&anvil, vec![anvil.http()], 4).await;
    suite(&league, "anvil, http").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_anvil_without_fees() {
    let anvil = Anvil::start(&["--base-fee", "0", "--disable-min-priority-fee"]).await;
    let league = League::on_anvil(&anvil, vec![anvil.ws()], 4).await;
    life::an_agreement_lives(&league).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_block_each_second() {
    let anvil = Anvil::start(&["--block-time", "1"]).await;
    for url in [anvil.ws(), anvil.http()] {
        let league = League::on_anvil(&anvil, vec![url], 4).await;
        life::an_agreement_lives(&league).await;
        life::many_commands_at_once_all_land_once(&league).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_four_embedded_nodes() {
    let nodes = Embedded::start().await;
    suite(&nodes.league(&["ws", "ws", "ws", "ws"]), "embedded, 4 nodes, ws").await;
    life::latency(&nodes.league(&["http"]), "embedded, 4 nodes, http").await;
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_hardhat() {
    let hardhat = Hardhat::start().await;
    for url in [hardhat.ws(), hardhat.http()] {
        let league = League::deployed(&hardhat.http(), hardhat.http(), vec![url.clone()], 4).await;
        // It takes no transaction before the one with the nonce below is in a block, so two hundred at once take minutes.
        suite_of_single_commands(&league, &format!("hardhat, {}", url.scheme())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_embedded_nodes_of_which_the_one_in_use_stops() {
    let mut nodes = Embedded::start().await;
    let league = nodes.league(&["ws", "ws", "ws", "ws"]);
    tokio::join!(life::many_commands_at_once_all_land_once(&league), nodes.stop_first());
    suite(&league, "embedded, 3 of 4 nodes, ws").await;
    nodes.stop().await;
}

/// WebSocket is refused there too, so the second address is used.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_node_without_fee_history_filters_and_subscriptions() {
    let anvil = Anvil::start(&[]).await;
    let node = Sparse::http(&anvil).await;
    let league = League::on_anvil(&anvil, vec![node.url("ws"), node.url("http")], 4).await;
    suite(&league, "sparse node, http").await;
    assert!(node.was_asked_for("eth_maxPriorityFeePerGas"), "and it did without");
    assert!(!node.was_asked_for("eth_feeHistory") && !node.was_asked_for("eth_newFilter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_node_with_websocket_but_without_subscriptions() {
    let anvil = Anvil::start(&[]).await;
    let node = Sparse::ws(&anvil).await;
    let league = League::on_anvil(&anvil, vec![node.url("ws")], 4).await;
    suite(&league, "sparse node, ws").await;
    assert!(node.was_asked_for("eth_subscribe"), "and it did without");
}
