//! What a member says to its neighbours and makes of what they say, without network and clock.
//!
//! * **Tell.** Who hears something new tells its [neighbours](crate::neighbours) at once; who hears what it knows says nothing. So
//!   a record costs each member a fixed number of messages, and is with all after a number of hops that grows with the logarithm
//!   of the swarm.
//! * **Compare.** Now and then, and whenever a connection is made, members compare digests of all that they know and hand over
//!   what differs. So who was away, or on the other side of a split, or did not get a message, learns what it missed. Much at
//!   a time is not told on: neighbours compare instead, and fetch what they lack.
//! * **Look.** Whether a domain is there each member sees for itself: nobody's word counts. But a word makes one look: a
//!   first record, and a neighbour's saying that it saw a domain go or come back. Only who saw it himself says it on. Looks at one
//!   domain are spread over a time that grows with the swarm, so that they are no flood.

mod known;
mod looks;
mod member;
mod rumours;

#[cfg(test)]
mod tests;

pub(crate) use known::MOST_DIGEST_BYTES;
pub(crate) use member::{Effect, Member};
