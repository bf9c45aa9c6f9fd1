//! The agent ends in the middle of a delivery.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hanse_swarm::model::{Identity, SealingKey, Statement};
use hanse_swarm::service::Asked;
use hanse_swarm::{DomainKey, SealingSecret, Swarm, SwarmConfig, Topic};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::*;

pub const TOPIC: Topic = Topic::new("kubeconfig/1");
const TAG: u8 = 200;

/// A domain that is a swarm and nothing else, so that the test says what it does when.
pub struct Bare {
    pub swarm: Arc<Swarm>,
    pub asked: mpsc::Receiver<Asked>,
    _folder: tempfile::TempDir,
}

impl Bare {
    pub async fn start(key: &SwarmKey, bootstrap: &[SwarmAddress]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = || Zeroizing::new([TAG; 32]);
        let sealing = SealingSecret::from_bytes(secret());
        let public = sealing.public();
        let path = folder.path().to_owned();
        let mut config = SwarmConfig::new(key.clone(), DomainKey::from_secret(secret()), sealing, path);
        config.listen = vec![SwarmAddress::parse("/ip4/127.0.0.1/tcp/0").unwrap()];
        config.bootstrap = bootstrap.to_vec();
        let swarm = Arc::new(Swarm::start(config).await.unwrap());
        let asked = swarm.answer(TOPIC);
        swarm.publish(statement(public)).await.unwrap();
        Self {
            swarm,
            asked,
            _folder: folder,
        }
    }

    pub async fn next(&mut self) -> Asked {
        let asked = tokio::time::timeout(bed::SOON, self.asked.recv()).await;
        asked.expect("it is asked in time").expect("the swarm runs")
    }
}

fn statement(key: SealingKey) -> Statement {
    let identity = Identity::new(
        "Bare".to_owned().try_into().unwrap(),
        String::new().try_into().unwrap(),
        "https://192.0.2.9".to_owned().try_into().unwrap(),
        Vec::new(),
        key,
    );
    Statement::Present(Box::new(identity.unwrap()))
}

fn sent_token(asked: &Asked) -> String {
    let message: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let token = &message["kubeconfig"]["users"][0]["user"]["token"];
    token.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_confirmed_is_delivered_again_after_a_restart() {
    let key = SwarmKey::generate();
    let mut one = Domain::start_with(wish(&key, &[])).await;
    let mut peer = Bare::start(&key, &[one.address().await]).await;
    let bindings = one.api::<Secret>(NAMESPACE);
    let selected = ListParams::default().labels("peerdiscovery.irt-saintexupery.com/credential=given");
    let delivered = "peerdiscovery.irt-saintexupery.com/credential-delivered-at";

    // The peer has the token in its hands, and the agent ends before it hears that.
    let first = peer.next().await;
    let one_name = one.default.as_ref().unwrap().name();
    assert_eq!(first.from, one_name);
    one.stop_discovery().await;
    let prepared = bindings.list(&selected).await.unwrap().items;
    assert_eq!(prepared.len(), 1, "it was written down before anything was given");
    assert!(!prepared[0].annotations().contains_key(delivered));
    assert!(
        prepared[0].data.as_ref().is_none_or(|data| data.is_empty()),
        "no token is kept"
    );

    // Elsewhere and later it goes on by itself; the bare peer is called again, where it listens.
    let address = peer.swarm.status().await.unwrap().addresses[0].clone();
    one.start_discovery(wish(&key, &[address])).await;
    let second = loop {
        let asked = peer.next().await;
        // Of the first agent something may still come.
        if !asked.reply.is_closed() && sent_token(&asked) != sent_token(&first) {
            break asked;
        }
    };
    assert_eq!(second.from, one_name);
    let token = sent_token(&second);
    second.reply.send(Bytes::from_static(b"{\"done\":{}}")).unwrap();
    let uid = one
        .until("it is noted as delivered", async || {
            let found = bindings.list(&selected).await.unwrap().items;
            let [only] = found.as_slice() else { return None };
            only.annotations().contains_key(delivered).then(|| only.uid())
        })
        .await;
    assert_eq!(uid, prepared[0].uid(), "the same credential");
    assert_ne!(token, sent_token(&first));
    // Nothing more comes: it is delivered once.
    let more = tokio::time::timeout(Duration::from_secs(2), peer.asked.recv()).await;
    assert!(more.is_err(), "{more:?}");
    one.stop().await;
}
