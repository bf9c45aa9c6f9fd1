//! Conditions that were found, put beside those that an object has.

use jiff::Timestamp;

use crate::model::{Condition, Truth};

/// Longest message: events take no more.
const LONGEST_MESSAGE: usize = 1000;

/// Something that was found to be so or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The condition's type.
    pub kind: &'static str,
    /// Whether it holds.
    pub truth: Truth,
    /// Why, in one word.
    pub reason: String,
    /// Why, and what to do.
    pub message: String,
}

/// A condition that holds now and did not, or the other way round, or for another reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The condition's type.
    pub kind: &'static str,
    /// Whether something is wrong now.
    pub warning: bool,
    /// The reason.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Finding {
    /// It holds.
    pub fn good(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, Truth::True, reason, message)
    }

    /// It does not hold.
    pub fn bad(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, Truth::False, reason, message)
    }

    /// Any.
    pub fn new(kind: &'static str, truth: Truth, reason: &str, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if message.len() > LONGEST_MESSAGE {
            let end = (0..=LONGEST_MESSAGE - 3).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or_default());
            message.push('…');
        }
        Self {
            kind,
            truth,
            reason: reason.to_owned(),
            message,
        }
    }
}

/// A point in time as Kubernetes writes it: RFC 3339 in UTC, in whole seconds.
pub fn rfc3339(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The conditions of an object that had `old` ones, and what changed. The time of a condition is when its status changed, as the
/// conventions of Kubernetes' API have it.
pub fn merged(
    old: &[Condition],
    found: &[Finding],
    generation: i64,
    now: Timestamp,
) -> (Vec<Condition>, Vec<Transition>) {
    let mut transitions = Vec::new();
    let mut conditions = Vec::new();
    for finding in found {
        let before = old.iter().find(|condition| condition.kind == finding.kind);
        let same_status = before.filter(|before| before.status == finding.truth);
        if same_status.is_none_or(|before| before.reason != finding.reason) {
            transitions.push(Transition {
                kind: finding.kind,
                warning: finding.truth == Truth::False,
                reason: finding.reason.clone(),
                message: finding.message.clone(),
            });
        }
        conditions.push(Condition {
            kind: finding.kind.to_owned(),
            status: finding.truth,
            observed_generation: generation,
            last_transition_time: same_status
                .map_or_else(|| rfc3339(now), |before| before.last_transition_time.clone()),
            reason: finding.reason.clone(),
            message: finding.message.clone(),
        });
    }
    (conditions, transitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_change_and_only_changes_are_told() {
        let found = [Finding::bad("Ready", "KeyMalformed", "the key has 63 digits")];
        let (first, told) = merged(&[], &found, 1, Timestamp::UNIX_EPOCH);
        assert_eq!(first[0].last_transition_time, "1970-01-01T00:00:00Z");
        assert!(told.len() == 1 && told[0].warning);
        let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(60);
        let (second, told) = merged(&first, &found, 2, later);
        assert!(told.is_empty());
        assert_eq!(second[0].last_transition_time, "1970-01-01T00:00:00Z");
        assert_eq!(second[0].observed_generation, 2);
        let (third, told) = merged(&second, &[Finding::good("Ready", "Ready", "")], 2, later);
        assert_eq!(third[0].last_transition_time, "1970-01-01T00:01:00Z");
        assert!(told.len() == 1 && !told[0].warning);
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_at_a_character() {
        let finding = Finding::bad("Ready", "Long", "€".repeat(1000));
        assert!(finding.message.len() <= LONGEST_MESSAGE && finding.message.ends_with("€…"));
    }
}
