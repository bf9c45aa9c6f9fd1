//! Members in the same local network, found by multicast DNS (RFC 6762) as libp2p's specification of peer discovery says, which
//! stock members speak too. Decisions and packets only; the socket is elsewhere.
//!
//! Whoever is in the network hears who listens where, and can say anything. So a packet counts for no other address than the one it
//! came from, and whoever is found is called as a bootstrap member is: the swarm's key decides who gets in.

mod members;
mod packets;

pub(crate) use members::Members;
pub(crate) use packets::{Heard, answer, question, read};
