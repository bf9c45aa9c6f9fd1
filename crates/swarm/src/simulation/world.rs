//! The simulated network: a queue of what happens when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::Duration;

use libp2p::PeerId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use zeroize::Zeroizing;

use super::Conditions;
use crate::DomainKey;
use crate::gossip::{Effect, Member};
use crate::model::{Identity, SealingKey, Statement, UnixMillis};
use crate::network::{Entry, RecordsAnswer, RecordsQuestion};
use crate::peers::{Change, Limits, PeerTable};
use crate::record::IpnsRecord;

/// When the simulation begins.
pub(super) const BEGIN: UnixMillis = UnixMillis(1_800_000_000_000);
/// As in the running swarm.
const TICK: Duration = Duration::from_millis(500);
const LOOKS: usize = 32;
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// Bootstrap members are called again after this many ticks.
const CALL_AGAIN: u64 = 20;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) enum Event {
    Tick(usize),
    Question(usize, usize, RecordsQuestion),
    Answer(usize, usize, RecordsAnswer),
    /// The first has called the second.
    Called(usize, usize),
    NotAnswered(usize, usize),
    #[cfg(test)]
    Disconnected(usize, usize),
}

/// A member and what it runs on.
pub(super) struct Domain {
    pub key: DomainKey,
    pub name: PeerId,
    pub member: Member,
    pub own: Option<IpnsRecord>,
    pub up: bool,
    /// Domains on different sides of a split do not reach each other.
    pub side: u8,
    pub connected: BTreeSet<usize>,
    bootstrap: Option<usize>,
    ticks: u64,
}

/// When and over how many others a record came to a domain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub at: UnixMillis,
    pub hops: u64,
}

/// All of it.
pub(super) struct World {
    pub conditions: Conditions,
    pub random: StdRng,
    pub now: UnixMillis,
    pub domains: Vec<Domain>,
    /// Who chooses its neighbours among all, though its table does not hold all: ten thousand tables of ten thousand would not fit into
    /// the memory of one machine.
    pub choose_among: Option<Vec<PeerId>>,
    /// How often the record of an author was sent.
    pub sent: HashMap<PeerId, u64>,
    /// Messages of all kinds.
    pub messages: u64,
    /// The newest record of each author, where it arrived.
    pub arrived: HashMap<PeerId, BTreeMap<usize, Arrival>>,
    by_name: HashMap<PeerId, usize>,
    queue: BinaryHeap<Reverse<(UnixMillis, u64)>>,
    events: HashMap<u64, Event>,
    next_event: u64,
}

impl World {
    pub fn new(domains: usize, limits: Limits, conditions: Conditions) -> Self {
        let mut random = StdRng::seed_from_u64(conditions.seed);
        let keys = (0..domains).map(|_| DomainKey::from_secret(Zeroizing::new(random.random())));
        let keys: Vec<_> = keys.collect();
        let domains: Vec<_> = keys
            .into_iter()
            .map(|key| Domain {
                name: key.peer_id(),
                member: member(&key, limits, random.random()),
                key,
                own: None,
                up: false,
                side: 0,
                connected: BTreeSet::new(),
                bootstrap: None,
                ticks: 0,
            })
            .collect();
        let by_name = domains.iter().enumerate().map(|(index, domain)| (domain.name, index));
        Self {
            conditions,
            by_name: by_name.collect(),
            domains,
            random,
            now: BEGIN,
            choose_among: None,
            sent: HashMap::new(),
            messages: 0,
            arrived: HashMap::new(),
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            next_event: 0,
        }
    }

    pub(super) fn after(&mut self, delay: Duration, event: Event) {
        let number = self.next_event;
        self.next_event += 1;
        self.queue.push(Reverse((self.now.plus(delay), number)));
        self.events.insert(number, event);
    }

    /// Starts a domain that knows `bootstrap`.
    pub fn start(&mut self, index: usize, bootstrap: Option<usize>) {
        let domain = &mut self.domains[index];
        (domain.up, domain.bootstrap, domain.ticks) = (true, bootstrap, 0);
        // Not all clocks tick at the same time.
        let first = self.random.random_range(Duration::ZERO..TICK);
        self.after(first, Event::Tick(index));
    }

    /// Has a domain say this.
    pub fn publish(&mut self, index: usize, statement: &Statement, sequence: u64) {
        let path = statement.to_path().expect("what the simulation says is short");
        let domain = &mut self.domains[index];
        let record = IpnsRecord::sign(&domain.key, &path, sequence, self.now.plus(2 * DAY), DAY)
            .expect("what the simulation says is short");
        let here = Arrival { at: self.now, hops: 0 };
        self.arrived.insert(domain.name, BTreeMap::from([(index, here)]));
        self.sent.insert(domain.name, 0);
        self.choose_neighbours(index);
        let effects = self.domains[index].member.publish(&record);
        self.domains[index].own = Some(record);
        self.carry_out(index, effects, None);
    }

    /// Something to say.
    pub fn present(&self, index: usize, description: &str) -> Statement {
        let text = "what the simulation says is in bounds";
        let identity = Identity::new(
            format!("Cluster {index}").try_into().expect(text),
            description.to_owned().try_into().expect(text),
            format!("https://cluster-{index}.example").try_into().expect(text),
            vec!["computing".to_owned().try_into().expect(text)],
            SealingKey([7; 32]),
        );
        Statement::Present(Box::new(identity.expect(text)))
    }

    /// Makes a connection between two without anybody calling.
    pub fn connect(&mut self, one: usize, other: usize) {
        for (here, there) in [(one, other), (other, one)] {
            if !self.domains[here].connected.insert(there) {
                continue;
            }
            let name = self.domains[there].name;
            let (now, domain) = (self.now, &mut self.domains[here]);
            let effects = domain.member.connected(name, domain.own.as_ref(), now);
            self.carry_out(here, effects, None);
        }
    }

    fn disconnect(&mut self, here: usize, there: usize) {
        if self.domains[here].connected.remove(&there) {
            let name = self.domains[there].name;
            self.domains[here].member.disconnected(name, self.now);
        }
    }

    pub fn choose_neighbours(&mut self, index: usize) {
        let member = &mut self.domains[index].member;
        // Of names that stay as they are the same would be chosen again.
        let chosen = self.choose_among.is_some() && member.neighbours().told().next().is_some();
        if !member.is_stale() || chosen {
            return;
        }
        match &self.choose_among {
            None => member.review(),
            Some(all) => {
                let others: Vec<_> = all.iter().filter(|name| *name != member.table.own()).copied().collect();
                member.choose_neighbours(&others);
            }
        }
    }

    /// Does all that happens before `end`, or until `done` says so, which is asked every second.
    pub fn run(&mut self, end: UnixMillis, mut done: impl FnMut(&Self) -> bool) -> bool {
        let mut ask_at = self.now;
        while let Some(Reverse((at, number))) = self.queue.peek().copied().filter(|it| it.0.0 <= end) {
            self.queue.pop();
            self.now = at;
            if let Some(event) = self.events.remove(&number) {
                self.happens(event);
            }
            if at >= ask_at {
                if done(self) {
                    return true;
                }
                ask_at = at.plus(Duration::from_secs(1));
            }
        }
        self.now = end;
        done(self)
    }

    fn reach(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.domains[one], &self.domains[other]);
        one.up && other.up && one.side == other.side
    }

    fn happens(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Tick(index) => self.tick(index),
            Event::Question(from, to, question) => {
                if !self.reach(from, to) {
                    return;
                }
                let (name, asks) = (self.domains[from].name, question.after.is_some());
                let domain = &mut self.domains[to];
                let (answer, effects) = domain.member.asked(name, question, domain.own.as_ref(), now);
                self.carry_out(to, effects, Some(from));
                if asks {
                    self.sends(&answer.entries);
                    self.wire(to, from, |to, from| Event::Answer(to, from, answer));
                }
            }
            Event::Answer(from, to, answer) => {
                if !self.reach(from, to) {
                    return;
                }
                let name = self.domains[from].name;
                let domain = &mut self.domains[to];
                let effects = domain.member.answered(name, answer, domain.own.as_ref(), now);
                self.carry_out(to, effects, Some(from));
            }
            Event::Called(from, to) => {
                if !self.reach(from, to) {
                    return self.happens(Event::NotAnswered(from, to));
                }
                self.connect(from, to);
                let name = self.domains[to].name;
                if !self.domains[from].member.neighbours().wants(&name) {
                    self.disconnect(from, to);
                    self.disconnect(to, from);
                }
            }
            Event::NotAnswered(from, to) => {
                let name = self.domains[to].name;
                let effects = self.domains[from].member.missed(name, now);
                self.carry_out(from, effects, None);
            }
            #[cfg(test)]
            Event::Disconnected(here, there) => self.disconnect(here, there),
        }
    }

    fn tick(&mut self, index: usize) {
        let now = self.now;
        let domain = &mut self.domains[index];
        if !domain.up {
            return;
        }
        domain.ticks += 1;
        let effects = domain.member.tick(domain.own.as_ref(), now);
        self.carry_out(index, effects, None);
        self.choose_neighbours(index);
        let (looks, effects) = self.domains[index].member.looks(now, LOOKS);
        self.carry_out(index, effects, None);
        let mut called = Vec::new();
        for name in looks {
            match self.by_name.get(&name) {
                Some(other) => called.push(*other),
                // Names that were made up have nobody who answers.
                None => {
                    let effects = self.domains[index].member.missed(name, now);
                    self.carry_out(index, effects, None);
                }
            }
        }
        let domain = &self.domains[index];
        let bootstrap = domain.bootstrap.filter(|it| !domain.connected.contains(it));
        called.extend(bootstrap.filter(|_| domain.ticks % CALL_AGAIN == 1));
        for other in called {
            let delay = self.conditions.delay(&mut self.random);
            self.after(delay, Event::Called(index, other));
        }
        self.after(TICK, Event::Tick(index));
    }

    /// `from`: from whom it came that this is to be done.
    fn carry_out(&mut self, index: usize, effects: Vec<Effect>, from: Option<usize>) {
        for effect in effects {
            match effect {
                Effect::Changed(Change::Appeared(author) | Change::Updated(author)) => {
                    self.arrives(index, author, from)
                }
                Effect::Changed(_) | Effect::SeenOwn(_) => {}
                Effect::Ask(name, question) => self.ask(index, &name, question),
                Effect::Tell(question, but) => {
                    self.choose_neighbours(index);
                    for name in self.domains[index].member.audience(but) {
                        self.ask(index, &name, question.clone());
                    }
                }
            }
        }
    }

    fn arrives(&mut self, index: usize, author: PeerId, from: Option<usize>) {
        let Some(arrived) = self.arrived.get_mut(&author) else {
            return;
        };
        let hops = from
            .and_then(|from| arrived.get(&from))
            .map_or(1, |arrival| arrival.hops + 1);
        arrived.entry(index).or_insert(Arrival { at: self.now, hops });
    }

    fn ask(&mut self, from: usize, name: &PeerId, question: RecordsQuestion) {
        if let Some(to) = self.by_name.get(name).copied() {
            self.sends(&question.told);
            self.wire(from, to, |from, to| Event::Question(from, to, question));
        }
    }

    fn sends(&mut self, entries: &[Entry]) {
        for name in entries.iter().filter_map(Entry::name) {
            if let Some(sent) = self.sent.get_mut(&name) {
                *sent += 1;
            }
        }
    }

    fn wire(&mut self, from: usize, to: usize, event: impl FnOnce(usize, usize) -> Event) {
        self.messages += 1;
        if !self.random.random_bool(self.conditions.loss) {
            let delay = self.conditions.delay(&mut self.random);
            self.after(delay, event(from, to));
        }
    }
}

pub(super) fn member(key: &DomainKey, limits: Limits, seed: u64) -> Member {
    let table = PeerTable::new(key.peer_id(), limits);
    Member::new(table, COMPARE_EVERY, StdRng::seed_from_u64(seed))
}
