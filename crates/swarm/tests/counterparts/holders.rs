//! Stock members hold the records of domains.

use hanse_swarm::SwarmKey;
use hanse_swarm::peers::Presence;

use crate::agent::{Agent, SOON, in_own_network, statement, until};
use crate::stock::{Kind, Stock};

const HOUR_MS: i64 = 3_600_000;

/// The author of a record and the member with which the swarm began are gone; a newcomer knows a stock member, and nobody else is left.
async fn is_the_only_holder(kind: Kind) {
    let key = SwarmKey::generate();
    let first = Agent::start(&key, 1, &[]).await;
    let mut holder = Stock::start(kind, 101, Some(&key)).await;
    holder.dial(&first.address().await).await.unwrap();
    first.until_connected(1).await;
    let author = Agent::start(&key, 2, &[first.address().await]).await;
    author.until_connected(2).await;
    first.swarm.stop().await;
    author.until_connected(1).await;

    author.publish("I was here").await;
    author.publish("I was here, and changed").await;
    let name = author.name();
    author.swarm.stop().await;
    until("the stock member is alone", SOON, async || {
        match holder.connected().await {
            connected if connected.is_empty() => Ok(()),
            connected => Err(format!("{connected:?}")),
        }
    })
    .await;

    let newcomer = Agent::start(&key, 3, std::slice::from_ref(&holder.address)).await;
    newcomer.until_connected(1).await;
    assert_eq!(newcomer.look_up(name).await, "I was here, and changed");
    newcomer
        .until_peer(name, "it is seen to be offline", |peer| {
            matches!(peer.map(|peer| peer.presence), Some(Presence::Offline { .. }))
        })
        .await;
}

#[test]
fn js_as_the_only_holder_serves_the_record_of_a_domain_that_has_gone() {
    in_own_network(
        "holders::js_as_the_only_holder_serves_the_record_of_a_domain_that_has_gone",
        || is_the_only_holder(Kind::Js),
    );
}

#[test]
fn kubo_as_the_only_holder_serves_the_record_of_a_domain_that_has_gone() {
    in_own_network(
        "holders::kubo_as_the_only_holder_serves_the_record_of_a_domain_that_has_gone",
        || is_the_only_holder(Kind::Kubo),
    );
}

#[test]
fn kubo_and_agents_do_not_let_an_old_record_replace_a_newer_one_and_js_does() {
    in_own_network(
        "holders::kubo_and_agents_do_not_let_an_old_record_replace_a_newer_one_and_js_does",
        || async {
            let key = SwarmKey::generate();
            let agent = Agent::start(&key, 1, &[]).await;
            let bootstrap = agent.address().await;
            let mut kubo = Stock::start(Kind::Kubo, 101, Some(&key)).await;
            let mut js = Stock::start(Kind::Js, 102, Some(&key)).await;
            let mut author = Stock::start(Kind::Js, 103, Some(&key)).await;
            for member in [&mut kubo, &mut js, &mut author] {
                member.dial(&bootstrap).await.unwrap();
            }
            author.dial(&kubo.address).await.unwrap();
            author.dial(&js.address).await.unwrap();
            agent.until_connected(3).await;

            let [old, new] = ["old", "new"].map(|text| statement(103, text).to_path().unwrap());
            let old = author.sign(&old, 1, 2 * HOUR_MS, true).await;
            let new = author.sign(&new, 2, HOUR_MS, true).await;
            let name = author.name;
            until("all hold the newer record", SOON, async || {
                let (took, refused) = author.give(name, &new).await;
                let all = [agent.name(), kubo.name, js.name]
                    .iter()
                    .all(|holder| took.contains(holder));
                if all {
                    Ok(())
                } else {
                    Err(format!("{took:?} {refused:?}"))
                }
            })
            .await;
            agent.until_described(name, "new").await;

            let (took, refused) = author.give(name, &old).await;
            assert!(refused.contains(&kubo.name), "{took:?} {refused:?}");
            // It checks signatures and ends, and then takes what comes last.
            assert!(took.contains(&js.name), "{took:?} {refused:?}");
            author.stop().await;

            // Whom a newcomer asks first does not matter, as long as one of them has the newer one.
            for (tag, first) in [(2, &js.address), (3, &kubo.address), (4, &bootstrap)] {
                let newcomer = Agent::start(&key, tag, std::slice::from_ref(first)).await;
                newcomer
                    .until_status("it has found the others", |status| status.connected >= 3)
                    .await;
                assert_eq!(newcomer.look_up(name).await, "new");
                newcomer.swarm.stop().await;
            }
            agent.until_described(name, "new").await;
        },
    );
}
