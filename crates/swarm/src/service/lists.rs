//! With whom this domain has nothing to do.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use libp2p::PeerId;

use super::run::Run;

/// How many liars are remembered. Who lies can take a new name, so a longer list would not help.
const MOST_BANNED: usize = 4096;

/// Those who sent something else than they were asked for, the first first.
#[derive(Debug, Default)]
pub(super) struct Banned(VecDeque<PeerId>);

impl Banned {
    /// Another one; the one that is forgiven, if there are too many.
    fn add(&mut self, peer: PeerId) -> Option<PeerId> {
        if self.0.contains(&peer) {
            return None;
        }
        self.0.push_back(peer);
        (self.0.len() > MOST_BANNED).then(|| self.0.pop_front()).flatten()
    }
}

impl Run {
    /// The peer lied.
    pub(super) fn ban(&mut self, peer: PeerId) {
        self.traffic.banned.fetch_add(1, Relaxed);
        tracing::warn!(%peer, "sent a block that is not the one it was asked for; it is banned");
        self.swarm.behaviour_mut().blocked.block_peer(peer);
        if let Some(forgiven) = self.banned.add(peer).filter(|peer| !self.config.blocked.contains(peer)) {
            self.swarm.behaviour_mut().blocked.unblock_peer(forgiven);
        }
    }

    pub(super) fn block(&mut self, peer: PeerId) {
        self.config.blocked.insert(peer);
        self.swarm.behaviour_mut().blocked.block_peer(peer);
    }

    pub(super) fn unblock(&mut self, peer: PeerId) {
        self.config.blocked.remove(&peer);
        self.swarm.behaviour_mut().blocked.unblock_peer(peer);
    }

    /// Why the peer is not called, if so.
    pub(super) fn not_called(&self, peer: &PeerId) -> Option<&'static str> {
        if self.swarm.behaviour().blocked.blocked_peers().contains(peer) {
            return Some("it is blocked");
        }
        let allowed = self.config.allowed.as_ref();
        allowed
            .is_some_and(|allowed| !allowed.contains(peer))
            .then_some("it is not on the list of those that are allowed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_liars_the_first_are_forgiven() {
        let mut banned = Banned::default();
        let liars: Vec<_> = (0..MOST_BANNED + 2).map(|_| PeerId::random()).collect();
        let forgiven: Vec<_> = liars.iter().filter_map(|peer| banned.add(*peer)).collect();
        assert_eq!(forgiven, liars[..2]);
        assert_eq!(banned.add(liars[9]), None);
        assert_eq!(banned.0.len(), MOST_BANNED);
    }
}
