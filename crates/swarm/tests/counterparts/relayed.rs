//! Circuits over stock members, and to and from them; and stock members in the local network.

use hanse_sandbox::must;
use hanse_swarm::SwarmKey;
use hanse_swarm::relay::Route;
use serde_json::json;

use crate::agent::{Agent, HOST, SOON, in_own_network, until};
use crate::stock::{Kind, Stock, wanted};

/// js-libp2p relays between two agents that nobody can call: it knows the protocol, and nothing of Hanse.
#[test]
fn js_relays_between_two_agents() {
    in_own_network("relayed::js_relays_between_two_agents", || async {
        let swarm_key = SwarmKey::generate();
        let mut relay = wanted(1, Some(&swarm_key));
        relay["relay"] = json!(true);
        let relay = Stock::start_as(Kind::Js, relay).await;
        let bootstrap = [relay.address.clone()];
        let north = Agent::start_hidden(&swarm_key, 2, &bootstrap).await;
        north
            .until_status("js carries for it", |status| status.relays == [relay.name])
            .await;
        north.publish("hidden").await;
        let south = Agent::start_hidden(&swarm_key, 3, &[north.address().await]).await;
        south.until_described(north.name(), "hidden").await;
        south
            .until_peer(north.name(), "over js", |peer| {
                peer.is_some_and(|peer| peer.route == Some(Route::Relayed))
            })
            .await;
        relay.stop().await;
    });
}

async fn stock_calls_over_an_agent(kind: Kind) {
    let swarm_key = SwarmKey::generate();
    let relay = Agent::start(&swarm_key, 1, &[]).await;
    let north = Agent::start_hidden(&swarm_key, 2, &[relay.address().await]).await;
    north
        .until_status("it can be called", |status| status.relays == [relay.name()])
        .await;
    let mut stock = Stock::start(kind, 3, Some(&swarm_key)).await;
    stock.dial(&relay.address().await).await.unwrap();
    let way = north.address().await;
    assert_eq!(way.relay(), Some(relay.name()));
    until("the call comes in", SOON, async || stock.dial(&way).await).await;
    assert!(stock.connected().await.contains(&north.name()));
    north.until_connected(2).await;
    stock.stop().await;
}

/// Inside of the circuit js-libp2p runs the handshake of the swarm's key as an agent does.
#[test]
fn js_calls_a_hidden_agent_over_another_agent() {
    in_own_network("relayed::js_calls_a_hidden_agent_over_another_agent", || {
        stock_calls_over_an_agent(Kind::Js)
    });
}

/// And so does go-libp2p.
#[test]
fn kubo_calls_a_hidden_agent_over_another_agent() {
    in_own_network("relayed::kubo_calls_a_hidden_agent_over_another_agent", || {
        stock_calls_over_an_agent(Kind::Kubo)
    });
}

#[test]
fn js_and_an_agent_find_each_other_in_the_local_network() {
    let test = "relayed::js_and_an_agent_find_each_other_in_the_local_network";
    hanse_sandbox::run(test, || async {
        must("ip", &["link", "add", "lan0", "type", "veth", "peer", "name", "lan1"]);
        must("ip", &["address", "add", &format!("{HOST}/24"), "dev", "lan0"]);
        must("ip", &["link", "set", "lan1", "up"]);
        must("ip", &["link", "set", "lan0", "up"]);
        // js leaves it to the system where multicast goes.
        must("ip", &["route", "add", "default", "dev", "lan0"]);
        let swarm_key = SwarmKey::generate();
        let agent = Agent::start_as(&swarm_key, 1, &[], |config| config.mdns = true).await;
        let mut js = wanted(2, Some(&swarm_key));
        js["mdns"] = json!(true);
        let mut js = Stock::start_as(Kind::Js, js).await;
        agent.until_connected(1).await;
        until("js sees the agent", SOON, async || match js.connected().await {
            names if names.contains(&agent.name()) => Ok(()),
            names => Err(format!("{names:?}")),
        })
        .await;
        js.stop().await;
    });
}
