//! Domains that nobody can call: how a domain finds out that it is one, who carries its circuits, and within which bounds.
//! Decisions only; time is an argument.
//!
//! The protocol is libp2p's circuit relay, version 2: a domain *reserves* a place at a relay, and whoever wants to talk to it has
//! the relay connect both (a *circuit*). Inside of the circuit the two ends run everything that they run on a TCP connection: the
//! handshake of the swarm's key, noise and yamux. So the relay reads nothing, and whoever has not the key gets in nowhere.

mod config;
mod links;
mod reservations;

pub use config::{RelayConfig, RelayLimits, RelayUse};
pub(crate) use links::Links;
pub use links::{Reachability, Route};
pub(crate) use reservations::{Candidate, Reservations};
