//! Sealed questions and answers between real nodes, and what others can do about them.

mod hostile;
mod secrecy;

use super::*;
use crate::message::{LARGEST_BODY, Topic};

const TOPIC: Topic = Topic::new("test/1");
const BODY: &[u8] = b"the token is hunter2-hunter2-hunter2";
const ANSWER: &[u8] = b"the answer is 0c8d-42-42-42-42-42-42";

/// Two domains that know each other.
async fn two(swarm_key: &SwarmKey) -> (Domain, Domain) {
    let one = Domain::start(swarm_key, 1, &[]).await;
    let two = Domain::start(swarm_key, 2, &[one.address().await]).await;
    acquaint(&one, 1, &two, 2).await;
    (one, two)
}

async fn acquaint(one: &Domain, tag: u8, two: &Domain, other: u8) {
    one.swarm.publish(statement(tag, "I ask")).await.unwrap();
    two.swarm.publish(statement(other, "I answer")).await.unwrap();
    one.until_online(two.swarm.name()).await;
    two.until_online(one.swarm.name()).await;
}

async fn ask(from: &Domain, to: &Domain, body: &[u8]) -> Result<Bytes, AskError> {
    let body = Bytes::copy_from_slice(body);
    from.swarm.ask(to.swarm.name(), TOPIC, body, SOON).await
}

/// Answers one question.
async fn answer(domain: &Domain, mut asked: mpsc::Receiver<Asked>) -> (Asked, mpsc::Receiver<Asked>) {
    let question = tokio::time::timeout(SOON, asked.recv()).await;
    let question = question.expect("a question comes").expect("the swarm runs");
    assert_ne!(question.from, domain.swarm.name());
    (question, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_gets_its_answer_and_says_truly_who_asks() {
    let (one, two) = two(&SwarmKey::generate()).await;
    let asked = two.swarm.answer(TOPIC);
    let answering = async {
        let (question, _asked) = answer(&two, asked).await;
        assert_eq!((question.from, question.body.as_ref()), (one.swarm.name(), BODY));
        assert!(!format!("{question:?}").contains("hunter2"));
        question.reply.send(Bytes::from_static(ANSWER)).unwrap();
    };
    let (answered, ()) = tokio::join!(ask(&one, &two, BODY), answering);
    assert_eq!(answered.unwrap(), ANSWER);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_question_gets_the_largest_answer() {
    let (one, two) = two(&SwarmKey::generate()).await;
    let asked = two.swarm.answer(TOPIC);
    let largest = vec![7; LARGEST_BODY];
    let answering = async {
        let (question, _asked) = answer(&two, asked).await;
        question.reply.send(question.body).unwrap();
    };
    let (answered, ()) = tokio::join!(ask(&one, &two, &largest), answering);
    assert_eq!(answered.unwrap(), largest);
    let too_long = ask(&one, &two, &vec![7; LARGEST_BODY + 1]).await.unwrap_err();
    assert!(matches!(too_long, AskError::Long(_)), "{too_long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_told_why_there_is_no_answer() {
    let swarm_key = SwarmKey::generate();
    let (one, two) = two(&swarm_key).await;
    let nobody = ask(&one, &two, BODY).await.unwrap_err();
    assert!(nobody.to_string().contains("answers no such questions"), "{nobody}");

    let asked = two.swarm.answer(TOPIC);
    let declining = async {
        let (question, _asked) = answer(&two, asked).await;
        drop(question.reply);
    };
    let (declined, ()) = tokio::join!(ask(&one, &two, BODY), declining);
    assert!(declined.unwrap_err().to_string().contains("has no answer"));

    let stranger = one.swarm.ask(PeerId::random(), TOPIC, Bytes::new(), SOON).await;
    assert!(matches!(stranger, Err(AskError::Unknown(_))), "{stranger:?}");

    // Who has not said what to seal to can't be answered.
    let silent = Domain::start(&swarm_key, 3, &[one.address().await]).await;
    silent.until_online(one.swarm.name()).await;
    let unpublished = ask(&silent, &one, BODY).await.unwrap_err();
    assert!(matches!(unpublished, AskError::NotPublished), "{unpublished}");
    silent.swarm.publish(Statement::Withdrawn).await.unwrap();
    let withdrawn = ask(&silent, &one, BODY).await.unwrap_err();
    assert!(matches!(withdrawn, AskError::NotPublished), "{withdrawn}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_few_questions_at_a_time_and_nobody_waits_longer_than_he_wants() {
    let (one, two) = two(&SwarmKey::generate()).await;
    let mut asked = two.swarm.answer(TOPIC);
    let within = Duration::from_millis(10_000);
    let name = two.swarm.name();
    let mut waiting: Vec<_> = (0..4)
        .map(|_| Box::pin(one.swarm.ask(name, TOPIC, Bytes::from_static(BODY), within)))
        .collect();
    let mut held = Vec::new();
    while held.len() < 4 {
        tokio::select! {
            question = asked.recv() => held.push(question.unwrap()),
            (answer, ..) = futures::future::select_all(waiting.iter_mut()) => panic!("nobody answered: {answer:?}"),
        }
    }
    let fifth = ask(&one, &two, BODY).await.unwrap_err();
    assert!(fifth.to_string().contains("too many"), "{fifth}");
    for answer in futures::future::join_all(waiting).await {
        assert!(matches!(answer, Err(AskError::Late { .. })), "{answer:?}");
    }
    // There is room again as soon as they are answered.
    held.clear();
    let answering = async {
        let (question, _asked) = answer(&two, asked).await;
        question.reply.send(Bytes::from_static(ANSWER)).unwrap();
    };
    let asking = async {
        loop {
            match ask(&one, &two, BODY).await {
                Ok(answer) => return answer,
                Err(error) => assert!(error.to_string().contains("too many"), "{error}"),
            }
        }
    };
    let (answered, ()) = tokio::join!(asking, answering);
    assert_eq!(answered, ANSWER);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_nobody_could_seal_to_is_not_published() {
    let domain = Domain::start(&SwarmKey::generate(), 1, &[]).await;
    let refused = domain.swarm.publish(statement(2, "another's key")).await.unwrap_err();
    assert!(matches!(refused, PublishError::SealingKey), "{refused}");
    assert_eq!(domain.swarm.sealing_key(), sealing(1).public());
}
