//! Under which key this node runs, and that no other does.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::app::{App, Exit};
use super::peers;
use super::twin::{Answer, Guard, who_answers};

/// A node that is connected to nobody for this long may have missed its own rotation.
const ALONE: Duration = Duration::from_secs(5);

/// Watches for another node with this node's key.
pub(super) struct Watch {
    guard: Guard,
    calling: bool,
    answers: (mpsc::Sender<Option<Answer>>, mpsc::Receiver<Option<Answer>>),
}

impl Watch {
    /// For a node that starts to listen now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            guard: Guard::new(now),
            calling: false,
            answers: mpsc::channel(1),
        }
    }

    /// Whether the node may take part in consensus.
    pub(super) fn passes(&self, now: Instant) -> bool {
        self.guard.passes(now)
    }

    /// Waits for what comes of a call.
    pub(super) async fn answered(&mut self) -> Option<Answer> {
        let answer = self.answers.1.recv().await.flatten();
        self.calling = false;
        answer
    }
}

/// How long this node has been connected to nobody. Pure.
#[derive(Debug, Default)]
pub(super) struct Alone(Option<Instant>);

impl Alone {
    fn too_long(&mut self, now: Instant, connected: usize) -> bool {
        if connected > 0 {
            self.0 = None;
            return false;
        }
        now >= *self.0.get_or_insert(now) + ALONE
    }
}

impl App<'_> {
    /// Calls the address at which the consortium knows this node, if that is due.
    pub(super) fn look_for_twin(&mut self) {
        if self.twin.calling || !self.twin.guard.due(Instant::now()) {
            return;
        }
        let own = self.shared.settings.key.public_key();
        // A node that is no validator contradicts nobody; one that can't be dialed can't be checked this way.
        let Some(address) = peers::registered_address(&self.rules, &own) else {
            self.twin.guard.clear();
            return;
        };
        self.twin.calling = true;
        let answers = self.twin.answers.0.clone();
        tokio::spawn(async move {
            // Nobody waits for it if the engine was stopped meanwhile.
            let _ = answers.send(who_answers(address).await).await;
        });
    }

    /// Somebody answered there, or nobody did.
    pub(super) fn on_answer(&mut self, answer: Option<Answer>) -> Result<(), Exit> {
        let settings = &self.shared.settings;
        let own = peers::peer_id(&settings.key.public_key()).ok();
        match answer {
            Some(answer) if Some(answer.peer) == own && answer.is_named(&settings.name()) => self.twin.guard.clear(),
            // It says nothing of itself: too little to stop for.
            Some(answer) if Some(answer.peer) == own && !answer.description.is_empty() => {
                return Err(Exit::Twin(
                    "another node runs with this validator key and answers at the address under which the consortium knows \
                     this domain. Two nodes with one key would sign contradicting votes, so this one stops: give it its own \
                     seed and have it admitted as a member, or stop the other"
                        .into(),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// While a rotation is under way and nobody talks to this node, it tries the other key: the rotation may have been
    /// decided without it, and then the others know it under the new key only. It has no vote under a key that its own
    /// state does not name.
    pub(super) fn try_offered_key(&mut self, connected: usize) -> Result<(), Exit> {
        let offered = self.shared.wishes.borrow().offered_key;
        let (Some(offered), true) = (offered, self.peers.validators() > 0) else {
            return Ok(());
        };
        let Some(present) = self.shared.keys.among(&self.rules) else {
            return Ok(());
        };
        if offered <= present || !self.alone.too_long(Instant::now(), connected) {
            return Ok(());
        }
        let other = if self.is_my_key(present) { offered } else { present };
        Err(Exit::OtherKey(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_is_who_was_connected_to_nobody_all_the_time() {
        let start = Instant::now();
        let mut alone = Alone::default();
        assert!(!alone.too_long(start, 0));
        assert!(!alone.too_long(start + ALONE / 2, 1));
        assert!(!alone.too_long(start + ALONE, 0));
        assert!(alone.too_long(start + 2 * ALONE, 0));
    }
}
