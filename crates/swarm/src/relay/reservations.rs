//! At which relays a domain has itself called.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::transport::ListenerId;
use sha2::{Digest, Sha256};

use crate::model::{SwarmAddress, UnixMillis};

/// At how many relays a domain can be called: one may go.
const RELAYS: usize = 2;
/// A relay must have answered within this time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
/// A relay that refused or went is asked again after this long, then twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// But at least so often.
const LAST_PAUSE: Duration = Duration::from_secs(300);
/// Of how many relays it is remembered that they refused. More are not connected at a time.
const MOST_REFUSALS: usize = 1024;

/// A member that could relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub relay: PeerId,
    /// Where it can be called.
    pub address: SwarmAddress,
    /// The owner named it: a bootstrap member.
    pub preferred: bool,
}

#[derive(Debug)]
struct Reservation {
    candidate: Candidate,
    asked_at: UnixMillis,
    held: bool,
}

#[derive(Debug)]
struct Refusal {
    until: UnixMillis,
    pause: Duration,
}

/// Which relays were asked, and which have answered.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    asked: HashMap<ListenerId, Reservation>,
    refused: HashMap<PeerId, Refusal>,
}

/// Domains that choose among the same relays choose different ones.
fn rank(own: &PeerId, relay: &PeerId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(own.to_bytes());
    hash.update(relay.to_bytes());
    hash.finalize().into()
}

impl Reservations {
    /// Whom to ask now, so that there are two: one that the owner named, if there is any, and others.
    pub fn due(&self, own: &PeerId, mut candidates: Vec<Candidate>, now: UnixMillis) -> Vec<Candidate> {
        let pausing = |relay: &PeerId| {
            let refusal = self.refused.get(relay);
            refusal.is_some_and(|refusal| now < refusal.until && refusal.until <= now.plus(LAST_PAUSE))
        };
        candidates.retain(|it| !pausing(&it.relay) && !self.asks(&it.relay));
        candidates.sort_by_cached_key(|it| rank(own, &it.relay));
        let mut has_preferred = self.asked.values().any(|reservation| reservation.candidate.preferred);
        let mut due = Vec::new();
        while self.asked.len() + due.len() < RELAYS && !candidates.is_empty() {
            let wanted = candidates.iter().position(|it| it.preferred != has_preferred);
            let chosen = candidates.remove(wanted.unwrap_or(0));
            has_preferred |= chosen.preferred;
            due.push(chosen);
        }
        due
    }

    fn asks(&self, relay: &PeerId) -> bool {
        self.asked.values().any(|it| it.candidate.relay == *relay)
    }

    /// It is being asked.
    pub fn asked(&mut self, listener: ListenerId, candidate: Candidate, now: UnixMillis) {
        let reservation = Reservation {
            candidate,
            asked_at: now,
            held: false,
        };
        self.asked.insert(listener, reservation);
    }

    /// It carries calls from now on. The relay, if that is news.
    pub fn accepted(&mut self, listener: ListenerId) -> Option<PeerId> {
        let reservation = self.asked.get_mut(&listener).filter(|it| !it.held)?;
        reservation.held = true;
        self.refused.remove(&reservation.candidate.relay);
        Some(reservation.candidate.relay)
    }

    /// It refused, or is gone.
    pub fn ended(&mut self, listener: ListenerId, now: UnixMillis) -> Option<Candidate> {
        let reservation = self.asked.remove(&listener)?;
        self.refuse(reservation.candidate.relay, now);
        Some(reservation.candidate)
    }

    fn refuse(&mut self, relay: PeerId, now: UnixMillis) {
        if self.refused.len() >= MOST_REFUSALS {
            self.refused.retain(|_, refusal| refusal.until > now);
        }
        if self.refused.len() >= MOST_REFUSALS {
            self.refused.clear();
        }
        let before = self.refused.get(&relay).map(|refusal| refusal.pause);
        let pause = before.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LAST_PAUSE));
        let until = now.plus(pause);
        self.refused.insert(relay, Refusal { until, pause });
    }

    /// Those that have not answered in time.
    pub fn late(&self, now: UnixMillis) -> Vec<ListenerId> {
        let late = |it: &Reservation| !it.held && (it.asked_at > now || now.since(it.asked_at) >= ANSWERS_WITHIN);
        let late = self.asked.iter().filter(|(_, it)| late(it));
        late.map(|(listener, _)| *listener).collect()
    }

    /// All are given up.
    pub fn give_up(&mut self) -> Vec<(ListenerId, Candidate)> {
        let all = self.asked.drain();
        all.map(|(listener, it)| (listener, it.candidate)).collect()
    }

    /// Where the domain can be called over relays, without its own name.
    pub fn addresses(&self) -> Vec<SwarmAddress> {
        let held = self.asked.values().filter(|it| it.held);
        let mut addresses: Vec<_> = held
            .filter_map(|it| it.candidate.address.over(it.candidate.relay).ok())
            .collect();
        addresses.sort_by_key(ToString::to_string);
        addresses
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn candidates(preferred: usize, others: usize) -> Vec<Candidate> {
        let candidate = |number: usize| Candidate {
            relay: PeerId::random(),
            address: SwarmAddress::parse(&format!("/ip4/192.0.2.1/tcp/{}", number + 1)).unwrap(),
            preferred: number < preferred,
        };
        (0..preferred + others).map(candidate).collect()
    }

    fn relays(candidates: &[Candidate]) -> HashSet<PeerId> {
        candidates.iter().map(|it| it.relay).collect()
    }

    proptest! {
        #[test]
        fn two_are_asked_one_of_them_named_by_the_owner(preferred in 0_usize..4, others in 0_usize..4) {
            let (own, all) = (PeerId::random(), candidates(preferred, others));
            let mut reservations = Reservations::default();
            let due = reservations.due(&own, all.clone(), NOW);
            prop_assert_eq!(due.len(), all.len().min(2));
            let named = due.iter().filter(|it| it.preferred).count();
            prop_assert_eq!(named, if others > 0 { preferred.min(1) } else { preferred.min(2) });
            for candidate in due {
                reservations.asked(ListenerId::next(), candidate, NOW);
            }
            prop_assert!(reservations.due(&own, all, NOW).is_empty() || preferred + others < 2);
        }
    }

    #[test]
    fn the_place_of_one_that_went_is_taken_by_another_and_it_is_asked_again_later() {
        let (own, all) = (PeerId::random(), candidates(1, 2));
        let mut reservations = Reservations::default();
        let first = reservations.due(&own, all.clone(), NOW);
        let listeners: Vec<_> = first.iter().map(|_| ListenerId::next()).collect();
        for (listener, candidate) in listeners.iter().zip(&first) {
            reservations.asked(*listener, candidate.clone(), NOW);
        }
        assert_eq!(reservations.addresses(), []);
        assert_eq!(reservations.accepted(listeners[0]), Some(first[0].relay));
        assert_eq!(reservations.accepted(listeners[0]), None, "renewals are no news");
        let shown = reservations.addresses()[0].to_string();
        assert!(
            shown.ends_with(&format!("/p2p/{}/p2p-circuit", first[0].relay)),
            "{shown}"
        );

        reservations.ended(listeners[0], NOW).unwrap();
        let second = reservations.due(&own, all.clone(), NOW);
        assert_eq!(second.len(), 1);
        assert!(!relays(&first).contains(&second[0].relay));
        assert_eq!(reservations.due(&own, vec![first[0].clone()], NOW), []);
        assert_eq!(
            reservations
                .due(&own, vec![first[0].clone()], NOW.plus(FIRST_PAUSE))
                .len(),
            1
        );

        assert_eq!(reservations.late(NOW), []);
        assert_eq!(reservations.late(NOW.plus(ANSWERS_WITHIN)), [listeners[1]]);
        assert_eq!(reservations.give_up().len(), 1);
    }

    #[test]
    fn relays_that_refuse_again_and_again_are_asked_ever_more_seldom() {
        let (own, all) = (PeerId::random(), candidates(0, 1));
        let mut reservations = Reservations::default();
        let (mut now, mut pauses) = (NOW, Vec::new());
        for _ in 0..10 {
            let asked_at = now;
            reservations.asked(ListenerId::next(), all[0].clone(), now);
            let listener = *reservations.asked.keys().next().unwrap();
            reservations.ended(listener, now).unwrap();
            while reservations.due(&own, all.clone(), now).is_empty() {
                now = now.plus(Duration::from_secs(1));
            }
            pauses.push(now.since(asked_at));
        }
        assert_eq!(pauses[..3], [5, 10, 20].map(Duration::from_secs));
        assert_eq!(*pauses.last().unwrap(), LAST_PAUSE);
    }

    /// Not all domains behind gateways sit on the same relay.
    #[test]
    fn domains_spread_over_the_relays() {
        let all = candidates(0, 5);
        let mut reservations = HashSet::new();
        for _ in 0..200 {
            let due = Reservations::default().due(&PeerId::random(), all.clone(), NOW);
            reservations.extend(relays(&due));
        }
        assert_eq!(reservations, relays(&all));
    }
}
