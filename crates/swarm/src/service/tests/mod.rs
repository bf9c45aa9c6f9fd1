//! Real nodes that talk over TCP on the loopback interface.
#![allow(clippy::unwrap_used)]

mod blobs;
mod flood;
#[cfg(target_os = "linux")]
mod gateways;
mod hostile;
mod killed;
#[cfg(target_os = "linux")]
mod local;
mod membership;
mod messages;
mod relayed;

use std::time::Duration;

use libp2p::PeerId;
use tempfile::TempDir;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::*;
use crate::model::{Identity, SwarmAddress};
use crate::peers::{Limits, Presence};
use crate::{DomainKey, SealingSecret, SwarmConfig, SwarmKey};

/// Generous: machines that run tests are loaded.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn key(tag: u8) -> DomainKey {
    DomainKey::from_secret(Zeroizing::new([tag; 32]))
}

pub(crate) fn sealing(tag: u8) -> SealingSecret {
    SealingSecret::from_bytes(Zeroizing::new([tag; 32]))
}

pub(crate) fn statement(tag: u8, description: &str) -> Statement {
    statement_of(tag, &format!("Cluster {tag}"), description)
}

/// What the domain `tag` says when it calls itself `name`.
pub(crate) fn statement_of(tag: u8, name: &str, description: &str) -> Statement {
    let identity = Identity::new(
        name.to_owned().try_into().unwrap(),
        description.to_owned().try_into().unwrap(),
        "https://35.240.24.118".to_owned().try_into().unwrap(),
        vec!["computing".to_owned().try_into().unwrap()],
        sealing(tag).public(),
    );
    Statement::Present(Box::new(identity.unwrap()))
}

/// Opens what a domain left on its disk. A process that another test is just starting may have a copy of the file's lock until it
/// begins.
pub(super) async fn open_store(folder: &TempDir) -> Store {
    let end = Instant::now() + SOON;
    loop {
        match Store::open(folder.path()) {
            Ok(store) => return store,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A domain with a folder of its own.
pub(super) struct Domain {
    pub swarm: Swarm,
    pub folder: TempDir,
}

pub(super) fn config(swarm_key: &SwarmKey, tag: u8, bootstrap: &[SwarmAddress], folder: &TempDir) -> SwarmConfig {
    let mut config = SwarmConfig::new(swarm_key.clone(), key(tag), sealing(tag), folder.path().to_owned());
    config.listen = vec![SwarmAddress::parse("/ip4/127.0.0.1/tcp/0").unwrap()];
    config.bootstrap = bootstrap.to_vec();
    config.compare_every = Duration::from_secs(1);
    config.peers = Limits {
        look_every: Duration::from_millis(500),
        ..Limits::default()
    };
    config
}

impl Domain {
    pub async fn start(swarm_key: &SwarmKey, tag: u8, bootstrap: &[SwarmAddress]) -> Self {
        Self::start_in(swarm_key, tag, bootstrap, tempfile::tempdir().unwrap()).await
    }

    pub async fn start_in(swarm_key: &SwarmKey, tag: u8, bootstrap: &[SwarmAddress], folder: TempDir) -> Self {
        drop(open_store(&folder).await);
        let swarm = Swarm::start(config(swarm_key, tag, bootstrap, &folder)).await.unwrap();
        Self { swarm, folder }
    }

    pub async fn address(&self) -> SwarmAddress {
        self.swarm.status().await.unwrap().addresses[0].clone()
    }

    pub async fn sees(&self, name: PeerId) -> Option<PeerView> {
        let peers = self.swarm.peers().await.unwrap();
        peers.into_iter().find(|peer| peer.name == name)
    }

    /// Waits until what is seen of `name` is as `expected`.
    pub async fn until(&self, name: PeerId, what: &str, expected: impl Fn(Option<&PeerView>) -> bool) {
        let end = Instant::now() + SOON;
        loop {
            let seen = self.sees(name).await;
            if expected(seen.as_ref()) {
                return;
            }
            assert!(Instant::now() < end, "not so in time: {what}; seen: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_online(&self, name: PeerId) {
        let online = |peer: Option<&PeerView>| peer.is_some_and(|peer| peer.presence == Presence::Online);
        self.until(name, "it is online", online).await;
    }

    pub async fn until_status(&self, what: &str, expected: impl Fn(&Status) -> bool) {
        let end = Instant::now() + SOON;
        loop {
            let status = self.swarm.status().await.unwrap();
            if expected(&status) {
                return;
            }
            assert!(Instant::now() < end, "not so in time: {what}; {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
