//! Who comes in, and who does not.

use hanse_swarm::SwarmKey;
use hanse_swarm::model::SwarmAddress;
use hanse_swarm::service::Status;
use serde_json::Value;

use crate::agent::{Agent, in_own_network};
use crate::stock::{Kind, Stock, wanted};

/// The key is made by [`SwarmKey::generate`] and read by the stock member as the text of `swarm.key`.
async fn connect(kind: Kind) {
    let key = SwarmKey::generate();
    let called = Agent::start(&key, 1, &[]).await;
    let mut stock = Stock::start(kind, 101, Some(&key)).await;
    stock.dial(&called.address().await).await.unwrap();
    called.until_connected(1).await;
    assert_eq!(stock.connected().await, [called.name()]);

    let calls = Agent::start(&key, 2, std::slice::from_ref(&stock.address)).await;
    calls
        .until_status("the stock member answers", |status| {
            status.connected >= 1 && status.unreachable.is_empty()
        })
        .await;
    assert!(stock.connected().await.contains(&calls.name()));
    // A member is not a domain.
    assert_eq!(called.swarm.peers().await.unwrap(), []);
    assert_eq!(calls.swarm.peers().await.unwrap(), []);
}

#[test]
fn js_and_agents_call_each_other() {
    in_own_network("membership::js_and_agents_call_each_other", || connect(Kind::Js));
}

#[test]
fn kubo_and_agents_call_each_other() {
    in_own_network("membership::kubo_and_agents_call_each_other", || connect(Kind::Kubo));
}

async fn another_key_or_none_is_refused(kind: Kind) {
    let key = SwarmKey::generate();
    let agent = Agent::start(&key, 1, &[]).await;
    let address = agent.address().await;
    for (tag, theirs) in [(101, Some(SwarmKey::generate())), (102, None)] {
        let mut stranger = Stock::start(kind, tag, theirs.as_ref()).await;
        let error = stranger.dial(&address).await.unwrap_err();
        println!("{kind:?} is told: {error}");

        let calls = Agent::start(&key, tag - 100 + 1, std::slice::from_ref(&stranger.address)).await;
        let fingerprint = key.fingerprint().to_string();
        let refused = |status: &Status| {
            let mut reasons = status.unreachable.iter().map(|member| &member.reason);
            reasons.any(|reason| reason.contains(&fingerprint)) && status.connected == 0
        };
        calls.until_status("it says why nobody answers", refused).await;
        assert_eq!(stranger.connected().await, []);
        assert_eq!(agent.swarm.status().await.unwrap().connected, 0);
    }
    let mut member = Stock::start(kind, 103, Some(&key)).await;
    member.dial(&address).await.unwrap();
    agent.until_connected(1).await;
}

#[test]
fn js_with_another_key_or_none_is_refused() {
    in_own_network("membership::js_with_another_key_or_none_is_refused", || {
        another_key_or_none_is_refused(Kind::Js)
    });
}

#[test]
fn kubo_with_another_key_or_none_is_refused() {
    in_own_network("membership::kubo_with_another_key_or_none_is_refused", || {
        another_key_or_none_is_refused(Kind::Kubo)
    });
}

/// `Addresses.Swarm` of a kubo that was just made. The key would protect half of them.
#[test]
fn of_the_addresses_of_kubo_those_that_no_key_protects_are_refused() {
    for text in [
        "/ip4/0.0.0.0/udp/4001/quic",
        "/ip4/0.0.0.0/udp/4001/quic-v1",
        "/ip4/0.0.0.0/udp/4001/quic-v1/webtransport",
        "/ip6/::/udp/4001/quic",
        "/ip6/::/udp/4001/quic-v1",
        "/ip6/::/udp/4001/quic-v1/webtransport",
    ] {
        let error = SwarmAddress::parse(text).unwrap_err().to_string();
        assert!(
            error.contains("does not protect QUIC") && error.contains("use /tcp"),
            "{error}"
        );
    }
    for text in ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"] {
        assert_eq!(SwarmAddress::parse(text).unwrap().to_string(), text);
    }
}

/// Names in RSA are those of nodes from before kubo 0.7, those in the README of the original among them.
#[test]
fn a_member_with_an_rsa_name_calls_agents_and_is_called() {
    in_own_network(
        "membership::a_member_with_an_rsa_name_calls_agents_and_is_called",
        || async {
            let key = SwarmKey::generate();
            let mut rsa = wanted(102, Some(&key));
            rsa["identity"] = Value::Null;
            let mut rsa = Stock::start_as(Kind::Kubo, rsa).await;
            assert!(rsa.name.to_string().starts_with("Qm"), "{}", rsa.name);
            let called = Agent::start(&key, 1, &[]).await;
            rsa.dial(&called.address().await).await.unwrap();
            called.until_connected(1).await;
            let calls = Agent::start(&key, 2, std::slice::from_ref(&rsa.address)).await;
            calls.until_connected(1).await;
        },
    );
}
