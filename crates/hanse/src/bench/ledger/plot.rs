//! Latency against offered load, as a picture.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::prelude::*;
use serde::Serialize;

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
    let broken = |error: &dyn std::fmt::Display| anyhow!("could not plot into {}: {error}", path.display());
    let area = SVGBackend::new(path, (900, 560)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| broken(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Announcements: sent to final on all of 4 nodes", ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(
            (first.offered..last.offered * 1.1).log_scale(),
            (1.0..highest * 1.5).log_scale(),
        )
        .map_err(|error| broken(&error))?;
    chart
        .configure_mesh()
        .x_desc("offered transactions per second")
        .y_desc("milliseconds")
        .draw()
        .map_err(|error| broken(&error))?;
    let line = |value: fn(&Point) -> u64| -> Vec<(f64, f64)> {
        points
            .iter()
            .map(|point| (point.offered, value(point).max(1) as f64))
            .collect()
    };
    let series = [
        ("p50", BLUE, line(|point| point.p50_ms)),
        ("p99", RED, line(|point| point.p99_ms)),
    ];
    for (name, colour, line) in series {
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))
            .map_err(|error| broken(&error))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        chart
            .draw_series(line.into_iter().map(|point| Circle::new(point, 3, colour.filled())))
            .map_err(|error| broken(&error))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()
        .map_err(|error| broken(&error))?;
    area.present().map_err(|error| broken(&error))
}
