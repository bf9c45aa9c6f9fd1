//! Carries out what the [`Member`] decides: tells, asks and answers.

use libp2p::PeerId;
use libp2p::request_response::{Event, Message};

use super::now;
use super::run::Run;
use crate::gossip::{Effect, Member};
use crate::network::{RecordsAnswer, RecordsQuestion};
use crate::peers::Change;
use crate::record::IpnsRecord;

impl Run {
    /// Has the member decide, and does what it wants.
    pub(super) fn talk(&mut self, decide: impl FnOnce(&mut Member, Option<&IpnsRecord>) -> Vec<Effect>) {
        let effects = decide(&mut self.member, self.publishing.record(now()));
        self.carry_out(effects);
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Changed(change) => {
                    self.unwritten |= !matches!(change, Change::Online(_) | Change::Missed(..));
                    // Nobody may be listening.
                    let _ = self.changes.send(change);
                }
                Effect::SeenOwn(sequence) => self.publishing.saw_own(sequence),
                Effect::Ask(peer, question) => self.put_question(peer, question),
                Effect::Tell(question, but) => {
                    self.choose_neighbours();
                    for peer in self.member.audience(but) {
                        self.put_question(peer, question.clone());
                    }
                }
            }
        }
    }

    pub(super) fn choose_neighbours(&mut self) {
        if self.member.is_stale() {
            self.member.review();
        }
    }

    fn put_question(&mut self, peer: PeerId, question: RecordsQuestion) {
        self.traffic.sent.records(&question, &question.told);
        self.swarm.behaviour_mut().records.send_request(&peer, question);
    }

    pub(super) fn records_event(&mut self, event: Event<RecordsQuestion, RecordsAnswer>) {
        match event {
            Event::Message {
                peer,
                message: Message::Request {
                    mut request, channel, ..
                },
                ..
            } => {
                self.traffic.received.records(&request, &request.told);
                self.admit(&mut request.told, peer, now());
                let own = self.publishing.record(now());
                let (answer, effects) = self.member.asked(peer, request, own, now());
                self.traffic.sent.records(&answer, &answer.entries);
                // The asker may have gone.
                let _ = self.swarm.behaviour_mut().records.send_response(channel, answer);
                self.carry_out(effects);
            }
            Event::Message {
                peer,
                message: Message::Response { mut response, .. },
                ..
            } => {
                self.traffic.received.records(&response, &response.entries);
                response.more &= self.admit(&mut response.entries, peer, now());
                self.talk(|member, own| member.answered(peer, response, own, now()));
            }
            Event::OutboundFailure { peer, error, .. } => {
                // Members that are no Hanse agents do not speak this protocol.
                tracing::debug!(%peer, %error, "a neighbour did not take or give records");
            }
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }
}
