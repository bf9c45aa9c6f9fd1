//! Comparing an offer with a requirement, field by field.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Terms;

/// One field in which an offer does not meet a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shortfall {
    /// Which field.
    pub field: Field,
    /// What is needed, in the field's unit.
    pub required: u64,
    /// What is offered, in the field's unit.
    pub offered: u64,
}

/// A field of [`Terms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "named as the fields of Terms")]
pub enum Field {
    AvailabilityBps,
    LatencyMs,
    JitterMs,
    BandwidthMbps,
    CpuMillicores,
    RamMb,
    Replicas,
}

impl Field {
    fn is_upper_bound(self) -> bool {
        matches!(self, Self::LatencyMs | Self::JitterMs)
    }
}

/// Every field in which `offer` does not meet `required`; empty if it meets all.
pub fn shortfalls(required: &Terms, offer: &Terms) -> Vec<Shortfall> {
    [
        (
            Field::AvailabilityBps,
            u32::from(required.availability_bps),
            u32::from(offer.availability_bps),
        ),
        (Field::LatencyMs, required.latency_ms, offer.latency_ms),
        (Field::JitterMs, required.jitter_ms, offer.jitter_ms),
        (Field::BandwidthMbps, required.bandwidth_mbps, offer.bandwidth_mbps),
        (Field::CpuMillicores, required.cpu_millicores, offer.cpu_millicores),
        (Field::RamMb, required.ram_mb, offer.ram_mb),
        (Field::Replicas, required.replicas, offer.replicas),
    ]
    .into_iter()
    .filter(|(field, required, offered)| {
        if field.is_upper_bound() {
            *required != 0 && offered > required
        } else {
            offered < required
        }
    })
    .map(|(field, required, offered)| Shortfall {
        field,
        required: required.into(),
        offered: offered.into(),
    })
    .collect()
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            required,
            offered,
        } = self;
        let bound = if field.is_upper_bound() { "at most" } else { "at least" };
        let percent = |bps: u64| format!("{}.{:02}", bps / 100, bps % 100);
        match field {
            Field::AvailabilityBps => {
                write!(
                    f,
                    "availability {} %, needed {bound} {} %",
                    percent(*offered),
                    percent(*required)
                )
            }
            Field::LatencyMs => write!(f, "latency {offered} ms, needed {bound} {required} ms"),
            Field::JitterMs => write!(f, "jitter {offered} ms, needed {bound} {required} ms"),
            Field::BandwidthMbps => write!(f, "bandwidth {offered} Mbit/s, needed {bound} {required} Mbit/s"),
            Field::CpuMillicores => write!(f, "CPU {offered} millicores, needed {bound} {required} millicores"),
            Field::RamMb => write!(f, "memory {offered} MiB, needed {bound} {required} MiB"),
            Field::Replicas => write!(f, "{offered} replicas, needed {bound} {required}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Terms = Terms {
        availability_bps: 9990,
        latency_ms: 20,
        jitter_ms: 0,
        bandwidth_mbps: 100,
        cpu_millicores: 500,
        ram_mb: 256,
        replicas: 2,
    };

    #[test]
    fn an_equal_offer_suffices_and_zero_means_any() {
        assert_eq!(shortfalls(&NEED, &NEED), []);
        assert_eq!(
            shortfalls(
                &NEED,
                &Terms {
                    jitter_ms: 9000,
                    ..NEED
                }
            ),
            []
        );
    }

    #[test]
    fn each_field_short_by_one_is_named() {
        let cases = [
            (
                Terms {
                    availability_bps: 9989,
                    ..NEED
                },
                "availability 99.89 %, needed at least 99.90 %",
            ),
            (Terms { latency_ms: 21, ..NEED }, "latency 21 ms, needed at most 20 ms"),
            (
                Terms {
                    bandwidth_mbps: 99,
                    ..NEED
                },
                "bandwidth 99 Mbit/s, needed at least 100 Mbit/s",
            ),
            (
                Terms {
                    cpu_millicores: 499,
                    ..NEED
                },
                "CPU 499 millicores, needed at least 500 millicores",
            ),
            (Terms { ram_mb: 255, ..NEED }, "memory 255 MiB, needed at least 256 MiB"),
            (Terms { replicas: 1, ..NEED }, "1 replicas, needed at least 2"),
        ];
        for (offer, why) in cases {
            let found: Vec<_> = shortfalls(&NEED, &offer).iter().map(ToString::to_string).collect();
            assert_eq!(found, [why]);
        }
    }
}
