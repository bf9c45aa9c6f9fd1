//! Address ranges of the loopback network and what has been handed out of them.
//!
//! On Linux all of 127.0.0.0/8 answers on the loopback interface without any set-up, so a pod, a
//! cluster address and a load-balancer address can each be an address of their own on one machine.
//! A range outside of it is refused: nothing of the development cluster may reach a real network.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

/// A block of loopback addresses in CIDR notation (RFC 4632), e.g. `127.20.1.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    network: Ipv4Addr,
    prefix: u8,
}

/// Why a text is not an address range of the development cluster.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RangeError {
    /// Not `ADDRESS/PREFIX`.
    #[error("\"{0}\" is not an IPv4 range; write it like 127.20.1.0/24")]
    Syntax(String),
    /// Outside of 127.0.0.0/8, or too wide to lie inside of it.
    #[error("{0} is not inside of 127.0.0.0/8; the development cluster only uses loopback addresses")]
    NotLoopback(String),
    /// Fewer than four addresses.
    #[error("{0} is too small; the prefix must be at most /30")]
    TooSmall(String),
}

impl AddressRange {
    /// The addresses that may be handed out: all but the first (network) and the last (broadcast).
    pub(crate) fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let first = u32::from(self.network);
        let size = 1u32 << (32 - u32::from(self.prefix));
        (first + 1..first + size - 1).map(Ipv4Addr::from)
    }

    /// Whether `address` may be handed out of this range.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let size = 1u32 << (32 - u32::from(self.prefix));
        let first = u32::from(self.network);
        let address = u32::from(address);
        address > first && address < first + size - 1
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let syntax = || RangeError::Syntax(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv4Addr = address.parse().map_err(|_| syntax())?;
        let prefix: u8 = prefix.parse().map_err(|_| syntax())?;
        if prefix > 32 {
            return Err(syntax());
        }
        if !address.is_loopback() || prefix < 8 {
            return Err(RangeError::NotLoopback(text.to_owned()));
        }
        if prefix > 30 {
            return Err(RangeError::TooSmall(text.to_owned()));
        }
        let mask = u32::MAX << (32 - u32::from(prefix));
        Ok(Self {
            network: Ipv4Addr::from(u32::from(address) & mask),
            prefix,
        })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// The addresses of one range and which of them are in use.
///
/// Addresses are handed out in turn and not lowest first, so that an address which has just been
/// given back (and may still be known to a client) is used again as late as possible.
#[derive(Debug)]
pub(crate) struct AddressPool {
    range: AddressRange,
    used: BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
}

impl AddressPool {
    pub(crate) fn new(range: AddressRange) -> Self {
        Self {
            range,
            used: BTreeSet::new(),
            last: None,
        }
    }

    /// A free address, or `None` when the range is exhausted.
    pub(crate) fn allocate(&mut self) -> Option<Ipv4Addr> {
        let free = |address: &Ipv4Addr| !self.used.contains(address);
        let after = self
            .range
            .hosts()
            .filter(|address| Some(*address) > self.last)
            .find(free);
        let address = after.or_else(|| self.range.hosts().find(free))?;
        self.used.insert(address);
        self.last = Some(address);
        Some(address)
    }

    /// Notes that `address` is in use (it was found in the store, or asked for by name).
    /// Returns whether it belongs to this range and was free.
    pub(crate) fn claim(&mut self, address: Ipv4Addr) -> bool {
        self.range.contains(address) && self.used.insert(address)
    }

    /// Gives an address back. Addresses of other ranges are ignored.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }

    pub(crate) fn range(&self) -> AddressRange {
        self.range
    }
}

/// The IPv4 loopback address written in `text`, if it is one.
pub(crate) fn loopback(text: &str) -> Option<Ipv4Addr> {
    match text.parse().ok()? {
        IpAddr::V4(address) if address.is_loopback() => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_range_outside_of_loopback_is_refused_with_the_reason() {
        for text in ["10.0.0.0/8", "127.0.0.0/7", "192.168.0.0/24"] {
            assert_eq!(
                text.parse::<AddressRange>(),
                Err(RangeError::NotLoopback(text.to_owned()))
            );
        }
        for text in ["127.0.0.0", "127.0.0/8", "127.0.0.0/33", "127.0.0.0/x", ""] {
            assert_eq!(text.parse::<AddressRange>(), Err(RangeError::Syntax(text.to_owned())));
        }
        assert!(matches!(
            "127.0.0.0/31".parse::<AddressRange>(),
            Err(RangeError::TooSmall(_))
        ));
    }

    #[test]
    fn every_address_is_handed_out_once_and_a_returned_one_comes_last() {
        let mut pool = AddressPool::new("127.20.1.9/29".parse().unwrap());
        assert_eq!(pool.range().to_string(), "127.20.1.8/29");
        let first = pool.allocate().unwrap();
        let second = pool.allocate().unwrap();
        pool.release(first);
        let mut seen = vec![second];
        while let Some(address) = pool.allocate() {
            assert!(!seen.contains(&address));
            assert!(pool.range().contains(address));
            seen.push(address);
        }
        assert_eq!(seen.len(), 6);
        assert_eq!(
            seen.last(),
            Some(&first),
            "the address that was given back is used last"
        );
        assert!(!pool.claim(first), "in use");
        assert!(
            !pool.claim(Ipv4Addr::new(127, 20, 1, 8)),
            "the network address is nobody's"
        );
    }
}
