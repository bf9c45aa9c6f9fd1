//! Numbers that may be written as percentages (`maxSurge: 25%`). Pure.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Which way a percentage is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    Up,
    Down,
}

/// `value` of `total`; a text that is no percentage counts as 0, as does a negative number.
pub(crate) fn resolve(value: &IntOrString, total: i32, rounding: Rounding) -> i32 {
    let total = i64::from(total.max(0));
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok())
                .unwrap_or(0);
            let hundredfold = total.saturating_mul(percent.max(0));
            let part = match rounding {
                Rounding::Up => hundredfold.saturating_add(99) / 100,
                Rounding::Down => hundredfold / 100,
            };
            i32::try_from(part).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let quarter = IntOrString::String("25%".to_owned());
        for (total, up, down) in [(0, 0, 0), (1, 1, 0), (2, 1, 0), (4, 1, 1), (10, 3, 2), (100, 25, 25)] {
            assert_eq!(resolve(&quarter, total, Rounding::Up), up);
            assert_eq!(resolve(&quarter, total, Rounding::Down), down);
        }
        assert_eq!(resolve(&IntOrString::Int(3), 1, Rounding::Up), 3);
        assert_eq!(resolve(&IntOrString::String("x".to_owned()), 10, Rounding::Up), 0);
    }
}
