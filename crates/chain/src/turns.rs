//! Whose turn it is to propose, decided from nothing but decided blocks. Pure.
//!
//! The members take turns in the order of the Consortium contract. A member that is away costs the others a propose timeout
//! at each of its turns, so who missed its turn is passed over for a while: for [`FIRST_PROBATION`] seconds, and twice as
//! long with each further miss, up to [`LONGEST_PROBATION`]. After that it gets a turn again, and if it makes it, all is
//! forgotten.
//!
//! How that is known to all alike: a block names the member that proposed it first (`beneficiary`), and every validator
//! checked that before it voted. The order of a height follows from the block before it. So whoever stands before the
//! beneficiary in that order had its turn and let it pass. What this makes of every member's standing is written into the
//! block's `extraData`, where execution checks it like any root; a node needs the newest header only.
//!
//! Being passed over is no exclusion: those passed over come last in the order, so a height whose other members all fail
//! still reaches everybody, and no loss of connection can lead to a ledger that stands still.

use alloy::consensus::Header;
use alloy::primitives::{Address, Bytes};
use borsh::{BorshDeserialize, BorshSerialize};

/// Seconds for which a first miss is remembered.
pub const FIRST_PROBATION: u64 = 30;

/// Seconds for which any miss is remembered at most, so that who comes back is not forgotten.
pub const LONGEST_PROBATION: u64 = 600;

/// A member that missed its last turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Absence {
    member: [u8; 20],
    /// Turns missed in a row.
    misses: u8,
    /// Unix time in seconds until which it is passed over.
    until: u64,
}

impl Absence {
    /// Whom it is about.
    pub fn member(&self) -> Address {
        self.member.into()
    }

    /// Turns missed in a row.
    pub fn misses(&self) -> u8 {
        self.misses
    }

    /// Unix time in seconds until which the member is passed over.
    pub fn until(&self) -> u64 {
        self.until
    }
}

/// The members that missed their last turn; all others are in good standing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standings(Vec<Absence>);

/// The header does not hold standings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the extraData of block {0} holds no record of missed turns")]
pub struct NoStandings(u64);

fn probation(misses: u8) -> u64 {
    let doublings = u32::from(misses.saturating_sub(1));
    FIRST_PROBATION
        .saturating_mul(1u64.checked_shl(doublings).unwrap_or(u64::MAX))
        .min(LONGEST_PROBATION)
}

impl Standings {
    /// What the block with this header left.
    ///
    /// # Errors
    /// When its `extraData` is something else; no committed block's is.
    pub fn after_block(header: &Header) -> Result<Self, NoStandings> {
        // That of block 0 is the digest of the genesis document.
        if header.number == 0 || header.extra_data.is_empty() {
            return Ok(Self::default());
        }
        let absences = borsh::from_slice(&header.extra_data).map_err(|_| NoStandings(header.number))?;
        Ok(Self(absences))
    }

    /// As a header keeps it; nothing when all members are in good standing.
    pub fn extra_data(&self) -> Bytes {
        if self.0.is_empty() {
            return Bytes::new();
        }
        borsh::to_vec(&self.0)
            .expect("writing to a vector does not fail")
            .into()
    }

    /// Who missed its last turn.
    pub fn absences(&self) -> &[Absence] {
        &self.0
    }

    fn passed_over(&self, member: &Address, now: u64) -> bool {
        self.0
            .iter()
            .any(|absence| absence.member == member.0.0 && absence.until > now)
    }

    /// The proposers of `height`, the first for round 0 and so on: all `members`, each once. `now` is the Unix time in seconds
    /// of the block before.
    pub fn order(&self, members: &[Address], height: u64, now: u64) -> Vec<Address> {
        let (mut last, mut first): (Vec<Address>, Vec<Address>) =
            members.iter().partition(|member| self.passed_over(member, now));
        rotate(&mut first, height);
        rotate(&mut last, height);
        first.extend(last);
        first
    }

    /// Who let its turn at `height` pass so that `proposer` could have it. `before` is the Unix time in seconds of the block
    /// before.
    pub fn missed(&self, members: &[Address], height: u64, before: u64, proposer: Address) -> Vec<Address> {
        let mut order = self.order(members, height, before);
        let missed = order.iter().position(|member| *member == proposer).unwrap_or(0);
        order.truncate(missed);
        order
    }

    /// The standings after the block of `height` at Unix time `time`, which `proposer` proposed when `before` was the time of
    /// the block before it.
    pub fn after_turn(&self, members: &[Address], height: u64, before: u64, proposer: Address, time: u64) -> Self {
        let missed = self.missed(members, height, before, proposer);
        let mut next = Vec::new();
        for member in members {
            let known = self.0.iter().find(|absence| absence.member == member.0.0);
            if *member == proposer {
                continue;
            }
            if missed.contains(member) {
                let misses = known.map_or(0, |absence| absence.misses).saturating_add(1);
                next.push(Absence {
                    member: member.0.0,
                    misses,
                    until: time.saturating_add(probation(misses)),
                });
            } else {
                next.extend(known);
            }
        }
        Self(next)
    }
}

fn rotate(members: &mut [Address], height: u64) {
    if let Some(by) = height.checked_rem(members.len() as u64) {
        members.rotate_left(usize::try_from(by).expect("a remainder is less than its divisor, a usize"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn members(count: u8) -> Vec<Address> {
        (1..=count).map(Address::repeat_byte).collect()
    }

    /// A ledger on which each height is proposed by the first in the order who is there.
    struct Simulation {
        members: Vec<Address>,
        standings: Standings,
        height: u64,
        time: u64,
    }

    impl Simulation {
        fn new(count: u8) -> Self {
            Self {
                members: members(count),
                standings: Standings::default(),
                height: 1,
                time: 1_000,
            }
        }

        /// Decides one block `seconds` after the last. Returns its proposer and the rounds that passed in vain.
        fn decide(&mut self, away: &BTreeSet<Address>, seconds: u64) -> (Address, usize) {
            let order = self.standings.order(&self.members, self.height, self.time);
            let round = order.iter().position(|member| !away.contains(member)).unwrap();
            let proposer = order[round];
            let time = self.time + seconds;
            let next = self
                .standings
                .after_turn(&self.members, self.height, self.time, proposer, time);
            // Whoever reads it from the header knows the same.
            let header = Header {
                number: self.height,
                extra_data: next.extra_data(),
                ..Default::default()
            };
            assert_eq!(Standings::after_block(&header).unwrap(), next);
            (self.standings, self.time, self.height) = (next, time, self.height + 1);
            (proposer, round)
        }
    }

    proptest! {
        #[test]
        fn every_member_is_in_the_order_once_whatever_was_missed(
            count in 1u8..=16,
            turns in proptest::collection::vec((any::<u8>(), 0u64..100), 0..60),
        ) {
            let mut simulation = Simulation::new(count);
            for (who, seconds) in turns {
                let order = simulation.standings.order(&simulation.members, simulation.height, simulation.time);
                let mut sorted = order.clone();
                sorted.sort();
                prop_assert_eq!(&sorted, &simulation.members);
                // Any member may turn out to be the proposer.
                let proposer = order[usize::from(who) % order.len()];
                let away = order.iter().take_while(|member| **member != proposer).copied().collect();
                simulation.decide(&away, seconds);
            }
        }

        #[test]
        fn members_that_stay_away_cost_a_round_each_and_then_ever_more_rarely(
            count in 4u8..=16,
            seed in any::<u64>(),
        ) {
            let mut simulation = Simulation::new(count);
            let faulty = (usize::from(count) - 1) / 3;
            let away: BTreeSet<Address> = (0..faulty)
                .map(|n| simulation.members[(seed as usize + n) % usize::from(count)])
                .collect();
            // Ten blocks a second for an hour.
            let wasted: usize = (0..36_000u64).map(|n| simulation.decide(&away, u64::from(n % 10 == 0)).1).sum();
            // 30 + 60 + 120 + 240 + 480 s, then every 600 s.
            let expected = 5 + 3600usize.div_ceil(600) + 1;
            prop_assert!(wasted <= expected * faulty, "{} rounds for {} members", wasted, faulty);
            prop_assert!(wasted >= faulty);
        }

        #[test]
        fn a_member_that_comes_back_proposes_again_and_is_in_good_standing_then(
            count in 4u8..=16,
            who in 0usize..16,
            away_for in 10usize..4_000,
        ) {
            let mut simulation = Simulation::new(count);
            let member = simulation.members[who % usize::from(count)];
            let away = BTreeSet::from([member]);
            for _ in 0..away_for {
                simulation.decide(&away, 1);
            }
            let nobody = BTreeSet::new();
            let within = LONGEST_PROBATION as usize + usize::from(count);
            let back = (0..=within).find(|_| simulation.decide(&nobody, 1).0 == member);
            prop_assert!(back.is_some());
            prop_assert_eq!(simulation.standings.absences(), &[]);
            let next: BTreeSet<Address> = (0..count).map(|_| simulation.decide(&nobody, 1).0).collect();
            prop_assert_eq!(next.len(), usize::from(count), "all take turns again");
        }
    }

    #[test]
    fn without_misses_the_members_take_turns_in_heights_and_in_rounds() {
        for count in 1..=7 {
            let members = members(count);
            let standings = Standings::default();
            let first: BTreeSet<Address> = (5..5 + u64::from(count))
                .map(|height| standings.order(&members, height, 0)[0])
                .collect();
            assert_eq!(first.len(), usize::from(count));
        }
        assert_eq!(Standings::default().order(&members(4), u64::MAX, u64::MAX).len(), 4);
        assert!(Standings::default().order(&[], 1, 0).is_empty());
    }

    #[test]
    fn who_left_the_consortium_is_forgotten_and_rubbish_is_no_record() {
        let members = members(4);
        let standings = Standings::default().after_turn(&members, 1, 0, members[3], 10);
        assert_eq!(
            standings.absences().iter().map(Absence::member).collect::<Vec<_>>(),
            [members[1], members[2]]
        );
        let remaining = [members[0], members[2], members[3]];
        let next = standings.after_turn(&remaining, 2, 10, members[0], 11);
        assert!(next.absences().iter().all(|absence| absence.member() != members[1]));
        let header = Header {
            number: 1,
            extra_data: Bytes::from_static(b"rubbish"),
            ..Default::default()
        };
        assert!(Standings::after_block(&header).is_err());
    }
}
