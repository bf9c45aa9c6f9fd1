//! Sealed messages: the protocol `/hanse/messages/1`.
//!
//! The question brings the asker's own signed record, in which stands what the answer is to be sealed to: who is asked need not
//! have heard of the asker before. The answer is a box, or a number that says why there is none.

use std::io;

use prost::Message;

use super::wire::{Wire, invalid};
use crate::message::LARGEST_BOX;
use crate::record::LARGEST;

pub(super) const PROTOCOL: &str = "/hanse/messages/1";

/// A sealed question. Nothing was checked yet.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SealedQuestion {
    /// The asker's record.
    #[prost(bytes = "vec", tag = "1")]
    pub record: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub sealed: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Refusal {
    /// A reason of a later version.
    Other = 0,
    /// Too many questions at a time.
    Busy = 1,
    /// The question's record is not a valid one of the asker.
    Record = 2,
    /// The box can't be opened, or says something else than where it came from.
    NotForUs = 3,
    /// Nobody there answers such questions.
    Topic = 4,
    /// Who answers such questions did not answer this one.
    Declined = 5,
}

/// The answer. Nothing was checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SealedAnswer {
    Sealed(Vec<u8>),
    Refused(Refusal),
}

#[derive(Clone, PartialEq, Message)]
struct AnswerText {
    #[prost(bytes = "vec", optional, tag = "1")]
    sealed: Option<Vec<u8>>,
    #[prost(enumeration = "Refusal", tag = "2")]
    refusal: i32,
}

impl Wire for SealedQuestion {
    const MOST: usize = LARGEST + LARGEST_BOX + 16;

    fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        let question = Self::decode(bytes.as_slice()).map_err(invalid)?;
        if question.record.len() > LARGEST || question.sealed.len() > LARGEST_BOX {
            return Err(invalid("the message is too long"));
        }
        Ok(question)
    }
}

impl Wire for SealedAnswer {
    const MOST: usize = LARGEST_BOX + 16;

    fn to_bytes(&self) -> Vec<u8> {
        let text = match self.clone() {
            Self::Sealed(sealed) => AnswerText {
                sealed: Some(sealed),
                refusal: 0,
            },
            Self::Refused(refusal) => AnswerText {
                sealed: None,
                refusal: refusal.into(),
            },
        };
        text.encode_to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        let text = AnswerText::decode(bytes.as_slice()).map_err(invalid)?;
        let refusal = text.refusal();
        match text.sealed {
            Some(sealed) => Ok(Self::Sealed(sealed)),
            // A stream that was closed without an answer.
            None if text.refusal == 0 => Err(invalid("this is no answer of /hanse/messages/1")),
            None => Ok(Self::Refused(refusal)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_messages_fit() {
        let question = SealedQuestion {
            record: vec![7; LARGEST],
            sealed: vec![7; LARGEST_BOX],
        };
        assert!(question.to_bytes().len() <= SealedQuestion::MOST);
        assert_eq!(SealedQuestion::from_bytes(question.to_bytes()).unwrap(), question);
        let too_long = SealedQuestion {
            record: Vec::new(),
            sealed: vec![7; LARGEST_BOX + 1],
        };
        assert!(SealedQuestion::from_bytes(too_long.to_bytes()).is_err());
        let answer = SealedAnswer::Sealed(vec![7; LARGEST_BOX]);
        assert!(answer.to_bytes().len() <= SealedAnswer::MOST);
        assert_eq!(SealedAnswer::from_bytes(answer.to_bytes()).unwrap(), answer);
    }

    #[test]
    fn refusals_are_read_and_those_of_later_versions_too() {
        for refusal in [
            Refusal::Busy,
            Refusal::Record,
            Refusal::NotForUs,
            Refusal::Topic,
            Refusal::Declined,
        ] {
            let answer = SealedAnswer::Refused(refusal);
            assert_eq!(SealedAnswer::from_bytes(answer.to_bytes()).unwrap(), answer);
        }
        let later = AnswerText {
            sealed: None,
            refusal: 99,
        };
        let read = SealedAnswer::from_bytes(later.encode_to_vec()).unwrap();
        assert_eq!(read, SealedAnswer::Refused(Refusal::Other));
        assert!(SealedAnswer::from_bytes(Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SealedQuestion::from_bytes(bytes.clone());
            let _ = SealedAnswer::from_bytes(bytes);
        }
    }
}
