//! Medians and tails of what was measured.

use serde::Serialize;

/// Median and 99th percentile, by the nearest-rank method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    pub p50: u64,
    pub p99: u64,
}

impl Quantiles {
    /// Of at least one value.
    pub fn of(values: &[u64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self {
            p50: rank(50)?,
            p99: rank(99)?,
        })
    }
}

/// To two decimals.
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        assert_eq!(Quantiles::of(&[]), None);
        assert_eq!(Quantiles::of(&[7]), Some(Quantiles { p50: 7, p99: 7 }));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(Quantiles::of(&hundred), Some(Quantiles { p50: 50, p99: 99 }));
    }
}
