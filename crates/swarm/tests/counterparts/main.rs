//! Stock members in our swarm: js-libp2p 3 and kubo 0.22 (go-libp2p), programs of others that know nothing of Hanse.
//!
//! Each test runs in a network namespace of its own (`hanse_sandbox`), on an address that is no loopback address: kubo leaves
//! those out of what it tells others. `cargo xtask tools` installs the counterparts.
//!
//! What there is no common protocol for is not tested: stock members fetch blobs by Bitswap, which agents do not speak, so of
//! blobs the identifiers and the lists of holders are compared.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod agent;
mod blobs;
mod holders;
mod membership;
mod records;
mod relayed;
mod stock;
