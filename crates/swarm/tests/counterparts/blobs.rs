//! Blobs have the names that IPFS gives them, and are found under them.

use hanse_swarm::SwarmKey;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::{Value, json};

use crate::agent::{Agent, SOON, in_own_network, until};
use crate::stock::{Kind, Stock, names};

#[test]
fn js_gives_blobs_the_same_cid_and_finds_the_agent_that_has_them() {
    in_own_network(
        "blobs::js_gives_blobs_the_same_cid_and_finds_the_agent_that_has_them",
        || async {
            let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
            println!("SEED={seed}");
            let mut random = StdRng::seed_from_u64(seed);
            let key = SwarmKey::generate();
            let agent = Agent::start(&key, 1, &[]).await;
            let mut js = Stock::start(Kind::Js, 101, Some(&key)).await;
            js.dial(&agent.address().await).await.unwrap();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("blob");
            let mebibyte = 1 << 20;
            let sizes = [1, mebibyte, mebibyte + 1, random.random_range(2..5 * mebibyte)];
            for size in sizes {
                let mut blob = vec![0; size];
                random.fill_bytes(&mut blob);
                std::fs::write(&file, &blob).unwrap();
                let theirs = js.ask(json!({ "do": "cid", "file": file })).await.unwrap();
                let ours = agent.swarm.add_blob(blob.into()).await.unwrap();
                assert_eq!(theirs, Value::String(ours.to_string()), "{size} bytes");
                until("js finds who has it", SOON, async || {
                    let found = js.ask(json!({ "do": "providers", "cid": theirs })).await?;
                    if names(&found) == [agent.name()] {
                        Ok(())
                    } else {
                        Err(found.to_string())
                    }
                })
                .await;
            }
        },
    );
}
