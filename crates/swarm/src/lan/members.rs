//! Who was heard in the local network, and when to call whom.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;

use crate::model::{MOST_ADDRESSES, SwarmAddress, UnixMillis};

/// How many are remembered. In a network with more, those that are met lead to the others.
const MOST: usize = 64;
/// Who was not heard for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(120);
/// How many are called at a time.
const CALLS: usize = 8;
/// Who does not let this domain in is called again after this long, then twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// But at least so often: it may have another key tomorrow.
const LAST_RETRY: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Member {
    addresses: Vec<SwarmAddress>,
    heard_at: UnixMillis,
    call_at: UnixMillis,
    pause: Duration,
}

/// All that were heard.
#[derive(Debug, Default)]
pub(crate) struct Members(HashMap<PeerId, Member>);

impl Members {
    /// Somebody said where it is.
    pub fn heard(&mut self, own: &PeerId, addresses: Vec<SwarmAddress>, now: UnixMillis) {
        self.0
            .retain(|_, member| member.heard_at <= now && now.since(member.heard_at) < FORGOTTEN);
        for address in addresses {
            let Ok(name) = address.peer() else { continue };
            if name == *own || (!self.0.contains_key(&name) && self.0.len() >= MOST) {
                continue;
            }
            let member = self.0.entry(name).or_insert_with(|| Member {
                addresses: Vec::new(),
                heard_at: now,
                call_at: now,
                pause: FIRST_RETRY,
            });
            member.heard_at = now;
            if !member.addresses.contains(&address) {
                // The last that were heard are those that count.
                if member.addresses.len() >= MOST_ADDRESSES {
                    member.addresses.remove(0);
                }
                member.addresses.push(address);
            }
        }
    }

    /// Whom to call now.
    pub fn due(&mut self, now: UnixMillis, connected: impl Fn(&PeerId) -> bool) -> Vec<(PeerId, Vec<SwarmAddress>)> {
        let mut calls = Vec::new();
        for (name, member) in &mut self.0 {
            if connected(name) {
                (member.pause, member.call_at) = (FIRST_RETRY, now);
                continue;
            }
            let clock_went_back = member.call_at > now.plus(LAST_RETRY);
            if calls.len() < CALLS && (member.call_at <= now || clock_went_back) {
                member.call_at = now.plus(member.pause);
                member.pause = (member.pause * 2).min(LAST_RETRY);
                calls.push((*name, member.addresses.clone()));
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn address(name: &PeerId, port: usize) -> SwarmAddress {
        SwarmAddress::parse(&format!("/ip4/192.168.1.7/tcp/{}/p2p/{name}", port + 1)).unwrap()
    }

    #[test]
    fn a_flood_of_names_fills_no_more_than_its_places_and_is_called_slowly() {
        let (own, mut members) = (PeerId::random(), Members::default());
        members.heard(&own, vec![address(&own, 1)], NOW);
        assert!(members.due(NOW, |_| false).is_empty(), "it does not call itself");
        for port in 0..10 * MOST {
            members.heard(&own, vec![address(&PeerId::random(), port)], NOW);
        }
        assert_eq!(members.0.len(), MOST);
        assert_eq!(members.due(NOW, |_| false).len(), CALLS);
        let honest = PeerId::random();
        let later = NOW.plus(FORGOTTEN);
        members.heard(&own, vec![address(&honest, 1)], later);
        assert_eq!(members.due(later, |_| false)[0].0, honest);
    }

    #[test]
    fn who_lets_nobody_in_is_called_ever_more_seldom_and_who_is_connected_is_not_called() {
        let (own, name, mut members) = (PeerId::random(), PeerId::random(), Members::default());
        let mut calls = 0;
        for second in 0..600 {
            let now = NOW.plus(Duration::from_secs(second));
            members.heard(&own, (0..20).map(|port| address(&name, port)).collect(), now);
            calls += members.due(now, |_| false).len();
        }
        assert!((10..20).contains(&calls), "{calls} calls in ten minutes");
        assert_eq!(members.0[&name].addresses.len(), MOST_ADDRESSES);
        let now = NOW.plus(Duration::from_secs(600));
        assert!(members.due(now, |_| true).is_empty());
        assert_eq!(members.due(now, |_| false).len(), 1, "it went, and is called at once");
    }
}
