//! Domains about which something was said: they are looked at soon, but not by all at once.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::PeerId;
use rand::Rng;

use crate::model::UnixMillis;

/// Looks at a domain of which all members hear at once are spread over this long for each domain of the swarm: so nobody is
/// called more than 100 times a second because of a word.
const SPREAD: Duration = Duration::from_millis(10);
/// No look is put off for longer. What is, was put off before the clock was set back.
const LONGEST: Duration = Duration::from_secs(200);
/// Of how many domains it is remembered that they are to be looked at.
const MOST: usize = 16_384;

/// Whom to look at, and when.
#[derive(Debug, Default)]
pub(super) struct Rumours(BTreeMap<PeerId, UnixMillis>);

impl Rumours {
    /// Something was said of `name`, in a swarm of `domains`. At once if `full_mesh`: then only those who are told by the author
    /// itself or saw it themselves call, and they are few.
    pub fn heard(&mut self, name: PeerId, domains: usize, full_mesh: bool, now: UnixMillis, random: &mut impl Rng) {
        if self.0.len() >= MOST {
            return;
        }
        let spread = if full_mesh {
            Duration::ZERO
        } else {
            random.random_range(Duration::ZERO..SPREAD * u32::try_from(domains.max(1)).unwrap_or(u32::MAX))
        };
        self.0.entry(name).or_insert(now.plus(spread.min(LONGEST)));
    }

    /// It was looked at, or has gone.
    pub fn settled(&mut self, name: &PeerId) {
        self.0.remove(name);
    }

    /// At most `most` whose time has come.
    pub fn take(&mut self, most: usize, now: UnixMillis) -> Vec<PeerId> {
        let is_due = |at: UnixMillis| at <= now || at > now.plus(LONGEST);
        let due = self.0.iter().filter(|(_, at)| is_due(**at)).take(most);
        let due: Vec<_> = due.map(|(name, _)| *name).collect();
        for name in &due {
            self.0.remove(name);
        }
        due
    }
}
