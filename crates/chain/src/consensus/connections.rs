//! Which other nodes are connected, and what the node tells of itself.

use std::time::{Duration, SystemTime};

use malachitebft_app_channel::NetworkRequest;

use super::abstention::Abstention;
use super::app::App;
use super::heights::credible;
use super::status::ConsensusStatus;

/// How many other nodes are connected.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Connected {
    pub(super) validators: usize,
    pub(super) guests: usize,
}

impl App<'_> {
    /// Which other nodes are connected.
    pub(super) async fn connected(&self) -> Connected {
        let dump = NetworkRequest::dump_state(&self.channels.net_requests);
        match tokio::time::timeout(Duration::from_secs(1), dump).await {
            Ok(Ok(Some(network))) => {
                let validators = network
                    .peers
                    .keys()
                    .filter(|peer| self.peers.is_validator(peer))
                    .count();
                Connected {
                    validators,
                    guests: network.peers.len() - validators,
                }
            }
            _ => Connected::default(),
        }
    }

    /// Whether more of the other validators than may lie say that they have decided more than this node.
    pub(super) fn is_behind(&self) -> bool {
        let told = credible(self.told_heights(), self.set.as_slice().len());
        told.is_some_and(|height| height > self.tip.height)
    }

    /// The newest heights of the other validators, as far as they were heard.
    fn told_heights(&self) -> Vec<u64> {
        self.shared.heights.of(|peer| self.peers.is_validator(peer))
    }

    /// Tells how consensus stands, if that has changed; `connected`: as far as it was asked just now.
    pub(super) fn report(&self, connected: Option<Connected>) {
        let is_validator = self.set.contains(&self.me);
        let heard = self.told_heights();
        self.shared.status.send_if_modified(|status| {
            let next = ConsensusStatus {
                height: self.tip.height,
                hash: self.tip.hash,
                last_block: if status.height == self.tip.height {
                    status.last_block
                } else {
                    Some(SystemTime::now())
                },
                validators: self.set.as_slice().len(),
                connected: connected.map_or(status.connected, |it| it.validators + usize::from(is_validator)),
                guests: connected.map_or(status.guests, |it| it.guests),
                heard: heard.len(),
                highest: credible(heard, self.set.as_slice().len()),
                standstill: self.shared.watchdog.standstill(),
                quorum: self.set.quorum(),
                is_validator,
                abstains: self.shared.abstention.as_ref().map(Abstention::reason),
                engine_restarts: status.engine_restarts,
                halted: None,
                duplicate_key: false,
            };
            let changed = *status != next;
            *status = next;
            changed
        });
    }
}
