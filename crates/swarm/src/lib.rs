//! A private libp2p network on which domains find each other, and on which bytes travel by their content hash.
//!
//! # The protocol in words
//! * **One swarm, one key.** Whoever has the [`SwarmKey`] (the `swarm.key` of IPFS) can connect; the key encrypts every byte
//!   of every connection before anything else is said (`libp2p-pnet` below noise and yamux). Having the key proves nothing
//!   else: what members say is hostile until it is checked.
//! * **One domain, one name.** A domain is known by the peer id of its Ed25519 key ([`DomainKey`]), which is derived from the
//!   domain's seed and so is the same after a restart, on another machine and with an empty data folder.
//! * **What a domain says of itself is an IPNS record** ([`record`]) under that name: signed, numbered, and with an end. The
//!   distributed hash table keeps it at members that need not be Hanse agents, so that it is there when its author is not.
//!   Nothing is taken up before its size, name, signature, end and number were checked, whoever brought it. A domain
//!   that goes for good says so with a record of the same kind ([`model::Statement::Withdrawn`]).
//! * **Who is there** is the [`peers`] table: a domain appears with its first valid record, changes with a newer one, is
//!   offline when it can't be reached, and is removed after a number of missed looks, or at once when it withdraws.
//! * **What is new is told** ([`neighbours`]) to a few, who tell it on; what is missed is found by comparing digests. A record costs
//!   each member a fixed number of messages, however large the swarm is.
//! * **Who can't be called** ([`relay`]) reserves a place at two members that can, and publishes that. The swarm's key and noise run
//!   inside of each circuit, between its two ends; where it is possible a direct connection takes its place (DCUtR).
//! * **Blobs** ([`blob`]) have a CID of version 1. They travel in blocks of at most a mebibyte, from any number of holders; each
//!   block is checked against its hash before it is kept, a fetch goes on where it stopped, and who sent a wrong block is
//!   asked for nothing more.
//! * **Messages** ([`message`]) from one domain to another are sealed to the key in the other's record: [`Swarm::ask`] and
//!   [`Swarm::answer`].
//!
//! # What the caller must do
//! Give the key, the domain's key and a folder; not share the folder with a second agent; and treat what comes out of a record
//! as words of that peer, not as facts.
//!
//! # Rooms
//! [`model`]: types that can't be wrong. [`record`], [`peers`], [`blob`], [`message`], [`relay`], `lan`: pure decisions; time is an argument. `store`: what
//! survives. `gossip`: what a member says to its neighbours and makes of what they say. [`simulation`]: thousands of members in
//! simulated time, for measurements and tests. `network`: what runs on a connection. [`service`]: the task that owns the network, the only room that knows
//! all others and the clock.

pub mod blob;
mod config;
mod domain_key;
#[cfg(test)]
mod fuzzing_tests;
mod gossip;
mod key;
mod lan;
pub mod message;
pub mod model;
pub mod neighbours;
mod network;
pub mod peers;
pub mod record;
pub mod relay;
pub mod service;
pub mod simulation;
mod store;

pub use config::SwarmConfig;
pub use domain_key::DomainKey;
pub use key::{Fingerprint, SwarmKey, SwarmKeyError};
pub use libp2p::PeerId;
pub use message::{SealingSecret, Topic};
pub use service::{Swarm, remembered};
pub use store::StoreError;
