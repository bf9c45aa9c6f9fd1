//! Which parcel goes over which link, and what happens to it when the link breaks: the decisions of
//! [`courier`](crate::courier) without any I/O.
//!
//! # Promise
//! A parcel is waiting, on exactly one link, or done. A link that closes gives back what it had not answered, to the
//! front of the queue in the order it was offered. Parcels are only given up by [`Dispatch::offer`] when the queue is
//! full, oldest first, and are handed to the caller, who counts them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::model::FrameId;

/// One connection: the slot that opened it and a number that grows with each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId {
    /// Index of the slot.
    pub slot: usize,
    /// Attempt of that slot.
    pub attempt: u64,
}

#[derive(Debug)]
struct Entry<T> {
    /// Order of offering; restores order after a return.
    order: u64,
    id: FrameId,
    parcel: T,
}

#[derive(Debug)]
struct Link<T> {
    destination: usize,
    window: usize,
    /// Takes nothing more, but what it has may still be answered.
    retiring: bool,
    in_flight: Vec<(Instant, Entry<T>)>,
    last_served: u64,
}

/// Parcels of type `T` waiting and on their way.
#[derive(Debug)]
pub struct Dispatch<T> {
    capacity: usize,
    waiting: VecDeque<Entry<T>>,
    links: BTreeMap<LinkId, Link<T>>,
    offered: u64,
    served: u64,
}

impl<T: Clone> Dispatch<T> {
    /// Nothing waiting, no links; at most `capacity` parcels will wait (those given back by broken links come on top).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            waiting: VecDeque::new(),
            links: BTreeMap::new(),
            offered: 0,
            served: 0,
        }
    }

    /// Queues a parcel. Returns the parcels given up to make room.
    pub fn offer(&mut self, id: FrameId, parcel: T) -> Vec<(FrameId, T)> {
        self.offered += 1;
        self.waiting.push_back(Entry {
            order: self.offered,
            id,
            parcel,
        });
        let excess = self.waiting.len().saturating_sub(self.capacity);
        self.waiting
            .drain(..excess)
            .map(|entry| (entry.id, entry.parcel))
            .collect()
    }

    /// A link to `destination` (an index) can take `window` unanswered parcels.
    pub fn opened(&mut self, link: LinkId, destination: usize, window: usize) {
        let fresh = Link {
            destination,
            window,
            retiring: false,
            in_flight: Vec::new(),
            last_served: 0,
        };
        self.links.insert(link, fresh);
    }

    /// The next parcel to send and the link to send it on; `None` when nothing waits or no link has room.
    ///
    /// Destinations take turns, those with the fewest unanswered parcels first, and so do the links of a destination.
    pub fn next(&mut self, now: Instant) -> Option<(LinkId, T)> {
        if self.waiting.is_empty() {
            return None;
        }
        let mut load: BTreeMap<usize, (usize, u64)> = BTreeMap::new();
        for link in self.links.values() {
            let (in_flight, last_served) = load.entry(link.destination).or_default();
            *in_flight += link.in_flight.len();
            *last_served = link.last_served.max(*last_served);
        }
        let (&id, link) = self
            .links
            .iter_mut()
            .filter(|(_, link)| !link.retiring && link.in_flight.len() < link.window)
            .min_by_key(|(_, link)| (load[&link.destination], link.in_flight.len(), link.last_served))?;
        let entry = self.waiting.pop_front()?;
        self.served += 1;
        link.last_served = self.served;
        let parcel = entry.parcel.clone();
        link.in_flight.push((now, entry));
        Some((id, parcel))
    }

    /// The other end of `link` answered. Returns the parcel, or `None` if it was not under way there.
    pub fn answered(&mut self, link: LinkId, id: &FrameId) -> Option<T> {
        let in_flight = &mut self.links.get_mut(&link)?.in_flight;
        let at = in_flight.iter().position(|(_, entry)| entry.id == *id)?;
        Some(in_flight.remove(at).1.parcel)
    }

    /// `link` is to take nothing more.
    pub fn retire(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.retiring = true;
        }
    }

    /// Whether `link` retires and all it had is answered, so that it can be closed without loss.
    #[must_use]
    pub fn is_finished(&self, link: LinkId) -> bool {
        self.links
            .get(&link)
            .is_some_and(|link| link.retiring && link.in_flight.is_empty())
    }

    /// `link` is gone. Returns how many parcels wait again because of that.
    pub fn closed(&mut self, link: LinkId) -> usize {
        let Some(link) = self.links.remove(&link) else { return 0 };
        let returned = link.in_flight.len();
        self.waiting.extend(link.in_flight.into_iter().map(|(_, entry)| entry));
        self.waiting.make_contiguous().sort_by_key(|entry| entry.order);
        returned
    }

    /// Links that have owed an answer for longer than `patience`.
    #[must_use]
    pub fn overdue(&self, now: Instant, patience: Duration) -> Vec<LinkId> {
        let late = |sent: &Instant| now.saturating_duration_since(*sent) > patience;
        let links = self.links.iter();
        links
            .filter(|(_, link)| link.in_flight.iter().any(|(sent, _)| late(sent)))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Parcels waiting for a link.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Parcels sent and not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.links.values().map(|link| link.in_flight.len()).sum()
    }

    /// Links that take parcels.
    #[must_use]
    pub fn open_links(&self) -> usize {
        self.links.values().filter(|link| !link.retiring).count()
    }
}

#[cfg(test)]
mod tests;
