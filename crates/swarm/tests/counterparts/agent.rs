//! An agent's part in the swarm, through the public API.

use std::time::Duration;

use hanse_swarm::model::{Identity, Statement, SwarmAddress};
use hanse_swarm::peers::Limits;
use hanse_swarm::relay::RelayUse;
use hanse_swarm::service::{PeerView, Status};
use hanse_swarm::{DomainKey, SealingSecret, Swarm, SwarmConfig, SwarmKey};
use libp2p::PeerId;
use tempfile::TempDir;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Generous: machines that run tests are loaded.
pub const SOON: Duration = Duration::from_secs(60);

/// Where everybody listens.
pub const HOST: &str = "10.77.1.1";

/// Runs the test of this name in a network of its own that has this one address.
pub fn in_own_network<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    hanse_sandbox::run(test, || {
        hanse_sandbox::must("ip", &["address", "add", &format!("{HOST}/24"), "dev", "lo"]);
        body()
    });
}

/// Looks until there is something to see.
pub async fn until<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + within;
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(instead) => assert!(Instant::now() < end, "not so in time: {what}; {instead}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn key(tag: u8) -> DomainKey {
    DomainKey::from_secret(Zeroizing::new([tag; 32]))
}

fn sealing(tag: u8) -> SealingSecret {
    SealingSecret::from_bytes(Zeroizing::new([tag; 32]))
}

/// What the domain with this tag says.
pub fn statement(tag: u8, description: &str) -> Statement {
    let identity = Identity::new(
        "Cluster".to_owned().try_into().unwrap(),
        description.to_owned().try_into().unwrap(),
        "https://35.240.24.118".to_owned().try_into().unwrap(),
        vec!["computing".to_owned().try_into().unwrap()],
        sealing(tag).public(),
    );
    Statement::Present(Box::new(identity.unwrap()))
}

pub struct Agent {
    tag: u8,
    pub swarm: Swarm,
    _folder: TempDir,
}

impl Agent {
    pub async fn start(swarm_key: &SwarmKey, tag: u8, bootstrap: &[SwarmAddress]) -> Self {
        Self::start_as(swarm_key, tag, bootstrap, |_| {}).await
    }

    /// One that nobody can call: it listens nowhere.
    pub async fn start_hidden(swarm_key: &SwarmKey, tag: u8, bootstrap: &[SwarmAddress]) -> Self {
        Self::start_as(swarm_key, tag, bootstrap, |config| {
            config.listen = Vec::new();
            config.relay.using = RelayUse::Always;
        })
        .await
    }

    pub async fn start_as(
        swarm_key: &SwarmKey,
        tag: u8,
        bootstrap: &[SwarmAddress],
        change: impl FnOnce(&mut SwarmConfig),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = SwarmConfig::new(swarm_key.clone(), key(tag), sealing(tag), folder.path().to_owned());
        config.listen = vec![SwarmAddress::parse(&format!("/ip4/{HOST}/tcp/0")).unwrap()];
        config.bootstrap = bootstrap.to_vec();
        config.compare_every = Duration::from_secs(1);
        config.peers = Limits {
            look_every: Duration::from_millis(500),
            ..Limits::default()
        };
        change(&mut config);
        let swarm = Swarm::start(config).await.unwrap();
        Self {
            tag,
            swarm,
            _folder: folder,
        }
    }

    pub fn name(&self) -> PeerId {
        self.swarm.name()
    }

    pub async fn address(&self) -> SwarmAddress {
        self.swarm.status().await.unwrap().addresses[0].clone()
    }

    pub async fn until_status(&self, what: &str, expected: impl Fn(&Status) -> bool) {
        until(what, SOON, async || {
            let status = self.swarm.status().await.unwrap();
            if expected(&status) {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
    }

    pub async fn until_connected(&self, to: usize) {
        self.until_status(&format!("connected to {to}"), |status| status.connected == to)
            .await;
    }

    /// Waits until what is seen of `name` is as `expected`.
    pub async fn until_peer(&self, name: PeerId, what: &str, expected: impl Fn(Option<&PeerView>) -> bool) {
        until(what, SOON, async || {
            let peers = self.swarm.peers().await.unwrap();
            let peer = peers.iter().find(|peer| peer.name == name);
            if expected(peer) {
                Ok(())
            } else {
                Err(format!("{peer:?}"))
            }
        })
        .await;
    }

    /// Waits until `name` is seen with this description.
    pub async fn until_described(&self, name: PeerId, description: &str) {
        let same =
            |peer: Option<&PeerView>| peer.is_some_and(|peer| peer.identity.description().as_str() == description);
        self.until_peer(name, description, same).await;
    }

    /// Says this of itself, and waits until a holder has taken it.
    pub async fn publish(&self, description: &str) {
        self.swarm.publish(statement(self.tag, description)).await.unwrap();
        self.until_status("a holder took the record", |status| status.published == Some(true))
            .await;
    }

    /// Asks the holders for a record until one has it, and returns the description in it.
    pub async fn look_up(&self, name: PeerId) -> String {
        let found = until("the record is found", SOON, async || {
            self.swarm.look_up(name).await.map_err(|error| error.to_string())
        });
        let found = found.await;
        found.statement().identity().unwrap().description().as_str().to_owned()
    }
}
