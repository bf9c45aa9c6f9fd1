//! Sealed messages: the network's part.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::request_response::{Event, Message, OutboundFailure, OutboundRequestId, ResponseChannel};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::ask::{Answerers, AskError, Asked, Question};
use super::now;
use super::run::Run;
use crate::message::{Direction, Envelope, seal};
use crate::model::SealingKey;
use crate::network::{QUESTION_LASTS, Refusal, SealedAnswer, SealedQuestion};
use crate::record::Announcement;

/// How many questions of others wait for an answer: at most 4 MiB.
const MOST_WAITING: usize = 64;
/// And of one of them.
const MOST_OF_ONE: usize = 4;
/// How many questions of this domain wait for an answer.
const MOST_ASKED: usize = 256;
/// How long who answers a topic may think.
const THINKING: Duration = Duration::from_secs(30);

/// A question of this domain that is under way.
struct Pending {
    /// Without its body.
    question: Envelope,
    done: oneshot::Sender<Result<Bytes, AskError>>,
}

/// A question of another domain, and what it gets.
pub(super) struct Answering {
    question: Envelope,
    seal_to: SealingKey,
    channel: ResponseChannel<SealedAnswer>,
    answer: Option<Bytes>,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Messages {
    pub answerers: Answerers,
    asked: HashMap<OutboundRequestId, Pending>,
    waiting: FuturesUnordered<BoxFuture<'static, Answering>>,
    waiting_of: HashMap<PeerId, usize>,
}

impl Messages {
    pub fn new(answerers: Answerers) -> Self {
        Self {
            answerers,
            ..Self::default()
        }
    }

    /// The next question to which there is an answer, or to which there will be none; never, while there is no question.
    pub async fn next_answer(&mut self) -> Answering {
        loop {
            match self.waiting.next().await {
                Some(answering) => return answering,
                None => std::future::pending().await,
            }
        }
    }
}

impl Run {
    pub(super) fn ask_peer(&mut self, question: Question) {
        let Question {
            peer,
            topic,
            body,
            done,
        } = question;
        match self.sealed_question(peer, topic, body) {
            Ok((question, sent)) => {
                let request = self.swarm.behaviour_mut().messages.send_request(&peer, sent);
                self.messages.asked.insert(request, Pending { question, done });
            }
            // Who asked may have given up.
            Err(error) => drop(done.send(Err(error))),
        }
    }

    fn sealed_question(
        &self,
        peer: PeerId,
        topic: crate::message::Topic,
        body: Bytes,
    ) -> Result<(Envelope, SealedQuestion), AskError> {
        if self.messages.asked.len() >= MOST_ASKED {
            return Err(AskError::Busy);
        }
        let known = self.member.table.get(&peer).ok_or(AskError::Unknown(peer))?;
        let now = now();
        let own = self.publishing.record(now).cloned();
        let own = own.and_then(|record| Announcement::of(record, now).ok());
        let own = own.filter(|own| own.statement().identity().is_some());
        let own = own.ok_or(AskError::NotPublished)?;
        let mut envelope = Envelope::question(self.name, peer, topic, rand::random(), body)?;
        let sealed = SealedQuestion {
            record: own.record().bytes().to_vec(),
            sealed: seal(&envelope, known.identity().sealing_key()),
        };
        envelope.body = Bytes::new();
        Ok((envelope, sealed))
    }

    pub(super) fn messages_event(&mut self, event: Event<SealedQuestion, SealedAnswer>) {
        match event {
            Event::Message {
                peer,
                message: Message::Request { request, channel, .. },
                ..
            } => self.asked_by(peer, &request, channel),
            Event::Message {
                peer,
                message: Message::Response { request_id, response },
                ..
            } => {
                if let Some(Pending { question, done }) = self.messages.asked.remove(&request_id) {
                    // Who asked may have given up.
                    let _ = done.send(self.read_answer(peer, &question, response));
                }
            }
            Event::OutboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                if let Some(pending) = self.messages.asked.remove(&request_id) {
                    let _ = pending.done.send(Err(failed(peer, &error)));
                }
            }
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn read_answer(&self, peer: PeerId, question: &Envelope, answer: SealedAnswer) -> Result<Bytes, AskError> {
        let sealed = match answer {
            SealedAnswer::Sealed(sealed) => sealed,
            SealedAnswer::Refused(refusal) => return Err(refused(peer, refusal)),
        };
        let opened = self.config.sealing.open(&sealed, Direction::Answer, &peer, &self.name);
        let invalid = |reason: String| AskError::Invalid { peer, reason };
        let answer = opened.map_err(|error| invalid(error.to_string()))?;
        if !answer.answers(question) {
            return Err(invalid("it answers another question".into()));
        }
        Ok(answer.body)
    }

    fn asked_by(&mut self, peer: PeerId, question: &SealedQuestion, channel: ResponseChannel<SealedAnswer>) {
        match self.hear(peer, question) {
            Ok((question, seal_to, answer)) => {
                *self.messages.waiting_of.entry(peer).or_default() += 1;
                let answering = async move {
                    let answer = tokio::time::timeout(THINKING, answer).await;
                    Answering {
                        question,
                        seal_to,
                        channel,
                        answer: answer.ok().and_then(Result::ok),
                    }
                };
                self.messages.waiting.push(Box::pin(answering));
            }
            Err(refusal) => {
                tracing::debug!(%peer, ?refusal, "a message is not taken");
                self.send_answer(channel, SealedAnswer::Refused(refusal));
            }
        }
    }

    /// Checks and opens a question, and gives it to who answers such questions.
    fn hear(
        &mut self,
        peer: PeerId,
        question: &SealedQuestion,
    ) -> Result<(Envelope, SealingKey, oneshot::Receiver<Bytes>), Refusal> {
        let of_one = self.messages.waiting_of.get(&peer).copied().unwrap_or(0);
        if of_one >= MOST_OF_ONE || self.messages.waiting.len() >= MOST_WAITING {
            return Err(Refusal::Busy);
        }
        let now = now();
        let announcement = Announcement::check(&peer, &question.record, now).map_err(|_| Refusal::Record)?;
        let seal_to = announcement
            .statement()
            .identity()
            .map(|identity| identity.sealing_key());
        let seal_to = seal_to.ok_or(Refusal::Record)?;
        let opened = self
            .config
            .sealing
            .open(&question.sealed, Direction::Question, &peer, &self.name);
        let mut envelope = opened.map_err(|_| Refusal::NotForUs)?;
        // It is the newest of a peer that is there: others may not have told it yet.
        self.talk(|member, _| member.found(announcement, Some(peer), now));
        let answerer = self.messages.answerers.of(&envelope.topic).ok_or(Refusal::Topic)?;
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            from: peer,
            body: std::mem::take(&mut envelope.body),
            reply,
        };
        match answerer.try_send(asked) {
            Ok(()) => Ok((envelope, seal_to, answer)),
            Err(TrySendError::Full(_)) => Err(Refusal::Busy),
            Err(TrySendError::Closed(_)) => Err(Refusal::Topic),
        }
    }

    /// There is an answer, or there will be none.
    pub(super) fn answer_asked(&mut self, answering: Answering) {
        let peer = answering.question.from;
        if let Some(of_one) = self.messages.waiting_of.get_mut(&peer) {
            *of_one -= 1;
            if *of_one == 0 {
                self.messages.waiting_of.remove(&peer);
            }
        }
        let answer = answering.answer.map(|body| answering.question.answer(body));
        let answer = match answer {
            Some(Ok(answer)) => SealedAnswer::Sealed(seal(&answer, answering.seal_to)),
            Some(Err(error)) => {
                tracing::warn!(%peer, topic = answering.question.topic, %error, "an answer could not be sent");
                SealedAnswer::Refused(Refusal::Declined)
            }
            None => SealedAnswer::Refused(Refusal::Declined),
        };
        self.send_answer(answering.channel, answer);
    }

    fn send_answer(&mut self, channel: ResponseChannel<SealedAnswer>, answer: SealedAnswer) {
        // The asker may have gone.
        let _ = self.swarm.behaviour_mut().messages.send_response(channel, answer);
    }
}

fn failed(peer: PeerId, error: &OutboundFailure) -> AskError {
    let reason = match error {
        OutboundFailure::Timeout => {
            return AskError::Late {
                peer,
                within: QUESTION_LASTS,
            };
        }
        OutboundFailure::DialFailure => "it can't be reached".into(),
        OutboundFailure::ConnectionClosed => "the connection was closed before an answer came".into(),
        OutboundFailure::UnsupportedProtocols => "it does not speak /hanse/messages/1".into(),
        OutboundFailure::Io(error) => error.to_string(),
    };
    AskError::Unreachable { peer, reason }
}

fn refused(peer: PeerId, refusal: Refusal) -> AskError {
    let reason = match refusal {
        Refusal::Busy => "it has too many questions to answer; try again later",
        Refusal::Record => "it does not take this domain's record for valid; check the clocks",
        Refusal::NotForUs => "it can't open what is sealed to the key in its record; its record may be about to change",
        Refusal::Topic => "it answers no such questions",
        Refusal::Declined => "it has no answer to this question",
        Refusal::Other => "for a reason of a later version",
    };
    AskError::Refused { peer, reason }
}
