//! Who proposes: round robin over the validator set of the height, a function of decided data alone.

use malachitebft_core_types::Round;

use super::context::Height;

/// The index of the proposer among `validators` validators in the order of the Consortium contract.
///
/// Every height and every round moves on by one, so a validator that is away costs its own turns only.
///
/// # Panics
/// When there is no validator; the engine refuses to start a height with an empty set.
pub fn proposer_index(validators: usize, height: Height, round: Round) -> usize {
    assert!(validators > 0, "a height has at least one validator");
    let turn = u128::from(height.0) + u128::from(round.as_u32().unwrap_or(0));
    usize::try_from(turn % validators as u128).expect("a remainder is less than its divisor, a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_validator_has_its_turn_in_heights_and_in_rounds() {
        for validators in 1..=7 {
            let by_height: std::collections::BTreeSet<_> = (0..validators as u64)
                .map(|h| proposer_index(validators, Height(h + 5), Round::new(0)))
                .collect();
            let by_round: std::collections::BTreeSet<_> = (0..validators as u32)
                .map(|r| proposer_index(validators, Height(5), Round::new(r)))
                .collect();
            assert_eq!(by_height.len(), validators);
            assert_eq!(by_round.len(), validators);
        }
    }

    #[test]
    fn the_largest_height_and_round_have_a_proposer() {
        assert!(proposer_index(4, Height(u64::MAX), Round::new(u32::MAX)) < 4);
        assert_eq!(proposer_index(4, Height(9), Round::Nil), 1);
    }
}
