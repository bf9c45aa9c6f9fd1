//! Loopback addresses for servers that must know each other's ports before any of them starts, as the validators of a
//! league on one machine do.
//!
//! Between the choice of a port and the start of its server somebody else may take it. Three things keep that from
//! happening:
//! - ports lie below the range from which Linux takes those of outgoing connections (32768 and up by default,
//!   `ip_local_port_range`);
//! - a process never gives a port twice;
//! - processes that were started one after the other, and so have neighbouring numbers, begin far apart.
//!
//! A port that somebody listens on is passed over.
//!
//! Development clusters need whole networks of loopback addresses; see [`free_network`].

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// First port that is given.
const FIRST: u32 = 12_000;
/// How many ports there are to give.
const COUNT: u32 = 20_000;
/// How far apart two processes with neighbouring numbers begin: more than a league needs.
const STRIDE: u32 = 128;

/// Every port of the range is in use.
#[derive(Debug, thiserror::Error)]
#[error("there is no free loopback port between {FIRST} and {}; stop what uses them", FIRST + COUNT)]
pub struct NoFreePort;

/// An address on 127.0.0.1 that nobody listens on, by TCP or UDP, and that this process was not given before.
///
/// # Errors
/// [`NoFreePort`] when a whole round through the range found none.
pub fn free_address() -> Result<SocketAddr, NoFreePort> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(STRIDE);
    for _ in 0..COUNT {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed);
        let offset = start.wrapping_add(step) % COUNT;
        let port = u16::try_from(FIRST + offset).map_err(|_| NoFreePort)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(NoFreePort)
}

/// Second numbers of the networks that are given. The development cluster's own defaults lie below, those of its test suite
/// between the two.
const SECOND: [std::ops::RangeInclusive<u8>; 2] = [23..=99, 200..=250];

/// The first address of 256 loopback addresses, 127.x.y.0 to 127.x.y.255, that this process was not given before. A process
/// begins anywhere among 32,768 such networks and takes one after the other: nothing tells which of them the clusters of other
/// processes have, and so those of two leagues hardly ever meet.
pub fn free_network() -> Ipv4Addr {
    static FIRST: OnceLock<u64> = OnceLock::new();
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let first = *FIRST.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    network(first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed).into()))
}

fn network(number: u64) -> Ipv4Addr {
    let [third, second, ..] = number.to_le_bytes();
    let mut seconds = SECOND.into_iter().flatten();
    let count = seconds.clone().count();
    let second = seconds.nth(usize::from(second) % count).unwrap_or(*SECOND[0].start());
    Ipv4Addr::new(127, second, third, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_address_is_given_twice_and_none_that_is_in_use() {
        let busy = TcpListener::bind(free_address().unwrap())
            .unwrap()
            .local_addr()
            .unwrap();
        let held = TcpListener::bind(busy).unwrap();
        let given: HashSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..50).map(|_| free_address().unwrap()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(given.len(), 200);
        assert!(!given.contains(&held.local_addr().unwrap()));
    }

    #[test]
    fn no_network_is_given_twice_and_neighbours_follow_each_other() {
        let given: Vec<Ipv4Addr> = (0..300).map(|_| free_network()).collect();
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), 300);
        let all: HashSet<Ipv4Addr> = (0..1 << 16).map(network).collect();
        assert_eq!(all.len(), 32_768);
        assert!(all.iter().all(|network| {
            let [loopback, second, _, last] = network.octets();
            (loopback, last) == (127, 0) && SECOND.iter().any(|range| range.contains(&second))
        }));
    }
}
