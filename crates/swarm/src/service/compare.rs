//! Members tell each other what is new, and compare what they know now and then: so a swarm that was split in two grows
//! together, and who was away learns what it missed.

use libp2p::PeerId;
use libp2p::request_response::{Event, Message};
use rand::seq::IteratorRandom;

use super::now;
use super::run::Run;
use crate::gossip::Known;
use crate::model::UnixMillis;
use crate::network::{Entry, MOST_ENTRIES, RecordsAnswer, RecordsQuestion};

impl Run {
    /// Tells everybody who is connected, but for `from`.
    pub(super) fn tell_all(&mut self, entries: &[Entry], from: Option<PeerId>) {
        let peers: Vec<_> = self
            .swarm
            .connected_peers()
            .filter(|peer| Some(**peer) != from)
            .copied()
            .collect();
        for peer in peers {
            let question = RecordsQuestion {
                told: entries.to_vec(),
                ..RecordsQuestion::default()
            };
            self.swarm.behaviour_mut().records.send_request(&peer, question);
        }
    }

    /// A connection was made: says who one is, and asks what the other knows.
    pub(super) fn greet(&mut self, peer: PeerId) {
        self.ask_for_records(peer, Vec::new(), true);
    }

    pub(super) fn compare_with_neighbour(&mut self, now: UnixMillis) {
        let every = self.config.compare_every;
        if self.compared_at.is_some_and(|at| at <= now && now.since(at) < every) {
            return;
        }
        self.compared_at = Some(now);
        let neighbour = self.swarm.connected_peers().choose(&mut rand::rng()).copied();
        if let Some(peer) = neighbour {
            self.ask_for_records(peer, Vec::new(), true);
        }
    }

    fn ask_for_records(&mut self, peer: PeerId, after: Vec<u8>, compare: bool) {
        let now = now();
        let known = Known::new(&self.table, self.publishing.record(now));
        let question = RecordsQuestion {
            told: self.publishing.entry(now).into_iter().filter(|_| compare).collect(),
            after: Some(after),
            digest: if compare { known.digest().to_vec() } else { Vec::new() },
        };
        self.swarm.behaviour_mut().records.send_request(&peer, question);
    }

    pub(super) fn records_event(&mut self, event: Event<RecordsQuestion, RecordsAnswer>) {
        match event {
            Event::Message {
                peer,
                message: Message::Request { request, channel, .. },
                ..
            } => {
                let answer = self.answer(&request);
                self.told(request.told, peer);
                // The asker may have gone.
                let _ = self.swarm.behaviour_mut().records.send_response(channel, answer);
            }
            Event::Message {
                peer,
                message: Message::Response { response, .. },
                ..
            } => {
                let last = response.entries.last().and_then(Entry::name);
                self.told(response.entries, peer);
                if let Some(last) = last.filter(|_| response.more) {
                    self.ask_for_records(peer, last.to_bytes(), false);
                }
            }
            Event::OutboundFailure { peer, error, .. } => {
                // Members that are no Hanse agents do not speak this protocol.
                tracing::debug!(%peer, %error, "a neighbour did not take or give records");
            }
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn answer(&self, question: &RecordsQuestion) -> RecordsAnswer {
        let Some(after) = &question.after else {
            return RecordsAnswer::default();
        };
        let known = Known::new(&self.table, self.publishing.record(now()));
        if question.digest == known.digest() {
            return RecordsAnswer::default();
        }
        let (page, more) = known.page(after, MOST_ENTRIES);
        let entries = page.into_iter().map(|(name, record)| Entry::new(&name, record.bytes()));
        RecordsAnswer {
            entries: entries.collect(),
            more,
        }
    }
}
