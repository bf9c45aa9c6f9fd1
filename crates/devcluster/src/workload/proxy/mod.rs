//! The Service proxy: connections to a Service's addresses go to its ready pods.
//!
//! # Promise
//! - A new connection (or UDP flow) goes to a ready pod, in turn; an existing connection stays where it
//!   is when endpoints change.
//! - When no pod is ready the port refuses.
//! - Connections, flows and buffers are bounded.

mod backends;
mod tcp;
mod udp;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use self::backends::Backends;
use super::kubelet::Withdrawn;

/// Transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// An address and port that a Service answers on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Door {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
}

/// All doors of a Service and the ready endpoints behind each.
pub(crate) type Doors = BTreeMap<Door, Vec<SocketAddr>>;

/// Told when a door cannot be opened, once for each reason.
pub(crate) type OnFailure = Arc<dyn Fn(String) + Send + Sync>;

/// Called when a port cannot be bound.
struct BindFailure {
    tell: OnFailure,
    last: Option<io::ErrorKind>,
}

impl BindFailure {
    fn tell(&mut self, address: SocketAddr, error: &io::Error) {
        if self.last.replace(error.kind()) != Some(error.kind()) {
            (self.tell)(format!("cannot listen on {address}: {error}"));
        }
    }
}

struct Open {
    endpoints: watch::Sender<Vec<SocketAddr>>,
    _serving: AbortOnDropHandle<()>,
}

/// The proxy of one cluster. Dropping it closes all doors; connections end with the runtime.
#[derive(Default)]
pub(crate) struct Proxy {
    withdrawn: Withdrawn,
    services: Mutex<HashMap<String, BTreeMap<Door, Open>>>,
}

impl Proxy {
    pub(crate) fn new(withdrawn: Withdrawn) -> Self {
        Self {
            withdrawn,
            services: Mutex::default(),
        }
    }

    /// Opens, updates and closes doors of the Service `uid` so that they are `wanted`.
    pub(crate) fn update(&self, uid: &str, wanted: Doors, failed: &OnFailure) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let doors = services.entry(uid.to_owned()).or_default();
        doors.retain(|door, _| wanted.contains_key(door));
        for (door, endpoints) in wanted {
            match doors.get(&door) {
                Some(open) => drop(open.endpoints.send_if_modified(|current| {
                    let changed = *current != endpoints;
                    *current = endpoints;
                    changed
                })),
                None => drop(doors.insert(door, self.open(door, endpoints, failed))),
            }
        }
    }

    fn open(&self, door: Door, endpoints: Vec<SocketAddr>, failed: &OnFailure) -> Open {
        let (sender, list) = watch::channel(endpoints);
        let backends = Backends::new(list, self.withdrawn.clone());
        let address = SocketAddr::from((door.address, door.port));
        let failed = BindFailure {
            tell: Arc::clone(failed),
            last: None,
        };
        let serving = match door.transport {
            Transport::Tcp => tokio::spawn(tcp::serve(address, backends, failed)),
            Transport::Udp => tokio::spawn(udp::serve(address, backends, failed)),
        };
        Open {
            endpoints: sender,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Closes all doors of a Service. Connections through them go on.
    pub(crate) fn remove(&self, uid: &str) {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests;
