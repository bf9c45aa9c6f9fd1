//! What all pods of the node share.

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use kube::Client;
use tokio::sync::watch;

use crate::workload::{WorkloadConfig, events::Events, range::AddressPool};

/// The node's address: where everything of this machine answers.
pub(super) const HOST_IP: &str = "127.0.0.1";

/// Shared by the pods' actors.
pub(crate) struct Node {
    pub(super) client: Client,
    pub(super) config: Arc<WorkloadConfig>,
    pub(super) events: Events,
    pub(super) host_ip: String,
    pub(super) addresses: Mutex<AddressPool>,
    pub(super) withdrawn: Withdrawn,
    pub(super) running: RunningLogs,
}

impl Node {
    pub(crate) fn new(client: Client, config: Arc<WorkloadConfig>, events: Events, withdrawn: Withdrawn) -> Self {
        let addresses = Mutex::new(AddressPool::new(config.pod_range));
        let (host_ip, running) = (HOST_IP.to_owned(), RunningLogs::default());
        Self {
            client,
            config,
            events,
            host_ip,
            addresses,
            withdrawn,
            running,
        }
    }

    /// The private folder of a pod.
    pub(super) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.data_dir.join("pods").join(uid)
    }

    /// The address of a pod: the one it had, if any, or a free one.
    pub(super) fn address(&self, before: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let mut pool = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = before
            .filter(|address| pool.claim(*address))
            .or_else(|| pool.allocate())?;
        self.withdrawn.restore(address);
        Some(address)
    }

    pub(super) fn release(&self, address: Ipv4Addr) {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .release(address);
    }

    pub(crate) fn running_logs(&self) -> RunningLogs {
        self.running.clone()
    }
}

/// Pods that are about to be stopped. The kubelet notes them *before* it sends SIGTERM, and the proxy
/// opens no new connection to them: faster than the way over the API, and without a race.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawn(Arc<RwLock<BTreeSet<Ipv4Addr>>>);

impl Withdrawn {
    pub(crate) fn withdraw(&self, address: Ipv4Addr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(address);
    }

    pub(crate) fn restore(&self, address: Ipv4Addr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }

    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&address)
    }
}

/// The containers whose log may still grow, so that a follower knows when to look again and when to
/// stop. By pod uid and container name; counts writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunningLogs(Arc<Mutex<HashMap<LogKey, watch::Receiver<u64>>>>);

/// Uid of the pod, name of the container.
type LogKey = (String, String);

impl RunningLogs {
    pub(super) fn add(&self, uid: &str, container: &str) -> watch::Sender<u64> {
        let (sender, receiver) = watch::channel(0);
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Logs of ended containers leave no trace: their sender is gone.
        map.retain(|_, receiver| receiver.has_changed().is_ok());
        map.insert((uid.to_owned(), container.to_owned()), receiver);
        sender
    }

    pub(crate) fn get(&self, uid: &str, container: &str) -> Option<watch::Receiver<u64>> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&(uid.to_owned(), container.to_owned())).cloned()
    }
}
