//! The swarms that run, and which swarm of which pool each is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hanse_swarm::model::{Statement, SwarmAddress};
use hanse_swarm::service::{PeerView, StartError, Stopped};
use hanse_swarm::{Swarm, SwarmConfig, SwarmKey};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::settings::{DefaultSwarm, Settings};

/// How often it is looked what no change tells of: connections, addresses, bootstrap members.
const LOOK: Duration = Duration::from_millis(500);
/// How long others may still be looking at a swarm that is left.
const LEFT: Duration = Duration::from_secs(2);
/// Changes that come this close to each other are dealt with together.
const GATHER: Duration = Duration::from_millis(5);

/// A swarm, known by the fingerprint of its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwarmId(String);

impl SwarmId {
    /// Of the swarm with this key.
    pub fn of(key: &SwarmKey) -> Self {
        Self(key.fingerprint().to_string())
    }
}

#[cfg(test)]
impl SwarmId {
    pub(crate) fn named(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A swarm of a pool, as Identities name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// The pool's namespace.
    pub namespace: String,
    /// The pool's name.
    pub pool: String,
    /// The swarm's name in the pool.
    pub swarm: String,
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "swarm {} of SwarmPool {}/{}", self.swarm, self.namespace, self.pool)
    }
}

/// What a swarm of a pool is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// This running swarm.
    Running(SwarmId),
    /// None yet, and why.
    Waiting(String),
}

/// How a swarm is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The other domains.
    pub peers: Vec<PeerView>,
    /// How many members are connected, domains and others.
    pub connected: usize,
    /// Where others can call, with the peer id.
    pub addresses: Vec<String>,
    /// Bootstrap members that do not answer, and what happened.
    pub unreachable: Vec<(String, String)>,
    /// How many records are held for the swarm.
    pub held_records: usize,
    /// Over how many relays this domain can be called.
    pub relays: usize,
    /// How many other domains can be called over this one.
    pub reservations_served: usize,
    /// How many connections of others it carries.
    pub circuits_served: usize,
}

/// What this domain says in a swarm.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// What it said before the agent started, if it said anything.
    Unknown,
    /// This, since then.
    Statement(Statement, Instant),
}

/// A running swarm.
pub struct Member {
    /// Which.
    pub id: SwarmId,
    /// Its handle.
    pub swarm: Arc<Swarm>,
    /// This domain's name in it.
    pub name: String,
    /// It is the one of the agent's configuration.
    pub is_default: bool,
    /// The port on which it listens.
    pub port: u16,
    /// The members to begin with.
    pub bootstrap: Vec<SwarmAddress>,
    /// How many bytes its blobs may have, if a pool says so.
    pub capacity: Option<u64>,
    /// Its key: a Secret that somebody deletes is written again.
    pub key: SwarmKey,
    api_port: OnceLock<u16>,
    said: Mutex<Said>,
    view: watch::Receiver<Arc<View>>,
    stop: CancellationToken,
}

impl Member {
    /// How it is doing.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// What this domain says in it.
    pub fn said(&self) -> Said {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what it says from now on.
    pub fn note(&self, statement: Statement) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Said::Statement(statement, Instant::now());
    }

    /// The port of its HTTP API, if it is served.
    pub fn api_port(&self) -> Option<u16> {
        self.api_port.get().copied()
    }

    /// Notes where its HTTP API is served; `false` if it is served elsewhere.
    pub fn set_api_port(&self, port: u16) -> bool {
        self.api_port.set(port).is_ok()
    }

    /// Is cancelled when the swarm is left.
    pub fn left(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Takes over the default swarm.
    pub fn of_default(given: DefaultSwarm, woken: Waker) -> Arc<Self> {
        Self::follow(given.swarm, given.key, given.bootstrap, given.port, true, None, woken)
    }

    /// Joins a swarm. It listens on `port` if that is free, else on any: Services lead there all the same.
    pub async fn start(
        key: &SwarmKey,
        bootstrap: &[SwarmAddress],
        port: u16,
        capacity: Option<u64>,
        settings: &Settings,
        woken: Waker,
    ) -> Result<Arc<Self>, StartError> {
        let id = SwarmId::of(key);
        let folder = settings.data_dir.join("swarms").join(&id.0);
        std::fs::create_dir_all(&folder)?;
        let sealing = settings.sealing.clone();
        let mut config = SwarmConfig::new(key.clone(), settings.domain_key.clone(), sealing, folder);
        config.bootstrap = bootstrap.to_vec();
        config.peers = settings.peers;
        config.most_blob_bytes = capacity.unwrap_or(config.most_blob_bytes);
        let version = if settings.listen.is_ipv4() { "ip4" } else { "ip6" };
        let port = if is_free(settings.listen, port) { port } else { 0 };
        let listen = SwarmAddress::parse(&format!("/{version}/{}/tcp/{port}", settings.listen))?;
        config.listen = vec![listen];
        let swarm = Swarm::start(config).await?;
        let status = swarm.status().await;
        let status = status.map_err(|stopped| std::io::Error::other(stopped.to_string()))?;
        let port = status.addresses.iter().find_map(port_of).unwrap_or(port);
        let swarm = Arc::new(swarm);
        Ok(Self::follow(
            swarm,
            key.clone(),
            bootstrap.to_vec(),
            port,
            false,
            capacity,
            woken,
        ))
    }

    fn follow(
        swarm: Arc<Swarm>,
        key: SwarmKey,
        bootstrap: Vec<SwarmAddress>,
        port: u16,
        is_default: bool,
        capacity: Option<u64>,
        woken: Waker,
    ) -> Arc<Self> {
        let (sender, view) = watch::channel(Arc::default());
        let stop = CancellationToken::new();
        tokio::spawn(follow(Arc::clone(&swarm), sender, woken, stop.clone()));
        Arc::new(Self {
            id: SwarmId::of(&key),
            name: swarm.name().to_string(),
            swarm,
            is_default,
            port,
            api_port: OnceLock::new(),
            bootstrap,
            capacity,
            key,
            said: Mutex::new(Said::Unknown),
            view,
            stop,
        })
    }

    /// Leaves the swarm, unless it is the default one, which is its giver's. Afterwards its folder can be used anew, unless somebody
    /// holds on to the handle for seconds.
    pub async fn leave(self: Arc<Self>) {
        self.stop.cancel();
        if self.is_default {
            return;
        }
        self.swarm.stop().await;
        let end = Instant::now() + LEFT;
        while Instant::now() < end && (Arc::strong_count(&self) > 1 || Arc::strong_count(&self.swarm) > 1) {
            tokio::time::sleep(GATHER).await;
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({})", self.id)
    }
}

/// Whether nobody listens on the port. libp2p would listen there all the same, and have half of the calls. On a loopback
/// address several agents may be asking at this moment, so there none is.
fn is_free(address: IpAddr, port: u16) -> bool {
    !address.is_loopback() && std::net::TcpListener::bind((address, port)).is_ok()
}

/// The TCP port of an address.
fn port_of(address: &SwarmAddress) -> Option<u16> {
    let text = address.multiaddr().to_string();
    text.split("/tcp/").nth(1)?.parse().ok()
}

/// Wakes every controller.
#[derive(Debug, Clone, Default)]
pub struct Waker(watch::Sender<()>);

impl Waker {
    /// Something may be different.
    pub fn wake(&self) {
        self.0.send_replace(());
    }

    /// Is told of each [`Self::wake`] from now on.
    pub fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// Keeps `view` up to date until `stop`.
async fn follow(swarm: Arc<Swarm>, view: watch::Sender<Arc<View>>, woken: Waker, stop: CancellationToken) {
    let mut changes = swarm.changes();
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    loop {
        let seen = tokio::select! {
            () = stop.cancelled() => return,
            seen = look(&swarm, known.take()) => seen,
        };
        let Ok(seen) = seen else { return };
        if **view.borrow() != seen {
            view.send_replace(Arc::new(seen));
            woken.wake();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => known = Some(view.borrow().clone()),
            change = changes.recv() => match change {
                Err(RecvError::Closed) => return,
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    tokio::time::sleep(GATHER).await;
                    while changes.try_recv().is_ok() {}
                }
            }
        }
    }
}

/// How the swarm is doing. `known`: how it was, if no change was told since: thousands of peers are not copied for nothing.
async fn look(swarm: &Swarm, known: Option<Arc<View>>) -> Result<View, Stopped> {
    let status = swarm.status().await?;
    let peers = match known.filter(|known| known.connected == status.connected) {
        Some(known) => known.peers.clone(),
        None => swarm.peers().await?,
    };
    Ok(View {
        peers,
        connected: status.connected,
        addresses: status.addresses.iter().map(ToString::to_string).collect(),
        unreachable: status
            .unreachable
            .into_iter()
            .map(|member| (member.address.to_string(), member.reason))
            .collect(),
        held_records: status.held_records,
        relays: status.relays.len(),
        circuits_served: status.circuits_served,
        reservations_served: status.reservations_served,
    })
}

/// Everything that runs.
#[derive(Debug, Default)]
pub struct Swarms(Mutex<Snapshot>);

/// What runs, at one point in time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The running swarms.
    pub members: BTreeMap<SwarmId, Arc<Member>>,
    /// The swarms of all pools; `None` until the pools were looked at once.
    pub entries: Option<BTreeMap<EntryKey, Entry>>,
}

impl Swarms {
    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What runs now.
    pub fn now(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Notes what runs; members and entries together, so that nobody takes a new swarm for one that nothing refers to. Whether
    /// anything is different.
    pub fn set(&self, next: Snapshot) -> bool {
        let mut now = self.lock();
        let same = now.entries == next.entries && now.members.keys().eq(next.members.keys());
        *now = next;
        !same
    }
}
