//! Agents check and hold the records of stock members.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanse_swarm::SwarmKey;
use hanse_swarm::model::{Statement, UnixMillis};
use hanse_swarm::record::IpnsRecord;
use serde_json::json;

use crate::agent::{Agent, in_own_network, key, statement, until};
use crate::stock::{Kind, Stock, wanted};

const HOUR_MS: i64 = 3_600_000;
/// Of something that is in no swarm here.
const SOMETHING: &str = "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

async fn give(author: &mut Stock, agent: &Agent, record: &str) {
    let name = author.name;
    let (took, refused) = author.give(name, record).await;
    assert_eq!((took, refused), (vec![agent.name()], vec![]));
}

#[test]
fn records_of_js_with_both_signatures_and_with_the_second_alone_are_taken_up() {
    in_own_network(
        "records::records_of_js_with_both_signatures_and_with_the_second_alone_are_taken_up",
        || async {
            let swarm_key = SwarmKey::generate();
            let agent = Agent::start(&swarm_key, 1, &[]).await;
            let mut author = Stock::start(Kind::Js, 101, Some(&swarm_key)).await;
            author.dial(&agent.address().await).await.unwrap();
            let name = author.name;
            for (sequence, text, v1) in [
                (1, "both", true),
                (2, "the second alone", false),
                (3, "both again", true),
            ] {
                let path = statement(101, text).to_path().unwrap();
                let record = author.sign(&path, sequence, HOUR_MS, v1).await;
                give(&mut author, &agent, &record).await;
                agent.until_described(name, text).await;
            }
            let path = Statement::Withdrawn.to_path().unwrap();
            let record = author.sign(&path, 4, HOUR_MS, false).await;
            give(&mut author, &agent, &record).await;
            agent.until_peer(name, "it has withdrawn", |peer| peer.is_none()).await;
        },
    );
}

/// They are acknowledged (libp2p does that before anybody has looked) and not held.
#[test]
fn records_that_are_forged_or_have_ended_are_not_taken_up() {
    in_own_network(
        "records::records_that_are_forged_or_have_ended_are_not_taken_up",
        || async {
            let swarm_key = SwarmKey::generate();
            let agent = Agent::start(&swarm_key, 1, &[]).await;
            let mut author = Stock::start(Kind::Js, 101, Some(&swarm_key)).await;
            author.dial(&agent.address().await).await.unwrap();
            let name = author.name;
            let path = statement(101, "a lie").to_path().unwrap();
            let good = author.sign(&path, 9, HOUR_MS, true).await;
            let ended = author.sign(&path, 9, -1000, true).await;
            let mut changed = hex::decode(&good).unwrap();
            *changed.last_mut().unwrap() ^= 1;
            for record in [
                ended,
                hex::encode(changed),
                "00".into(),
                hex::encode([7; 10 * 1024 + 1]),
            ] {
                let _ = author.give(name, &record).await;
            }
            // The author's record as that of somebody else.
            for other in [agent.name(), key(2).peer_id()] {
                let _ = author.give(other, &good).await;
            }
            let status = agent.swarm.status().await.unwrap();
            assert_eq!((status.held_records, status.connected), (0, 1));

            let path = statement(101, "the truth").to_path().unwrap();
            let record = author.sign(&path, 1, HOUR_MS, true).await;
            give(&mut author, &agent, &record).await;
            agent.until_described(name, "the truth").await;
            assert_eq!(agent.swarm.peers().await.unwrap().len(), 1);
            assert_eq!(agent.swarm.status().await.unwrap().held_records, 1);
        },
    );
}

/// A minute passes in this test: so long kubo waits before it publishes its names.
#[test]
fn what_kubo_publishes_is_checked_held_and_served_to_js_when_kubo_has_gone() {
    in_own_network(
        "records::what_kubo_publishes_is_checked_held_and_served_to_js_when_kubo_has_gone",
        || async {
            let swarm_key = SwarmKey::generate();
            let agent = Agent::start(&swarm_key, 1, &[]).await;
            // kubo 0.22 gives nothing to members that know nobody else: it asks each who is near, and wants an answer.
            let other = Agent::start(&swarm_key, 2, &[agent.address().await]).await;
            other.until_connected(1).await;
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let soon = UnixMillis(u64::try_from(since_1970.as_millis()).unwrap()).plus(Duration::from_secs(3600));
            let last = IpnsRecord::sign(&key(101), SOMETHING, 7, soon, Duration::from_secs(60)).unwrap();
            let mut published = wanted(101, Some(&swarm_key));
            published["published"] = json!(hex::encode(last.bytes()));
            let mut kubo = Stock::start_as(Kind::Kubo, published).await;
            kubo.dial(&agent.address().await).await.unwrap();
            until("kubo's record is held", Duration::from_secs(180), async || {
                let status = agent.swarm.status().await.unwrap();
                if status.held_records == 1 {
                    Ok(())
                } else {
                    Err(format!("{status:?}"))
                }
            })
            .await;
            let name = kubo.name;
            kubo.stop().await;
            agent.until_connected(1).await;
            other.swarm.stop().await;

            let mut js = Stock::start(Kind::Js, 102, Some(&swarm_key)).await;
            js.dial(&agent.address().await).await.unwrap();
            let found = until("js finds it", crate::agent::SOON, async || js.get(name).await).await;
            assert_eq!((&found["value"], &found["sequence"]), (&json!(SOMETHING), &json!(7)));
            assert_ne!(found["record"], json!(hex::encode(last.bytes())), "kubo signed it anew");
            assert_eq!(found["v1"], json!(false), "kubo signs with version 2 alone");
            // It is no domain.
            assert_eq!(agent.swarm.peers().await.unwrap(), []);
        },
    );
}
