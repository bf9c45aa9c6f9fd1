//! What is sealed.

use bytes::Bytes;
use libp2p::PeerId;
use prost::Message;
use zeroize::Zeroizing;

use super::topic::{Topic, is_name};

/// The largest body of a message, in bytes.
pub const LARGEST_BODY: usize = 64 * 1024;

/// The most bytes that everything beside the body takes.
const LARGEST_HEAD: usize = 512;
pub(super) const LARGEST_TEXT: usize = LARGEST_BODY + LARGEST_HEAD;

/// Ties an answer to its question: random, and chosen by who asks.
pub(crate) type Exchange = [u8; 32];

/// Question or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Question = 1,
    Answer = 2,
}

/// A message, with all that it must not be torn from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub direction: Direction,
    pub from: PeerId,
    pub to: PeerId,
    /// The name of a [`Topic`].
    pub topic: String,
    pub exchange: Exchange,
    pub body: Bytes,
}

/// Why a text is no envelope, or can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// More than a message can hold.
    #[error("the message has {0} bytes; at most {LARGEST_BODY} can be sent")]
    Long(usize),
    /// Not what this version writes.
    #[error("the sealed text is no message of this version")]
    Malformed,
}

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(uint32, tag = "1")]
    direction: u32,
    #[prost(bytes = "vec", tag = "2")]
    from: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    to: Vec<u8>,
    #[prost(string, tag = "4")]
    topic: String,
    #[prost(bytes = "vec", tag = "5")]
    exchange: Vec<u8>,
    #[prost(bytes = "bytes", tag = "6")]
    body: Bytes,
}

impl Envelope {
    /// # Errors
    /// [`EnvelopeError::Long`].
    pub fn question(
        from: PeerId,
        to: PeerId,
        topic: Topic,
        exchange: Exchange,
        body: Bytes,
    ) -> Result<Self, EnvelopeError> {
        Self {
            direction: Direction::Question,
            from,
            to,
            topic: topic.as_str().to_owned(),
            exchange,
            body,
        }
        .bounded()
    }

    /// The answer to this question.
    ///
    /// # Errors
    /// [`EnvelopeError::Long`].
    pub fn answer(&self, body: Bytes) -> Result<Self, EnvelopeError> {
        Self {
            direction: Direction::Answer,
            from: self.to,
            to: self.from,
            topic: self.topic.clone(),
            exchange: self.exchange,
            body,
        }
        .bounded()
    }

    /// Whether this is the answer to `question`, whatever it says.
    pub fn answers(&self, question: &Self) -> bool {
        let body = self.body.clone();
        question.answer(body).is_ok_and(|expected| expected == *self)
    }

    fn bounded(self) -> Result<Self, EnvelopeError> {
        match self.body.len() {
            length if length > LARGEST_BODY => Err(EnvelopeError::Long(length)),
            _ => Ok(self),
        }
    }

    /// What is sealed; wiped when dropped.
    pub fn to_text(&self) -> Zeroizing<Vec<u8>> {
        let text = Text {
            direction: self.direction as u32,
            from: self.from.to_bytes(),
            to: self.to.to_bytes(),
            topic: self.topic.clone(),
            exchange: self.exchange.to_vec(),
            body: self.body.clone(),
        };
        Zeroizing::new(text.encode_to_vec())
    }

    /// # Errors
    /// For everything that [`Self::to_text`] does not write.
    pub fn from_text(text: &[u8]) -> Result<Self, EnvelopeError> {
        if text.len() > LARGEST_TEXT {
            return Err(EnvelopeError::Long(text.len()));
        }
        Self::read(text).ok_or(EnvelopeError::Malformed)?.bounded()
    }

    fn read(text: &[u8]) -> Option<Self> {
        let text = Text::decode(text).ok()?;
        let direction = match text.direction {
            1 => Direction::Question,
            2 => Direction::Answer,
            _ => return None,
        };
        if !is_name(text.topic.as_bytes()) {
            return None;
        }
        Some(Self {
            direction,
            from: PeerId::from_bytes(&text.from).ok()?,
            to: PeerId::from_bytes(&text.to).ok()?,
            topic: text.topic,
            exchange: text.exchange.try_into().ok()?,
            body: text.body,
        })
    }
}

/// Without the body, which is a secret.
impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            direction,
            from,
            to,
            topic,
            body,
            ..
        } = self;
        write!(
            f,
            "Envelope({direction:?} from {from} to {to} about {topic}, {} bytes)",
            body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const TOPIC: Topic = Topic::new("test/1");

    fn question(body: Vec<u8>) -> Result<Envelope, EnvelopeError> {
        Envelope::question(PeerId::random(), PeerId::random(), TOPIC, [7; 32], body.into())
    }

    #[test]
    fn the_largest_body_fits_and_one_byte_more_does_not() {
        let largest = question(vec![7; LARGEST_BODY]).unwrap();
        assert!(largest.to_text().len() <= LARGEST_TEXT);
        assert_eq!(Envelope::from_text(&largest.to_text()).unwrap(), largest);
        let error = question(vec![7; LARGEST_BODY + 1]).unwrap_err();
        assert_eq!(error, EnvelopeError::Long(LARGEST_BODY + 1));
        let answer = largest.answer(vec![7; LARGEST_BODY + 1].into());
        assert_eq!(answer.unwrap_err(), error);
    }

    #[test]
    fn an_answer_is_one_to_its_own_question_only() {
        let (one, other) = (question(b"a".to_vec()).unwrap(), question(b"a".to_vec()).unwrap());
        let answer = one.answer(Bytes::from_static(b"b")).unwrap();
        assert!(answer.answers(&one));
        assert!(!answer.answers(&other), "between other domains");
        assert!(!one.answers(&one), "a question is no answer");
        let mut later = one.clone();
        later.exchange = [8; 32];
        assert!(!answer.answers(&later), "of another exchange");
        let mut elsewhere = one;
        elsewhere.topic = "test/2".into();
        assert!(!answer.answers(&elsewhere), "about something else");
    }

    #[test]
    fn debug_output_has_nothing_of_the_body() {
        let text = format!("{:?}", question(b"secret".to_vec()).unwrap());
        assert!(!text.contains("secret") && !text.contains("115, 101"), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(topic in "[a-z0-9/.-]{1,64}", body in prop::collection::vec(any::<u8>(), 0..300), exchange: [u8; 32], answer: bool) {
            let mut envelope = question(body).unwrap();
            (envelope.topic, envelope.exchange) = (topic, exchange);
            if answer {
                envelope.direction = Direction::Answer;
            }
            prop_assert_eq!(Envelope::from_text(&envelope.to_text()).unwrap(), envelope);
        }

        #[test]
        fn any_bytes_are_an_envelope_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Envelope::from_text(&bytes);
        }

        #[test]
        fn one_changed_byte_is_read_as_something_else_or_refused(at in any::<prop::sample::Index>(), change in 1..=255_u8) {
            let envelope = question(b"do it".to_vec()).unwrap();
            let mut text = envelope.to_text().to_vec();
            let at = at.index(text.len());
            text[at] ^= change;
            if let Ok(read) = Envelope::from_text(&text) {
                prop_assert_ne!(read, envelope);
            }
        }

        #[test]
        fn topics_that_no_program_can_have_are_refused(topic in "\\PC{0,80}") {
            let mut envelope = question(Vec::new()).unwrap();
            envelope.topic = topic.clone();
            prop_assert_eq!(Envelope::from_text(&envelope.to_text()).is_ok(), is_name(topic.as_bytes()));
        }
    }
}
