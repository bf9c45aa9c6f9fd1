//! Latency against offered load, as a picture.

use std::path::Path;

use anyhow::Context;
use plotters::prelude::{BLUE, IntoLogRange, RED};
use serde::Serialize;

use crate::bench::chart::{self, Labels};

/// One point of the curve.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Point {
    /// Transactions a second that were offered.
    pub offered: f64,
    pub p50_ms: u64,
    pub p99_ms: u64,
    /// Transactions without a receipt on all nodes when the measurement ended.
    pub unfinished: usize,
}

/// Writes an SVG: both axes logarithmic, median and 99th percentile.
pub fn write(path: &Path, points: &[Point]) -> anyhow::Result<()> {
    let first = points.first().context("there is nothing to plot")?;
    let last = points.last().context("there is nothing to plot")?;
    let highest = points.iter().map(|point| point.p99_ms).max().unwrap_or(1).max(10) as f64;
    let line = |value: fn(&Point) -> u64| -> Vec<(f64, f64)> {
        points
            .iter()
            .map(|point| (point.offered, value(point).max(1) as f64))
            .collect()
    };
    let curves = [
        ("p50", BLUE, line(|point| point.p50_ms)),
        ("p99", RED, line(|point| point.p99_ms)),
    ];
    let labels = Labels {
        caption: "Announcements: sent to final on all of 4 nodes",
        across: "offered transactions per second",
        up: "milliseconds",
    };
    let across = first.offered..last.offered * 1.1;
    chart::write(path, &labels, across, (1.0..highest * 1.5).log_scale(), &curves)
}
