//! Questions to other domains, as the handle shows them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};

use super::Swarm;
use super::command::{Command, Stopped};
use crate::message::{EnvelopeError, LARGEST_BODY, Topic};

/// How many questions about a topic wait to be looked at.
const WAITING: usize = 32;

/// A question of another domain.
pub struct Asked {
    /// Who asks: proven by the connection on which it came.
    pub from: PeerId,
    /// What it asks. Hostile until checked.
    pub body: Bytes,
    /// Takes the answer, of at most [`LARGEST_BODY`] bytes. Dropped: the asker is told that there is none.
    pub reply: oneshot::Sender<Bytes>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Too long.
    #[error(transparent)]
    Long(#[from] EnvelopeError),
    /// There is no record of it, so nothing can be sealed to it.
    #[error("{0} is not known here, so there is no key to seal to; wait until it appears among the peers")]
    Unknown(PeerId),
    /// The answer could not be sealed to us.
    #[error("this domain has not published who it is, so nobody can seal an answer to it; publish an identity first")]
    NotPublished,
    /// Too much is under way here.
    #[error("too many questions are under way; try again later")]
    Busy,
    /// It could not be called, or the connection broke.
    #[error("{peer} could not be asked: {reason}")]
    Unreachable {
        /// Whom.
        peer: PeerId,
        /// What happened.
        reason: String,
    },
    /// It said why it does not answer.
    #[error("{peer} does not answer: {reason}")]
    Refused {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: &'static str,
    },
    /// It sent something that is no answer to this question.
    #[error("what {peer} sent is no answer to the question: {reason}")]
    Invalid {
        /// Who.
        peer: PeerId,
        /// What is wrong.
        reason: String,
    },
    /// The time is over. Whether the peer has heard the question is not known.
    #[error("{peer} did not answer within {within:?}")]
    Late {
        /// Who.
        peer: PeerId,
        /// The time that it had.
        within: Duration,
    },
    /// There is nobody to ask.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Who answers what.
#[derive(Clone, Default)]
pub(super) struct Answerers(Arc<Mutex<HashMap<&'static str, mpsc::Sender<Asked>>>>);

impl Answerers {
    /// Who answers questions about this, if somebody does.
    pub fn of(&self, topic: &str) -> Option<mpsc::Sender<Asked>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(topic).filter(|answerer| !answerer.is_closed()).cloned()
    }

    fn put(&self, topic: Topic, answerer: mpsc::Sender<Asked>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(topic.as_str(), answerer);
    }
}

impl Swarm {
    /// Asks `peer`, and returns its answer. Question and answer are sealed: nobody else can read them. Both domains must have
    /// published an identity.
    ///
    /// The peer may have acted on a question whose answer did not arrive, so questions are to be safe to repeat. After 60 s a
    /// question is over, whatever `within` says.
    ///
    /// # Errors
    /// Says why there is no answer.
    pub async fn ask(&self, peer: PeerId, topic: Topic, body: Bytes, within: Duration) -> Result<Bytes, AskError> {
        if body.len() > LARGEST_BODY {
            return Err(EnvelopeError::Long(body.len()).into());
        }
        let (done, answer) = oneshot::channel();
        let question = Question {
            peer,
            topic,
            body,
            done,
        };
        let asked = async {
            self.commands.send(Command::AskPeer(question)).await?;
            answer.await.map_err(|_| Stopped)?
        };
        let answered = tokio::time::timeout(within, asked).await;
        answered.unwrap_or(Err(AskError::Late { peer, within }))
    }

    /// Questions about `topic`, from now on; who asked for them before gets no more. An answer is due within 30 s.
    pub fn answer(&self, topic: Topic) -> mpsc::Receiver<Asked> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.answerers.put(topic, sender);
        receiver
    }
}

/// A question to be sent.
pub(super) struct Question {
    pub peer: PeerId,
    pub topic: Topic,
    pub body: Bytes,
    pub done: oneshot::Sender<Result<Bytes, AskError>>,
}

/// Without the body, which is a secret.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question(to {} about {})", self.peer, self.topic)
    }
}

/// Without the body, which is a secret.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asked(by {})", self.from)
    }
}
