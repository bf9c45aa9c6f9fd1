//! Nobody but the two domains ever has a token. That it is sealed on the wire is tested where messages are, in hanse-swarm.

use std::path::Path;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use serde::Serialize;

use super::*;

fn has(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

/// Files below a folder that hold these words; the development cluster's own objects aside.
fn files_with(folder: &Path, words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, words));
        } else if path.is_file() && has(&std::fs::read(&path).unwrap(), words) {
            found.push(path.display().to_string());
        }
    }
    found
}

async fn objects_with<K>(domain: &Domain, words: &str) -> usize
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Serialize,
{
    let all = Api::<K>::all(domain.client.clone())
        .list(&ListParams::default())
        .await
        .unwrap();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, words);
    let with = |object: &&K| {
        let text = serde_json::to_string(object).unwrap();
        text.contains(words) || text.contains(&encoded)
    };
    all.items.iter().filter(with).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_member_and_the_hash_table_hold_nothing_of_it() {
    let key = SwarmKey::generate();
    let one = Domain::start_with(wish(&key, &[])).await;
    let bootstrap = [one.address().await];
    let (two, three) = tokio::join!(
        Domain::start_with(wish(&key, &bootstrap)),
        Domain::start_with(wish(&key, &bootstrap))
    );
    let at_two = given(&two, &one).await;
    let at_three = given(&three, &one).await;
    let token = token(&at_two);
    assert!(!at_three.contains(&token), "each has its own");
    // The signature alone is in no text by chance.
    let signature = token.rsplit('.').next().unwrap().to_owned();

    // Everything that members hold of each other.
    for holder in [&one, &two, &three] {
        for domain in [&one, &two, &three] {
            let (holder, name) = (
                holder.default.as_ref().unwrap(),
                domain.default.as_ref().unwrap().name(),
            );
            if holder.name() == name {
                continue;
            }
            // The record is given to holders after it is told to those who are there.
            let record = three
                .until("holders have the record", async || {
                    let found = holder.look_up(name).await.ok()?;
                    Some(found.record().bytes().to_vec())
                })
                .await;
            assert!(!has(&record, &signature));
        }
    }
    // The giver keeps it nowhere, the third does not have it, and nobody tells it in an event or anything else.
    for domain in [&one, &three] {
        assert_eq!(objects_with::<Secret>(domain, &token).await, 0);
        assert_eq!(objects_with::<Secret>(domain, &at_two).await, 0);
    }
    for domain in [&one, &two, &three] {
        assert_eq!(objects_with::<Event>(domain, &signature).await, 0);
        assert_eq!(objects_with::<ConfigMap>(domain, &signature).await, 0);
        assert_eq!(objects_with::<Peer>(domain, &signature).await, 0);
        assert_eq!(
            objects_with::<hanse_discovery::model::Identity>(domain, &signature).await,
            0
        );
    }
    assert_eq!(objects_with::<Secret>(&two, &at_two).await, 1);
    for mut domain in [one, two, three] {
        domain.stop_discovery().await;
        assert_eq!(
            files_with(&domain.folder.path().join("default-swarm"), &signature),
            [""; 0]
        );
        domain.stop().await;
    }
}
