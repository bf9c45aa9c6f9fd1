//! Thousands of members in one process and in simulated time, for measurements (`hanse bench discovery`) and tests.
//!
//! What decides is the very code of the running swarm: the members' tables, their choice of neighbours, what they tell, ask and
//! answer, and the checks of records and their signatures. Made up are the time, the wire (each message takes a random time or
//! is lost) and, for [`look_up`], how far the routing tables of the distributed hash table are filled. Nothing here opens a
//! socket or reads a clock, and the same seed gives the same figures.

#[cfg(test)]
mod faults;
mod liar;
mod look_up;
mod routing;
mod spread;
mod world;

#[cfg(test)]
mod tests;

use std::time::Duration;

use rand::Rng;

pub use liar::write_lies;
pub use look_up::{LookUps, look_up};
pub use spread::{Spread, spread};

/// What the members have to live with.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Of all that is random. Print it.
    pub seed: u64,
    /// The shortest and the longest time that a message takes.
    pub latency: (Duration, Duration),
    /// The share of messages that do not arrive.
    pub loss: f64,
}

impl Conditions {
    /// The Internet on a middling day: 10 to 150 ms, and one message of a hundred does not arrive.
    pub fn internet(seed: u64) -> Self {
        Self {
            seed,
            latency: (Duration::from_millis(10), Duration::from_millis(150)),
            loss: 0.01,
        }
    }

    fn delay(&self, random: &mut impl Rng) -> Duration {
        let (shortest, longest) = self.latency;
        random.random_range(shortest..=longest)
    }
}

/// How often a figure was how large.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(Vec<u64>);

impl Figures {
    fn saw(&mut self, figure: u64) {
        self.0.push(figure);
    }

    /// By the nearest-rank method; 0 if there are none.
    fn percentile(&mut self, percent: usize) -> u64 {
        self.0.sort_unstable();
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(0)
    }
}
