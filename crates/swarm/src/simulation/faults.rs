//! What befalls simulated domains in tests.

use std::time::Duration;

use rand::Rng;

use super::world::{Event, World, member};
use crate::record::Announcement;

/// A connection over which nothing comes is closed after this long.
const SILENCE: Duration = Duration::from_secs(9);

impl World {
    /// Kills a domain; it loses what it knew.
    pub fn kill(&mut self, index: usize) {
        let seed = self.random.random();
        let domain = &mut self.domains[index];
        domain.up = false;
        domain.member = member(&domain.key, *domain.member.table.limits(), seed);
        for other in std::mem::take(&mut domain.connected) {
            let delay = self.conditions.delay(&mut self.random);
            self.after(delay, Event::Disconnected(other, index));
        }
    }

    /// Splits the swarm, or heals it.
    pub fn put_on_side(&mut self, index: usize, side: u8) {
        self.domains[index].side = side;
        for other in self.domains[index].connected.clone() {
            if self.domains[other].side != side {
                self.after(SILENCE, Event::Disconnected(other, index));
                self.after(SILENCE, Event::Disconnected(index, other));
            }
        }
    }

    /// Whether a domain knows the newest record of another.
    pub fn knows(&self, index: usize, author: usize) -> bool {
        let author = &self.domains[author];
        let best = self.domains[index].member.table.best(&author.name);
        best.map(Announcement::record) == author.own.as_ref()
    }
}
