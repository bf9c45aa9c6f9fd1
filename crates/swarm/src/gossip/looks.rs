//! Who is there: whom to look at, and what came of it.

use std::time::Duration;

use libp2p::PeerId;

use super::member::{Effect, Member};
use crate::model::UnixMillis;
use crate::network::RecordsQuestion;
use crate::peers::{Change, Presence};

/// Beyond a full mesh, domains that nobody said anything about are looked at one after another, two a second.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Who was removed because it could not be reached is looked at no more often than this.
const MISSING: Duration = Duration::from_secs(60);

/// So that all `count` are looked at in turn, but none more often than every `least`.
fn in_turn(count: usize, least: Duration) -> Duration {
    (BETWEEN_LOOKS * u32::try_from(count).unwrap_or(u32::MAX)).max(least)
}

impl Member {
    /// The domain answered.
    pub fn reached(&mut self, name: PeerId, now: UnixMillis) -> Vec<Effect> {
        self.rumours.settled(&name);
        let before = self.table.get(&name).map(|peer| peer.presence());
        let Some(change) = self.table.reached(&name, now) else {
            return Vec::new();
        };
        let mut effects = vec![Effect::Changed(change)];
        if before != Some(Presence::Unproven) {
            self.went_or_came();
            effects.extend(self.say_that_it_changed(name));
        }
        effects
    }

    /// The domain did not answer.
    pub fn missed(&mut self, name: PeerId, now: UnixMillis) -> Vec<Effect> {
        self.rumours.settled(&name);
        if self.is_connected(&name) {
            return Vec::new();
        }
        let before = self.table.get(&name).map(|peer| peer.presence());
        let Some(change) = self.table.missed(&name, now) else {
            return Vec::new();
        };
        let mut effects = vec![Effect::Changed(change)];
        if !matches!(before, Some(Presence::Offline { .. })) || matches!(change, Change::Removed(..)) {
            self.went_or_came();
        }
        if before == Some(Presence::Online) {
            effects.extend(self.say_that_it_changed(name));
        }
        effects
    }

    /// What one saw oneself. In a full mesh everybody sees it.
    fn say_that_it_changed(&self, name: PeerId) -> Option<Effect> {
        let question = RecordsQuestion {
            look: vec![name.to_bytes()],
            ..RecordsQuestion::default()
        };
        (!self.neighbours.is_full_mesh()).then_some(Effect::Tell(question, Some(name)))
    }

    /// Somebody said something of a domain.
    pub(super) fn heard_of(&mut self, name: PeerId, now: UnixMillis) {
        let known = self.table.get(&name).is_some() || self.table.is_missing(&name);
        if known && !self.is_connected(&name) {
            let (domains, full_mesh) = (self.table.len(), self.neighbours.is_full_mesh());
            self.rumours.heard(name, domains, full_mesh, now, &mut self.random);
        }
    }

    /// At most `most` domains to call now, what matters most first; and what follows from there being a connection with
    /// others already.
    pub fn looks(&mut self, now: UnixMillis, most: usize) -> (Vec<PeerId>, Vec<Effect>) {
        let (connected, due): (Vec<_>, Vec<_>) = self
            .table
            .due(now)
            .into_iter()
            .partition(|name| self.is_connected(name));
        // A connection is looked after by ping, which closes it when nothing comes back.
        let effects = connected.into_iter().flat_map(|name| self.reached(name, now)).collect();

        let in_turn_every = in_turn(self.table.len(), Duration::ZERO);
        let (mut wanted, mut offline, mut in_turn_now) = (Vec::new(), Vec::new(), Vec::new());
        for name in due {
            let Some(peer) = self.table.get(&name) else { continue };
            let last = peer.looked_at().unwrap_or(peer.since());
            if self.neighbours.wants(&name) {
                wanted.push(name);
            } else if matches!(peer.presence(), Presence::Offline { .. }) {
                offline.push(name);
            } else if last > now || now.since(last) >= in_turn_every {
                in_turn_now.push(name);
            }
        }
        let mut looks = wanted;
        looks.truncate(most);
        let rumoured = self.rumours.take(most.saturating_sub(looks.len()), now);
        looks.extend(rumoured.into_iter().filter(|name| !self.is_connected(name)));
        let missing_every = in_turn(self.table.gone(), MISSING);
        let missing = self.table.missing_due(now, missing_every).copied();
        looks.extend(offline.into_iter().chain(in_turn_now).chain(missing));
        let mut seen = std::collections::BTreeSet::new();
        looks.retain(|name| seen.insert(*name));
        looks.truncate(most);
        (looks, effects)
    }
}
