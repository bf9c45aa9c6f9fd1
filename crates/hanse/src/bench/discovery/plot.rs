//! Messages and hops against the size of the swarm, as a picture.

use std::path::Path;

use anyhow::Context;
use plotters::style::{BLUE, GREEN, RED};

use super::simulated::Size;
use crate::bench::chart::{self, Labels};

/// Writes an SVG: the number of domains on a logarithmic axis.
pub fn write(path: &Path, sizes: &[Size]) -> anyhow::Result<()> {
    let first = sizes.first().context("there is nothing to plot")?.domains as f64;
    let last = sizes.last().context("there is nothing to plot")?.domains as f64;
    let line = |value: fn(&Size) -> f64| -> Vec<(f64, f64)> {
        sizes.iter().map(|size| (size.domains as f64, value(size))).collect()
    };
    let messages = line(|size| size.messages_per_domain);
    let curves = [
        ("messages per record and domain", BLUE, messages),
        ("hops of a record, p99", RED, line(|size| size.hops_p99 as f64)),
        ("hops of a lookup, p99", GREEN, line(|size| size.lookup_hops_p99 as f64)),
    ];
    let values = curves
        .iter()
        .flat_map(|(_, _, line)| line.iter().map(|(_, value)| *value));
    let highest = values.fold(1.0, f64::max);
    let labels = Labels {
        caption: "What a record and a lookup cost in a swarm of so many domains (simulated)",
        across: "domains",
        up: "messages, hops",
    };
    chart::write(path, &labels, first..last * 1.1, 0.0..highest * 1.4, &curves)
}
