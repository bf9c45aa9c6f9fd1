//! What other domains send is hostile.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::restart::{Bare, TOPIC};
use super::*;
use crate::bed::condition;

fn message() -> Value {
    json!({"kubeconfig": {
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "https://192.0.2.9:6443"}}],
        "users": [{"name": "a", "user": {"token": "abc"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a", "namespace": "theirs"}}],
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_that_could_do_harm_is_refused_and_said() {
    let key = SwarmKey::generate();
    let one = Domain::start_with(wish(&key, &[])).await;
    let mut peer = Bare::start(&key, &[one.address().await]).await;
    let to = one.default.as_ref().unwrap().name();
    let name = peer.swarm.name().to_string().to_lowercase();
    // What it is given itself is of no matter here.
    let theirs = peer.next().await;
    drop(theirs);
    one.peers(NAMESPACE, "the Peer is there", |peers| {
        peers.iter().any(|peer| peer.name_any() == name)
    })
    .await;
    let swarm = peer.swarm.clone();
    let give = async |message: &Value| {
        let body = Bytes::from(serde_json::to_vec(message).unwrap());
        let answer = swarm.ask(to, TOPIC, body, Duration::from_secs(30)).await.unwrap();
        serde_json::from_slice::<Value>(&answer).unwrap()
    };

    let mut harmful = message();
    harmful["kubeconfig"]["users"][0]["user"]["exec"] =
        json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh"});
    let answer = give(&harmful).await;
    assert!(answer["refused"]["reason"].is_string(), "{answer}");
    let said = |peers: &[Peer]| {
        let peer = peers.iter().find(|peer| peer.name_any() == name);
        let status = peer.and_then(|peer| peer.status.as_ref());
        let found = status.and_then(|status| condition(&status.conditions, "CredentialReceived"));
        found.is_some_and(|found| found.reason == "CredentialRefused")
    };
    one.peers(NAMESPACE, "the Peer says why", said).await;
    assert_eq!(kubeconfig(&one, &name).await, None);

    // A Secret that somebody else made is not overwritten.
    let own: Secret = serde_json::from_value(json!({"metadata": {"name": format!("{name}-kubeconfig")}})).unwrap();
    let secrets = one.api::<Secret>(NAMESPACE);
    secrets.create(&PostParams::default(), &own).await.unwrap();
    let answer = give(&message()).await;
    assert!(
        answer["refused"]["reason"].as_str().unwrap().contains("not of Hanse"),
        "{answer}"
    );
    secrets
        .delete(&format!("{name}-kubeconfig"), &Default::default())
        .await
        .unwrap();

    // And a good one is taken, as often as it comes.
    for _ in 0..2 {
        assert_eq!(give(&message()).await, json!({"done": {}}));
    }
    let stored = kubeconfig(&one, &name).await.unwrap();
    assert_eq!(token(&stored), "abc");
    assert_eq!(give(&json!({"revoked": {}})).await, json!({"done": {}}));
    assert_eq!(kubeconfig(&one, &name).await, None);
    one.stop().await;
}
