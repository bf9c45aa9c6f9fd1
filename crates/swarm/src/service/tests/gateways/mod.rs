//! Two domains behind gateways of their own, and one that everybody can call. Nothing is configured but the bootstrap member.

mod gateway;

use std::process::Command;

use super::killed::{BLOB, Victim, task};
use super::*;
use crate::relay::{Reachability, Route};
use gateway::{Gateways, Mapping, OUTSIDE};

const TAGS: [u8; 2] = [21, 22];

fn description(tag: u8) -> String {
    format!("domain-{tag}")
}

/// Not a test of its own: what lives behind a gateway, and says what it sees.
#[tokio::test(flavor = "multi_thread")]
async fn child_lives_behind_a_gateway() {
    let Some(mut config) = task() else { return };
    let tag: u8 = std::env::var(BLOB).unwrap().parse().unwrap();
    (config.domain, config.sealing) = (key(tag), sealing(tag));
    config.listen = vec![SwarmAddress::parse("/ip4/0.0.0.0/tcp/4001").unwrap()];
    config.compare_every = Duration::from_secs(1);
    config.peers.look_every = Duration::from_millis(500);
    let swarm = Swarm::start(config).await.unwrap();
    swarm.publish(statement(tag, &description(tag))).await.unwrap();
    loop {
        let status = swarm.status().await.unwrap();
        println!("\nstatus {:?} {} end", status.reachability, status.relays.len());
        for address in status.addresses {
            println!("address {address}");
        }
        for peer in swarm.peers().await.unwrap() {
            let route = peer.route.map_or("None".to_owned(), |route| format!("{route:?}"));
            println!(
                "{} {:?} {route} end",
                peer.identity.description().as_str(),
                peer.presence
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts both, and waits until each sees the other over `route`.
async fn both_meet(mapping: Mapping, route: Route) {
    let gateways = Gateways::new(mapping);
    let swarm_key = SwarmKey::generate();
    let folder = tempfile::tempdir().unwrap();
    let mut outside = config(&swarm_key, 1, &[], &folder);
    outside.listen = vec![SwarmAddress::parse(&format!("/ip4/{OUTSIDE}/tcp/4001")).unwrap()];
    let swarm = Swarm::start(outside).await.unwrap();
    let relay = Domain { swarm, folder };
    let bootstrap = relay.address().await;

    let folders = TAGS.map(|_| tempfile::tempdir().unwrap());
    let mut children = Vec::new();
    for (number, tag) in TAGS.into_iter().enumerate() {
        let prefix = gateways.prefix(number);
        let mut program = Command::new(&prefix[0]);
        program.args(&prefix[1..]).arg(std::env::current_exe().unwrap());
        let test = "service::tests::gateways::child_lives_behind_a_gateway";
        let folder = &folders[number];
        let child = Victim::start_by(&mut program, test, folder, &swarm_key, &bootstrap, &tag.to_string());
        children.push(child);
    }
    let met = async {
        let mut still_there = Vec::new();
        for (number, child) in children.into_iter().enumerate() {
            // It has found out by itself that it can't be called.
            let hidden: &str = format!("status {:?} 1 end", Reachability::Hidden).leak();
            let (child, _) = child.until(hidden).await;
            println!("{number} is hidden");
            let other = description(TAGS[1 - number]);
            let seen: &str = format!("{other} {:?} {route:?} end", Presence::Online).leak();
            let (child, _) = child.until(seen).await;
            println!("{number} sees the other: {route:?}");
            still_there.push(child);
        }
        still_there
    };
    let children = tokio::time::timeout(SOON, met).await.expect("they meet in time");
    for tag in TAGS {
        relay.until_online(key(tag).peer_id()).await;
    }
    // Nobody was let in without having been called.
    println!("{} packets were refused", gateways.refused());
    for child in children {
        let (_child, address) = child.until("address").await;
        assert!(
            address.starts_with("/ip4/10.") || address.starts_with("/ip4/127."),
            "{address}"
        );
    }
}

#[test]
fn behind_two_gateways_a_relay_is_found_and_calling_at_once_makes_the_connection_direct() {
    hanse_sandbox::run(
        "service::tests::gateways::behind_two_gateways_a_relay_is_found_and_calling_at_once_makes_the_connection_direct",
        || both_meet(Mapping::EndpointIndependent, Route::Direct),
    );
}

#[test]
fn behind_gateways_that_let_nobody_meet_the_relay_goes_on_carrying() {
    hanse_sandbox::run(
        "service::tests::gateways::behind_gateways_that_let_nobody_meet_the_relay_goes_on_carrying",
        || both_meet(Mapping::EndpointDependent, Route::Relayed),
    );
}
