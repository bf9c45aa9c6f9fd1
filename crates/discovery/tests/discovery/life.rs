//! The life of a Peer.

use hanse_discovery::OwnIdentity;
use hanse_discovery::model::{Identity, Peer, PeerPresence, SwarmPool};
use hanse_swarm::SwarmKey;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::bed::{Domain, Wish};

fn wish(key: &SwarmKey, bootstrap: &[hanse_swarm::model::SwarmAddress]) -> Wish {
    Wish {
        default: Some((key.clone(), bootstrap.to_vec())),
        identity: Some(OwnIdentity {
            description: "tested".into(),
            url: "https://192.0.2.7".into(),
            categories: vec!["computing".into()],
        }),
        ..Wish::default()
    }
}

fn all_online(number: usize) -> impl Fn(&[Peer]) -> bool {
    move |peers| {
        let online = |peer: &&Peer| {
            peer.status
                .as_ref()
                .is_some_and(|status| status.status == Some(PeerPresence::Online))
        };
        peers.len() == number && peers.iter().filter(online).count() == number
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_goes_offline_is_removed_and_comes_back_under_its_name() {
    let key = SwarmKey::generate();
    let one = Domain::start_with(wish(&key, &[])).await;
    let bootstrap = [one.address().await];
    let (two, mut three) = tokio::join!(
        Domain::start_with(wish(&key, &bootstrap)),
        Domain::start_with(wish(&key, &bootstrap))
    );
    for domain in [&one, &two, &three] {
        domain.peers("default", "all see all", all_online(2)).await;
    }
    // The agent's own objects are there under their names.
    one.api::<SwarmPool>("default").get("hanse").await.unwrap();
    let name = three.default.as_ref().unwrap().name().to_string().to_lowercase();

    // Without a word, as a killed agent.
    three.stop_discovery().await;
    let counter = |peers: &[Peer]| {
        let peer = peers.iter().find(|peer| peer.name_any() == name)?;
        let status = peer
            .status
            .as_ref()
            .filter(|status| status.status == Some(PeerPresence::Offline));
        status.map(|status| status.missing_counter)
    };
    for least in [1, 2] {
        one.peers("default", "the counter grows", |peers| {
            counter(peers).is_some_and(|count| count >= least)
        })
        .await;
    }
    one.peers("default", "who is missing too long is removed", all_online(1))
        .await;
    two.peers("default", "who is missing too long is removed", all_online(1))
        .await;

    three.start_discovery(wish(&key, &bootstrap)).await;
    let peers = one.peers("default", "it is back", all_online(2)).await;
    assert!(peers.iter().any(|peer| peer.name_any() == name));
    three.peers("default", "it sees the others again", all_online(2)).await;

    // What is edited or deleted by hand is set right.
    let api = one.api::<Peer>("default");
    let edit = json!({"spec": {"URL": "https://evil.example", "description": null}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(&edit))
        .await
        .unwrap();
    let right = |peers: &[Peer]| {
        let urls = peers
            .iter()
            .all(|peer| peer.spec.url == "https://192.0.2.7" && peer.spec.description == "tested");
        peers.len() == 2 && urls
    };
    one.peers("default", "an edit is set right", right).await;
    let uid = api.get(&name).await.unwrap().uid();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    one.peers("default", "a deleted Peer is back", |peers| {
        all_online(2)(peers) && peers.iter().all(|peer| peer.uid() != uid)
    })
    .await;

    // Withdrawn at once, and not after missed looks.
    let identity = three.until("it has an Identity", async || {
        let list = three
            .api::<Identity>("default")
            .list(&Default::default())
            .await
            .unwrap();
        list.items.first().map(ResourceExt::name_any)
    });
    let identity = identity.await;
    three.delete::<Identity>("default", &identity).await;
    one.peers("default", "who withdrew is no Peer", all_online(1)).await;
    // The first member goes; the others still see each other.
    one.stop().await;
    two.peers("default", "the first has gone", <[Peer]>::is_empty).await;
    tokio::join!(two.stop(), three.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_seen_by_the_others_quickly() {
    let key = SwarmKey::generate();
    let one = Domain::start_with(wish(&key, &[])).await;
    let two = Domain::start_with(wish(&key, &[one.address().await])).await;
    two.peers("default", "they see each other", all_online(1)).await;
    one.peers("default", "they see each other", all_online(1)).await;
    let identities = one.api::<Identity>("default");
    let name = identities.list(&Default::default()).await.unwrap().items[0].name_any();
    let mut took = Vec::new();
    for round in 0..10 {
        let description = format!("round {round}");
        let before = tokio::time::Instant::now();
        let edit = json!({"spec": {"description": description}});
        identities
            .patch(&name, &PatchParams::default(), &Patch::Merge(&edit))
            .await
            .unwrap();
        two.peers("default", "the update is seen", |peers| {
            peers.first().is_some_and(|peer| peer.spec.description == description)
        })
        .await;
        took.push(before.elapsed());
    }
    let mut registry = hanse_metrics::Registry::default();
    one.discovery.as_ref().unwrap().register_metrics(&mut registry);
    let figure = |name: &str, status: &str| {
        let text = hanse_metrics::text(&registry).unwrap();
        let labels = format!(
            "{{identity_name=\"{name}\",identity_namespace=\"default\",status=\"{status}\",swarm_name=\"hanse\",swarmpool_name=\"hanse\",swarmpool_namespace=\"default\"}} "
        );
        let figures = ["peers_number", "sync_peers_number"].map(|gauge| {
            let begin = format!("cluster_discovery_controller_identity_controller_{gauge}{labels}");
            text.lines()
                .find_map(|line| line.strip_prefix(&begin)?.parse::<f64>().ok())
        });
        figures.map(Option::unwrap_or_default)
    };
    one.until("the metrics count it", async || {
        (figure(&name, "Synchronized") == [1.0, 1.0]).then_some(())
    })
    .await;
    assert_eq!(figure(&name, "Out of sync"), [0.0, 0.0]);
    took.sort();
    eprintln!(
        "update of an Identity seen by another domain: median {:?}, longest {:?}",
        took[5], took[9]
    );
    tokio::join!(one.stop(), two.stop());
}
