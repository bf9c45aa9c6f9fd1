//! The heights that peers tell: each node sends its own to all others once a second.
//!
//! The engine listens to that to catch up, but does not pass it on, so an actor beside its own listens too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use libp2p::PeerId;
use malachitebft_engine::network::{NetworkEvent, NetworkMsg, NetworkRef};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef};
use tokio::sync::watch;

use super::context::LedgerContext;

/// The newest height that each connected peer has told.
#[derive(Debug, Clone, Default)]
pub struct PeerHeights {
    heights: Arc<Mutex<HashMap<PeerId, u64>>>,
    /// How many there are.
    count: watch::Sender<usize>,
}

impl PeerHeights {
    /// Heights of those peers for which `is_wanted` holds.
    pub fn of(&self, is_wanted: impl Fn(&PeerId) -> bool) -> Vec<u64> {
        let heights = self.heights();
        let wanted = heights.iter().filter(|(peer, _)| is_wanted(peer));
        wanted.map(|(_, height)| *height).collect()
    }

    /// Listens to a network actor among `actors`, for as long as that lives. Returns the listener, which has to be stopped
    /// with the others; `None` if there is no such actor or the listener could not start.
    pub async fn listen(&self, actors: &[ActorCell]) -> Option<ActorCell> {
        let is_network = |actor: &&ActorCell| actor.is_message_type_of::<NetworkMsg<LedgerContext>>() == Some(true);
        let network: NetworkRef<LedgerContext> = actors.iter().find(is_network)?.clone().into();
        let (listener, _) = Actor::spawn(None, Listener, self.clone()).await.ok()?;
        network
            .cast(NetworkMsg::Subscribe(Box::new(listener.clone())))
            .ok()
            .map(|()| listener.get_cell())
    }

    /// Tells when somebody is heard for the first time, or is gone.
    pub fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<PeerId, u64>)) {
        let mut heights = self.heights();
        change(&mut heights);
        self.count.send_if_modified(|count| {
            let before = std::mem::replace(count, heights.len());
            before != *count
        });
    }

    fn heights(&self) -> MutexGuard<'_, HashMap<PeerId, u64>> {
        self.heights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The height that at least one honest validator has: the greatest that more than a third of the `validators` claim. `None`
/// if fewer have been heard.
pub fn credible(mut claimed: Vec<u64>, validators: usize) -> Option<u64> {
    let liars = validators.saturating_sub(1) / 3;
    claimed.sort_unstable_by(|a, b| b.cmp(a));
    claimed.get(liars).copied()
}

struct Listener;

/// What of the network's events matters here.
enum News {
    Height(PeerId, u64),
    Gone(PeerId),
    Other,
}

impl From<NetworkEvent<LedgerContext>> for News {
    fn from(event: NetworkEvent<LedgerContext>) -> Self {
        let libp2p = |peer: malachitebft_network::PeerId| PeerId::from_bytes(&peer.to_bytes());
        match event {
            NetworkEvent::Status(peer, status) => {
                libp2p(peer).map_or(Self::Other, |peer| Self::Height(peer, status.tip_height.0))
            }
            NetworkEvent::PeerDisconnected(peer) => libp2p(peer).map_or(Self::Other, Self::Gone),
            _ => Self::Other,
        }
    }
}

#[async_trait]
impl Actor for Listener {
    type Msg = News;
    type State = PeerHeights;
    type Arguments = PeerHeights;

    async fn pre_start(&self, _: ActorRef<News>, heights: PeerHeights) -> Result<PeerHeights, ActorProcessingErr> {
        Ok(heights)
    }

    async fn handle(&self, _: ActorRef<News>, news: News, heights: &mut PeerHeights) -> Result<(), ActorProcessingErr> {
        match news {
            News::Height(peer, height) => heights.change(|heights| {
                heights.insert(peer, height);
            }),
            News::Gone(peer) => heights.change(|heights| {
                heights.remove(&peer);
            }),
            News::Other => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may_lie_are_not_believed() {
        assert_eq!(credible(vec![], 1), None);
        assert_eq!(credible(vec![9], 2), Some(9), "of two or three none may lie");
        assert_eq!(credible(vec![u64::MAX], 4), None);
        assert_eq!(credible(vec![u64::MAX, 7, 7], 4), Some(7));
        assert_eq!(credible(vec![8, 7], 4), Some(7));
        assert_eq!(credible(vec![u64::MAX, u64::MAX, 5, 4, 4, 4], 7), Some(5));
    }
}
