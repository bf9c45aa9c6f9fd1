//! The table.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::PeerId;

use super::change::{Change, Refusal, Removal};
use crate::model::{Identity, Statement, UnixMillis};
use crate::record::Announcement;

/// The table's bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many domains it holds; and of how many it remembers that they have gone.
    pub most: usize,
    /// After how many missed looks a domain is removed; at least 1.
    pub missed_looks: u32,
    /// How long after a look the next one is due.
    pub look_every: Duration,
}

impl Default for Limits {
    /// A killed peer is offline within ten seconds and removed after a minute.
    fn default() -> Self {
        Self {
            most: 10_000,
            missed_looks: 12,
            look_every: Duration::from_secs(5),
        }
    }
}

/// Whether a domain can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Its record is there; nobody has tried yet.
    Unproven,
    /// It answered the last look.
    Online,
    /// It did not answer.
    Offline {
        /// How many looks it missed one after another; at least 1.
        missed: u32,
    },
}

/// A domain in the table.
#[derive(Debug, Clone)]
pub struct Peer {
    announcement: Announcement,
    identity: Identity,
    presence: Presence,
    looked_at: Option<UnixMillis>,
    since: UnixMillis,
}

/// A domain that has gone, for as long as an older record of it is valid.
#[derive(Debug, Clone)]
struct Gone {
    announcement: Announcement,
    /// The domain can come back without signing anything.
    reachable_again: bool,
    looked_at: UnixMillis,
}

/// Every other domain that is known.
#[derive(Debug)]
pub struct PeerTable {
    own: PeerId,
    limits: Limits,
    peers: BTreeMap<PeerId, Peer>,
    gone: BTreeMap<PeerId, Gone>,
}

impl Peer {
    /// What it says of itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The signed record in which it says it.
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Whether it can be reached.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// When it was looked at last.
    pub fn looked_at(&self) -> Option<UnixMillis> {
        self.looked_at
    }

    /// Since when it is in the table.
    pub fn since(&self) -> UnixMillis {
        self.since
    }
}

impl PeerTable {
    /// An empty table of the domain with the name `own`.
    pub fn new(own: PeerId, limits: Limits) -> Self {
        Self {
            own,
            limits,
            peers: BTreeMap::new(),
            gone: BTreeMap::new(),
        }
    }

    /// The domain with this name.
    pub fn get(&self, name: &PeerId) -> Option<&Peer> {
        self.peers.get(name)
    }

    /// The domain whose table it is.
    pub fn own(&self) -> &PeerId {
        &self.own
    }

    /// The domains that are not known to be offline, by name.
    pub fn there(&self) -> impl Iterator<Item = &PeerId> {
        let there = |peer: &Peer| !matches!(peer.presence, Presence::Offline { .. });
        self.peers
            .iter()
            .filter(move |(_, peer)| there(peer))
            .map(|(name, _)| name)
    }

    /// Whether the domain was removed because it could not be reached, and may come back.
    pub fn is_missing(&self, name: &PeerId) -> bool {
        self.gone.get(name).is_some_and(|gone| gone.reachable_again)
    }

    /// All domains, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &Peer)> {
        self.peers.iter()
    }

    /// What others should know too: what every domain says of itself, and that some have withdrawn.
    pub fn announcements(&self) -> impl Iterator<Item = &Announcement> {
        let withdrawn = self.gone.values().filter(|gone| !gone.reachable_again);
        let there = self.peers.values().map(|peer| &peer.announcement);
        there.chain(withdrawn.map(|gone| &gone.announcement))
    }

    /// Its bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many domains there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The best record that is known of this name, of a domain that has gone too.
    pub fn best(&self, name: &PeerId) -> Option<&Announcement> {
        let there = self.peers.get(name).map(|peer| &peer.announcement);
        there.or_else(|| self.gone.get(name).map(|gone| &gone.announcement))
    }

    /// Somebody brought a checked announcement. The changes are at most two: one domain may have to make room.
    ///
    /// # Errors
    /// Says why nothing changed.
    pub fn announced(&mut self, announcement: Announcement, now: UnixMillis) -> Result<Vec<Change>, Refusal> {
        let name = announcement.record().name();
        if name == self.own {
            return Err(Refusal::Own);
        }
        if let Some(known) = self.best(&name)
            && announcement.record().precedence(known.record()).is_le()
        {
            let there = self.peers.contains_key(&name);
            return Err(if there { Refusal::NotNewer } else { Refusal::Gone });
        }
        let Statement::Present(identity) = announcement.statement() else {
            let was_there = self.peers.remove(&name).is_some();
            self.remember(announcement, false, now);
            return Ok(was_there
                .then_some(Change::Removed(name, Removal::Withdrawn))
                .into_iter()
                .collect());
        };
        let identity = (**identity).clone();
        if let Some(peer) = self.peers.get_mut(&name) {
            let same = peer.identity == identity;
            (peer.announcement, peer.identity) = (announcement, identity);
            return Ok(if same { Vec::new() } else { vec![Change::Updated(name)] });
        }
        let mut changes = self.make_room()?;
        self.gone.remove(&name);
        self.insert(announcement, identity, Presence::Unproven, now);
        changes.push(Change::Appeared(name));
        Ok(changes)
    }

    /// The domain answered.
    pub fn reached(&mut self, name: &PeerId, now: UnixMillis) -> Option<Change> {
        if let Some(peer) = self.peers.get_mut(name) {
            peer.looked_at = Some(now);
            let before = std::mem::replace(&mut peer.presence, Presence::Online);
            return (before != Presence::Online).then_some(Change::Online(*name));
        }
        let gone = self.gone.get(name)?;
        if !gone.reachable_again || self.peers.len() >= self.limits.most {
            return None;
        }
        let announcement = self.gone.remove(name)?.announcement;
        let identity = announcement.statement().identity()?.clone();
        self.insert(announcement, identity, Presence::Online, now);
        if let Some(peer) = self.peers.get_mut(name) {
            peer.looked_at = Some(now);
        }
        Some(Change::Appeared(*name))
    }

    /// The domain did not answer.
    pub fn missed(&mut self, name: &PeerId, now: UnixMillis) -> Option<Change> {
        if let Some(gone) = self.gone.get_mut(name) {
            gone.looked_at = now;
        }
        let peer = self.peers.get_mut(name)?;
        peer.looked_at = Some(now);
        let missed = match peer.presence {
            Presence::Offline { missed } => missed.saturating_add(1),
            Presence::Unproven | Presence::Online => 1,
        };
        if missed < self.limits.missed_looks {
            peer.presence = Presence::Offline { missed };
            return Some(Change::Missed(*name, missed));
        }
        let announcement = self.peers.remove(name)?.announcement;
        self.remember(announcement, true, now);
        Some(Change::Removed(*name, Removal::Missing))
    }

    /// Time passed: what ended is removed, and what can't come back any more is forgotten.
    pub fn passed(&mut self, now: UnixMillis) -> Vec<Change> {
        self.gone
            .retain(|_, gone| gone.announcement.record().valid_until() >= now);
        let ended = self
            .peers
            .extract_if(.., |_, peer| peer.announcement.record().valid_until() < now);
        ended.map(|(name, _)| Change::Removed(name, Removal::Expired)).collect()
    }

    /// Whom to look after now: those whose last look is [`Limits::look_every`] ago or more.
    pub fn due(&self, now: UnixMillis) -> Vec<PeerId> {
        let due = |peer: &Peer| match peer.looked_at {
            // A look in the future was at a time before the clock was set back.
            Some(at) => at > now || now.since(at) >= self.limits.look_every,
            None => true,
        };
        let due = self.peers.iter().filter(|(_, peer)| due(peer));
        due.map(|(name, _)| *name).collect()
    }

    /// Who was removed because it could not be reached, and was not looked at for `every` or longer.
    pub fn missing_due(&self, now: UnixMillis, every: Duration) -> impl Iterator<Item = &PeerId> {
        let due =
            move |gone: &Gone| gone.reachable_again && (gone.looked_at > now || now.since(gone.looked_at) >= every);
        self.gone
            .iter()
            .filter(move |(_, gone)| due(gone))
            .map(|(name, _)| name)
    }

    /// How many domains are remembered that have gone.
    pub fn gone(&self) -> usize {
        self.gone.len()
    }

    #[cfg(test)]
    pub(super) fn gone_is_empty(&self) -> bool {
        self.gone.is_empty()
    }

    fn insert(&mut self, announcement: Announcement, identity: Identity, presence: Presence, now: UnixMillis) {
        let peer = Peer {
            identity,
            presence,
            looked_at: None,
            since: now,
            announcement,
        };
        self.peers.insert(peer.announcement.record().name(), peer);
    }

    /// If the table is full, the one of whom nobody knows for the longest whether it exists has to go.
    fn make_room(&mut self) -> Result<Vec<Change>, Refusal> {
        if self.peers.len() < self.limits.most {
            return Ok(Vec::new());
        }
        let unproven = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.presence == Presence::Unproven);
        let oldest = unproven.min_by_key(|(_, peer)| peer.since).map(|(name, _)| *name);
        let name = oldest.ok_or(Refusal::Full)?;
        self.peers.remove(&name);
        Ok(vec![Change::Removed(name, Removal::Room)])
    }

    fn remember(&mut self, announcement: Announcement, reachable_again: bool, now: UnixMillis) {
        let name = announcement.record().name();
        self.gone.insert(
            name,
            Gone {
                announcement,
                reachable_again,
                looked_at: now,
            },
        );
        if self.gone.len() > self.limits.most {
            // What ends first matters least.
            let first = self
                .gone
                .iter()
                .min_by_key(|(_, gone)| gone.announcement.record().valid_until());
            if let Some(name) = first.map(|(name, _)| *name) {
                self.gone.remove(&name);
            }
        }
    }
}
