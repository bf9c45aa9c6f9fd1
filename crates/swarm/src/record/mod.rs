//! Identity records: IPNS records under a domain's peer id.
//!
//! The format is that of the IPNS specification (specs.ipfs.tech/ipns/ipns-record): a protobuf message whose field `data` is a
//! DAG-CBOR document with the value, the end of life, the sequence number and a caching hint, signed with the key whose
//! public half is the name. Records are written with signatures of version 1 and 2, so that old members keep them too;
//! read are those with version 1 and 2 or with version 2 alone, and of the signatures version 2 counts.

mod announcement;
mod error;
mod ipns;
mod publish;
mod wire;

#[cfg(test)]
mod tests;

pub use announcement::{Announcement, AnnouncementError, LONGEST_LIFETIME};
pub use error::RecordError;
pub use ipns::{IpnsRecord, name_of_routing_key, routing_key};
pub use publish::{Own, Schedule, Step};
pub use wire::LARGEST;
