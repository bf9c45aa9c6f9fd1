//! The endpoints behind one port of a Service and whose turn it is.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use crate::workload::kubelet::Withdrawn;

/// Ready endpoints, kept up to date.
#[derive(Clone, Debug)]
pub(super) struct Backends {
    pub(super) list: watch::Receiver<Vec<SocketAddr>>,
    turn: Arc<AtomicUsize>,
    withdrawn: Withdrawn,
}

impl Backends {
    pub(super) fn new(list: watch::Receiver<Vec<SocketAddr>>, withdrawn: Withdrawn) -> Self {
        Self {
            list,
            turn: Arc::default(),
            withdrawn,
        }
    }

    /// The endpoints to try for a new connection, in order: the next in turn first. Pods that are about
    /// to be stopped are left out.
    pub(super) fn candidates(&self) -> Vec<SocketAddr> {
        let mut ready: Vec<SocketAddr> = self.list.borrow().clone();
        ready.retain(|backend| self.may_be_used(backend));
        if !ready.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len();
            ready.rotate_left(turn);
        }
        ready
    }

    /// Whether `backend` is still ready.
    pub(super) fn contains(&self, backend: &SocketAddr) -> bool {
        self.list.borrow().contains(backend) && self.may_be_used(backend)
    }

    fn may_be_used(&self, backend: &SocketAddr) -> bool {
        match backend.ip() {
            IpAddr::V4(address) => !self.withdrawn.contains(address),
            IpAddr::V6(_) => true,
        }
    }

    /// Waits until there is an endpoint. `false` if there never will be.
    pub(super) async fn wait_for_some(&mut self) -> bool {
        self.list.wait_for(|list| !list.is_empty()).await.is_ok()
    }

    /// Waits until there is no endpoint.
    pub(super) async fn wait_for_none(&mut self) {
        // An error means that the port is no longer wanted.
        let _ = self.list.wait_for(Vec::is_empty).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn connections_take_turns_and_avoid_pods_that_are_about_to_stop() {
        let all: Vec<SocketAddr> = ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"]
            .map(|a| a.parse().unwrap())
            .to_vec();
        let (_sender, list) = watch::channel(all.clone());
        let withdrawn = Withdrawn::default();
        let backends = Backends::new(list, withdrawn.clone());
        let firsts: Vec<SocketAddr> = (0..6).map(|_| backends.candidates()[0]).collect();
        assert!(
            all.iter()
                .all(|one| firsts.iter().filter(|first| *first == one).count() == 2),
            "{firsts:?}"
        );
        withdrawn.withdraw([127, 0, 0, 2].into());
        assert!((0..6).all(|_| !backends.candidates().contains(&all[1])));
        assert!(!backends.contains(&all[1]) && backends.contains(&all[0]));
    }
}
