//! Announcements from neighbour to neighbour: the protocol `/hanse/records/1`.
//!
//! The distributed hash table keeps records for whoever asks by name. So that nobody has to know names or to ask again and
//! again, members tell each other what is new at once, and compare what they have now and then.

use std::io;

use libp2p::PeerId;
use prost::Message;

use super::wire::{Wire, invalid};
use crate::gossip::MOST_DIGEST_BYTES;
use crate::record::LARGEST;

pub(super) const PROTOCOL: &str = "/hanse/records/1";

/// How many records one message holds.
pub(crate) const MOST_ENTRIES: usize = 32;

/// How many names one message holds that are to be looked at.
const MOST_LOOKS: usize = 32;

const MOST_BYTES: usize = MOST_ENTRIES * (LARGEST + 64) + MOST_DIGEST_BYTES + MOST_LOOKS * 64 + 256;

/// A record and whose it is said to be. Nothing was checked yet.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub record: Vec<u8>,
}

impl Entry {
    pub fn new(name: &PeerId, record: &[u8]) -> Self {
        Self {
            name: name.to_bytes(),
            record: record.to_vec(),
        }
    }

    pub fn name(&self) -> Option<PeerId> {
        PeerId::from_bytes(&self.name).ok()
    }
}

/// Tells records, and perhaps asks for others.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RecordsQuestion {
    /// What is told.
    #[prost(message, repeated, tag = "1")]
    pub told: Vec<Entry>,
    /// Asks for the records of the names after this one; empty for all; absent if nothing is asked.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub after: Option<Vec<u8>>,
    /// Digests of all that the asker has, in parts by name. Of parts in which one has the same one need not answer with records.
    #[prost(bytes = "vec", tag = "3")]
    pub digest: Vec<u8>,
    /// Names of domains that the asker saw go or come back: perhaps others want to look.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub look: Vec<Vec<u8>>,
    /// Because the other asked: it need not ask back.
    #[prost(bool, tag = "5")]
    pub back: bool,
}

/// The answer.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RecordsAnswer {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
    /// There are more after the last of these.
    #[prost(bool, tag = "2")]
    pub more: bool,
}

fn decode<M: Message + Default>(bytes: &[u8], entries: impl Fn(&M) -> usize) -> io::Result<M> {
    let message = M::decode(bytes).map_err(invalid)?;
    match entries(&message) {
        0..=MOST_ENTRIES => Ok(message),
        _ => Err(invalid("the message has too many records")),
    }
}

impl Wire for RecordsQuestion {
    const MOST: usize = MOST_BYTES;

    fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        let message = decode(&bytes, |message: &Self| message.told.len())?;
        if message.look.len() > MOST_LOOKS || message.digest.len() > MOST_DIGEST_BYTES {
            return Err(invalid("the message has too many names or digests"));
        }
        Ok(message)
    }
}

impl Wire for RecordsAnswer {
    const MOST: usize = MOST_BYTES;

    fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn from_bytes(bytes: Vec<u8>) -> io::Result<Self> {
        decode(&bytes, |message: &Self| message.entries.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_message_fits_and_one_record_more_does_not() {
        let entry = Entry::new(&PeerId::random(), &[7; LARGEST]);
        let mut answer = RecordsAnswer {
            entries: vec![entry.clone(); MOST_ENTRIES],
            more: true,
        };
        let bytes = answer.to_bytes();
        assert!(bytes.len() <= RecordsAnswer::MOST);
        assert_eq!(RecordsAnswer::from_bytes(bytes).unwrap(), answer);
        answer.entries.push(entry);
        assert!(RecordsAnswer::from_bytes(answer.to_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RecordsQuestion::from_bytes(bytes.clone());
            if let Ok(answer) = RecordsAnswer::from_bytes(bytes) {
                for entry in &answer.entries {
                    let _ = entry.name();
                }
            }
        }
    }
}
