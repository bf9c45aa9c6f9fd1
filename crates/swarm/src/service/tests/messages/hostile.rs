//! A member that does not play by the rules: it has the swarm's key, speaks the protocol, and lies.

use futures::StreamExt;
use libp2p::StreamProtocol;
use libp2p::ping;
use libp2p::request_response::{self, Event, Message, OutboundFailure, ProtocolSupport};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};

use super::*;
use crate::message::{Direction, Envelope, seal};
use crate::network::{Raw, Refusal, SealedAnswer, SealedQuestion, Wire, WireCodec, transport};
use crate::record::IpnsRecord;

/// Answers pings: who does not is hung up on.
#[derive(NetworkBehaviour)]
struct Talk {
    messages: request_response::Behaviour<WireCodec<Raw, Raw>>,
    ping: ping::Behaviour,
}

/// Connects to `to` and says bytes to it.
struct Liar {
    swarm: libp2p::Swarm<Talk>,
    name: PeerId,
    to: PeerId,
}

impl Liar {
    fn new(swarm_key: &SwarmKey, tag: u8, to: &Domain, address: &SwarmAddress) -> Self {
        let key = key(tag);
        let name = key.peer_id();
        let protocol = (StreamProtocol::new("/hanse/messages/1"), ProtocolSupport::Full);
        let talk = Talk {
            messages: request_response::Behaviour::new([protocol], request_response::Config::default()),
            ping: ping::Behaviour::default(),
        };
        let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(SOON);
        // It needs no circuits.
        let (circuits, _asked) = libp2p_relay::client::new(key.peer_id());
        let transport = transport(swarm_key, key.keypair(), circuits).unwrap();
        let mut swarm = libp2p::Swarm::new(transport, talk, name, config);
        let to = to.swarm.name();
        swarm.add_peer_address(to, address.multiaddr().clone());
        Self { swarm, name, to }
    }

    /// What it is answered; `None` if the stream is closed without an answer.
    async fn say(&mut self, bytes: Vec<u8>) -> Option<SealedAnswer> {
        self.swarm.behaviour_mut().messages.send_request(&self.to, Raw(bytes));
        let answered = async {
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::Behaviour(TalkEvent::Messages(Event::Message {
                        message: Message::Response { response, .. },
                        ..
                    })) => return SealedAnswer::from_bytes(response.0).ok(),
                    SwarmEvent::Behaviour(TalkEvent::Messages(Event::OutboundFailure { error, .. })) => {
                        assert!(matches!(error, OutboundFailure::Io(_)), "{error}");
                        return None;
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(SOON, answered)
            .await
            .expect("it is answered in time")
    }
}

fn record(tag: u8) -> IpnsRecord {
    let path = statement(tag, "I lie").to_path().unwrap();
    let day = Duration::from_secs(86_400);
    IpnsRecord::sign(&key(tag), &path, now().0, now().plus(day), day).unwrap()
}

fn question(record: &IpnsRecord, envelope: &Envelope, to: u8) -> Vec<u8> {
    let sealed = seal(envelope, sealing(to).public());
    let record = record.bytes().to_vec();
    SealedQuestion { record, sealed }.to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_questions_reach_nobody_and_do_no_harm() {
    let swarm_key = SwarmKey::generate();
    let (one, two) = two(&swarm_key).await;
    let mut asked = two.swarm.answer(TOPIC);
    let mut liar = Liar::new(&swarm_key, 9, &two, &two.address().await);
    let (liar_name, to) = (liar.name, two.swarm.name());
    let envelope = |from, to| Envelope::question(from, to, TOPIC, [1; 32], Bytes::from_static(BODY)).unwrap();
    let honest = envelope(liar_name, to);

    let refused = Some(SealedAnswer::Refused(Refusal::NotForUs));
    // Another domain's words, passed on as one's own.
    let stolen = question(&record(9), &envelope(one.swarm.name(), to), 2);
    assert_eq!(liar.say(stolen).await, refused);
    // Meant for another.
    let diverted = question(&record(9), &envelope(liar_name, one.swarm.name()), 2);
    assert_eq!(liar.say(diverted).await, refused);
    // An answer as a question.
    let mut turned = honest.clone();
    turned.direction = Direction::Answer;
    assert_eq!(liar.say(question(&record(9), &turned, 2)).await, refused);
    // Sealed to another key.
    assert_eq!(liar.say(question(&record(9), &honest, 1)).await, refused);
    let garbage = SealedQuestion {
        record: record(9).bytes().to_vec(),
        sealed: vec![7; 300],
    };
    assert_eq!(liar.say(garbage.to_bytes()).await, refused);
    // With the record of another domain, or none.
    let refused = Some(SealedAnswer::Refused(Refusal::Record));
    assert_eq!(liar.say(question(&record(1), &honest, 2)).await, refused);
    assert_eq!(liar.say(Vec::new()).await, refused);
    // No message at all, and one that is too long.
    assert_eq!(liar.say(vec![0xff; 100]).await, None);
    assert_eq!(liar.say(vec![0; 1 << 20]).await, None);

    assert!(asked.try_recv().is_err(), "nothing of it came through");
    assert!(two.sees(liar_name).await.is_none());

    // And the honest one does come through, of the same node, and of the domain that it lied about.
    let heard = async {
        let question = asked.recv().await.unwrap();
        assert_eq!((question.from, question.body.as_ref()), (liar_name, BODY));
        question.reply.send(Bytes::from_static(ANSWER)).unwrap();
        let question = asked.recv().await.unwrap();
        assert_eq!(question.from, one.swarm.name());
        question.reply.send(Bytes::from_static(ANSWER)).unwrap();
    };
    let asking = async {
        let honest_answer = liar.say(question(&record(9), &honest, 2)).await;
        let Some(SealedAnswer::Sealed(sealed)) = honest_answer else {
            panic!("{honest_answer:?}");
        };
        let opened = sealing(9).open(&sealed, Direction::Answer, &to, &liar_name).unwrap();
        assert!(opened.answers(&honest));
        assert_eq!(opened.body, ANSWER);
        assert_eq!(ask(&one, &two, BODY).await.unwrap(), ANSWER);
    };
    tokio::join!(heard, asking);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_answer_is_not_taken() {
    let swarm_key = SwarmKey::generate();
    let one = Domain::start(&swarm_key, 1, &[]).await;
    one.swarm.publish(statement(1, "I ask")).await.unwrap();
    let mut liar = Liar::new(&swarm_key, 9, &one, &one.address().await);
    let (liar_name, to) = (liar.name, one.swarm.name());
    // A first question makes it known.
    let hello = Envelope::question(liar_name, to, TOPIC, [1; 32], Bytes::new()).unwrap();
    let answer = liar.say(question(&record(9), &hello, 1)).await;
    assert_eq!(answer, Some(SealedAnswer::Refused(Refusal::Topic)));

    let guessed = Envelope::question(to, liar_name, TOPIC, [1; 32], Bytes::new()).unwrap();
    let other_exchange = guessed.answer(Bytes::from_static(ANSWER)).unwrap();
    let mut by_another = other_exchange.clone();
    by_another.from = PeerId::random();
    let replies = [
        (
            SealedAnswer::Sealed(seal(&other_exchange, sealing(1).public())),
            "another question",
        ),
        (
            SealedAnswer::Sealed(seal(&by_another, sealing(1).public())),
            "not from the peer",
        ),
        (
            SealedAnswer::Sealed(seal(&other_exchange, sealing(2).public())),
            "not sealed to this domain",
        ),
        (SealedAnswer::Sealed(vec![7; 100]), "not sealed to this domain"),
        (SealedAnswer::Sealed(Vec::new()), "not sealed to this domain"),
    ];
    for (reply, why) in replies {
        let asking = one.swarm.ask(liar_name, TOPIC, Bytes::from_static(BODY), SOON);
        tokio::pin!(asking);
        let answered = loop {
            tokio::select! {
                answered = &mut asking => break answered,
                event = liar.swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(TalkEvent::Messages(Event::Message { message: Message::Request { channel, .. }, .. })) = event {
                        liar.swarm.behaviour_mut().messages.send_response(channel, Raw(reply.to_bytes())).unwrap();
                    }
                }
            }
        };
        let error = answered.unwrap_err();
        assert!(
            matches!(error, AskError::Invalid { .. }) && error.to_string().contains(why),
            "{error}"
        );
    }
}
