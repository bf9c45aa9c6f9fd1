//! One member's part in the conversation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libp2p::PeerId;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use super::known::Known;
use super::rumours::Rumours;
use crate::model::UnixMillis;
use crate::neighbours::Neighbours;
use crate::network::{Entry, MOST_ENTRIES, RecordsAnswer, RecordsQuestion};
use crate::peers::{Change, PeerTable, Refusal};
use crate::record::{Announcement, IpnsRecord};

/// An answer with more new records than this is not told on: neighbours compare instead.
const TOLD_ON: usize = MOST_ENTRIES / 4;
/// How many of those who asked are asked back in the time between two ticks.
const ASKED_BACK: usize = 8;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Tell who wants to know.
    Changed(Change),
    /// Somebody had a valid record of the own name with this number.
    SeenOwn(u64),
    /// Put this question to the peer.
    Ask(PeerId, RecordsQuestion),
    /// Put this question to all neighbours but the one from whom it comes. Who carries this out makes sure beforehand that the choice
    /// of neighbours is up to date: see [`Member::is_stale`].
    Tell(RecordsQuestion, Option<PeerId>),
}

/// Records that are being fetched from a peer page by page.
#[derive(Debug)]
struct Pages {
    after: Vec<u8>,
    /// No table is larger.
    left: usize,
    /// How many of the records were new.
    fresh: usize,
}

/// What a member knows and whom it talks to.
#[derive(Debug)]
pub(crate) struct Member {
    pub table: PeerTable,
    pub(super) neighbours: Neighbours,
    pub(super) rumours: Rumours,
    pub(super) connected: BTreeSet<PeerId>,
    pub(super) random: StdRng,
    stale: bool,
    pages: BTreeMap<PeerId, Pages>,
    compare_every: Duration,
    compared_at: Option<UnixMillis>,
    compare_with_all: bool,
    asked_back: usize,
}

impl Member {
    /// A member that knows what is in `table`, and compares it with a neighbour every `compare_every`.
    pub fn new(table: PeerTable, compare_every: Duration, random: StdRng) -> Self {
        Self {
            table,
            neighbours: Neighbours::default(),
            rumours: Rumours::default(),
            connected: BTreeSet::new(),
            random,
            stale: true,
            pages: BTreeMap::new(),
            compare_every,
            compared_at: None,
            compare_with_all: false,
            asked_back: 0,
        }
    }

    /// Whether who is there has changed since neighbours were chosen.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Chooses neighbours among these names, which ascend.
    pub fn choose_neighbours(&mut self, there: &[PeerId]) {
        let own = *self.table.own();
        self.neighbours.review(&own, there, &mut self.random);
        self.stale = false;
    }

    /// Chooses neighbours among all who are there.
    pub fn review(&mut self) {
        let there: Vec<_> = self.table.there().copied().collect();
        self.choose_neighbours(&there);
    }

    /// Whom a record is told: all neighbours that are connected.
    pub fn audience(&self, but: Option<PeerId>) -> Vec<PeerId> {
        let told = self.neighbours.told().copied();
        told.filter(|name| Some(*name) != but && self.connected.contains(name))
            .collect()
    }

    pub fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    pub fn is_connected(&self, name: &PeerId) -> bool {
        self.connected.contains(name)
    }

    /// There is a connection with a peer now. Says who one is, and asks what the other knows.
    pub fn connected(&mut self, name: PeerId, own: Option<&IpnsRecord>, now: UnixMillis) -> Vec<Effect> {
        self.connected.insert(name);
        let known = self.table.get(&name).is_some();
        let mut effects = self.reached(name, now);
        // Many call only to see whether one is there.
        if !known || self.neighbours.wants(&name) {
            effects.push(Effect::Ask(name, self.comparison(own, false)));
        }
        effects
    }

    /// The last connection with a peer has ended.
    pub fn disconnected(&mut self, name: PeerId, now: UnixMillis) {
        self.connected.remove(&name);
        self.pages.remove(&name);
        if self.table.get(&name).is_some() && self.neighbours.wants(&name) {
            self.rumours.heard(name, 0, true, now, &mut self.random);
        }
    }

    /// The own record is new: who has all connections tells all, so that nobody has to wait for somebody between.
    pub fn publish(&mut self, record: &IpnsRecord) -> Vec<Effect> {
        let question = RecordsQuestion {
            told: vec![Entry::new(&record.name(), record.bytes())],
            ..RecordsQuestion::default()
        };
        let wants = |name: &&PeerId| self.neighbours.wants(name);
        let wanted = self.connected.iter().filter(wants);
        wanted.map(|name| Effect::Ask(*name, question.clone())).collect()
    }

    /// A checked announcement came by another way.
    pub fn found(&mut self, announcement: Announcement, from: Option<PeerId>, now: UnixMillis) -> Vec<Effect> {
        let mut effects = Vec::new();
        let fresh: Vec<_> = self.take_up(announcement, &mut effects, now).into_iter().collect();
        self.tell_on(fresh, from, &mut effects);
        effects
    }

    /// A peer asks.
    pub fn asked(
        &mut self,
        from: PeerId,
        question: RecordsQuestion,
        own: Option<&IpnsRecord>,
        now: UnixMillis,
    ) -> (RecordsAnswer, Vec<Effect>) {
        let mut effects = Vec::new();
        let fresh = self.hear(question.told, own, &mut effects, now);
        self.tell_on(fresh, Some(from), &mut effects);
        for name in question.look.iter().filter_map(|name| PeerId::from_bytes(name).ok()) {
            self.heard_of(name, now);
        }
        let Some(after) = question.after else {
            return (RecordsAnswer::default(), effects);
        };
        let known = Known::new(&self.table, own);
        let differing = known.differing(&question.digest);
        if differing.is_nothing() {
            return (RecordsAnswer::default(), effects);
        }
        let (page, more) = known.page(&after, &differing, MOST_ENTRIES);
        let entries = page.into_iter().map(|(name, record)| Entry::new(&name, record.bytes()));
        let entries = entries.collect();
        // The difference may be something that only the other has.
        if !question.back && after.is_empty() && self.asked_back < ASKED_BACK {
            self.asked_back += 1;
            effects.push(Effect::Ask(from, self.comparison(own, true)));
        }
        (RecordsAnswer { entries, more }, effects)
    }

    /// A peer answers.
    pub fn answered(
        &mut self,
        from: PeerId,
        answer: RecordsAnswer,
        own: Option<&IpnsRecord>,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let last = answer.entries.last().and_then(Entry::name).map(|name| name.to_bytes());
        let fresh = self.hear(answer.entries, own, &mut effects, now);
        let most = self.table.limits().most / MOST_ENTRIES + 1;
        let pages = self.pages.remove(&from);
        let pages = pages.unwrap_or(Pages {
            after: Vec::new(),
            left: most,
            fresh: 0,
        });
        let all_fresh = pages.fresh + fresh.len();
        match last.filter(|last| answer.more && *last > pages.after && pages.left > 0) {
            Some(after) => {
                let question = RecordsQuestion {
                    after: Some(after.clone()),
                    digest: Known::new(&self.table, own).digests(),
                    back: true,
                    ..RecordsQuestion::default()
                };
                effects.push(Effect::Ask(from, question));
                let left = pages.left - 1;
                let fresh = all_fresh;
                self.pages.insert(from, Pages { after, left, fresh });
            }
            None if all_fresh > TOLD_ON => self.compare_with_all = true,
            None => self.tell_on(fresh, Some(from), &mut effects),
        }
        effects
    }

    /// Time passed.
    pub fn tick(&mut self, own: Option<&IpnsRecord>, now: UnixMillis) -> Vec<Effect> {
        self.asked_back = 0;
        let changes = self.table.passed(now);
        self.stale |= !changes.is_empty();
        let mut effects: Vec<_> = changes.into_iter().map(Effect::Changed).collect();
        let every = self.compare_every;
        let is_due = self.compared_at.is_none_or(|at| at > now || now.since(at) >= every);
        let with: Vec<_> = if std::mem::take(&mut self.compare_with_all) {
            self.audience(None)
        } else if is_due {
            self.compared_at = Some(now);
            let wants = |name: &&PeerId| self.neighbours.wants(name);
            let wanted = self.connected.iter().filter(wants);
            wanted.choose(&mut self.random).copied().into_iter().collect()
        } else {
            return effects;
        };
        effects.extend(
            with.into_iter()
                .map(|name| Effect::Ask(name, self.comparison(own, false))),
        );
        effects
    }

    fn comparison(&self, own: Option<&IpnsRecord>, back: bool) -> RecordsQuestion {
        RecordsQuestion {
            told: own
                .map(|own| Entry::new(&own.name(), own.bytes()))
                .into_iter()
                .collect(),
            after: Some(Vec::new()),
            digest: Known::new(&self.table, own).digests(),
            back,
            ..RecordsQuestion::default()
        }
    }

    /// Checks what was brought. What was new comes back.
    fn hear(
        &mut self,
        entries: Vec<Entry>,
        own: Option<&IpnsRecord>,
        effects: &mut Vec<Effect>,
        now: UnixMillis,
    ) -> Vec<Entry> {
        let mut fresh = Vec::new();
        for entry in entries {
            let Some(name) = entry.name() else { continue };
            let same = |known: &IpnsRecord| known.name() == name && known.bytes() == entry.record;
            let best = self.table.best(&name).map(Announcement::record);
            // The same record comes several times; its signature need not be checked again.
            if best.or(own).is_some_and(same) {
                self.is_said_to_be_there(name, now);
                continue;
            }
            match Announcement::check(&name, &entry.record, now) {
                Ok(announcement) => fresh.extend(self.take_up(announcement, effects, now)),
                Err(error) => tracing::debug!(%name, %error, "told a record that is not taken up"),
            }
        }
        fresh
    }

    fn take_up(&mut self, announcement: Announcement, effects: &mut Vec<Effect>, now: UnixMillis) -> Option<Entry> {
        let name = announcement.record().name();
        let sequence = announcement.record().sequence();
        let entry = Entry::new(&name, announcement.record().bytes());
        match self.table.announced(announcement, now) {
            Ok(changes) => {
                for change in changes {
                    self.stale |= !matches!(change, Change::Updated(_));
                    if change == Change::Appeared(name) {
                        self.heard_of(name, now);
                    }
                    effects.push(Effect::Changed(change));
                }
                if self.connected.contains(&name) {
                    effects.extend(self.reached(name, now));
                }
                Some(entry)
            }
            Err(Refusal::Own) => {
                effects.push(Effect::SeenOwn(sequence));
                None
            }
            Err(Refusal::NotNewer | Refusal::Gone | Refusal::Full) => {
                self.is_said_to_be_there(name, now);
                None
            }
        }
    }

    /// A neighbour knows somebody who is missing here: it may have come back.
    fn is_said_to_be_there(&mut self, name: PeerId, now: UnixMillis) {
        if self.table.is_missing(&name) {
            self.heard_of(name, now);
        }
    }

    fn tell_on(&self, told: Vec<Entry>, from: Option<PeerId>, effects: &mut Vec<Effect>) {
        if !told.is_empty() {
            let question = RecordsQuestion {
                told,
                ..RecordsQuestion::default()
            };
            effects.push(Effect::Tell(question, from));
        }
    }

    pub(super) fn went_or_came(&mut self) {
        self.stale = true;
    }
}
