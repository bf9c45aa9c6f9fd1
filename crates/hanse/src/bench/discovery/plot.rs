//! Messages and hops against the size of the swarm, as a picture.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::prelude::*;

use super::simulated::Size;

/// Writes an SVG: the number of domains on a logarithmic axis.
pub fn write(path: &Path, sizes: &[Size]) -> anyhow::Result<()> {
    let first = sizes.first().context("there is nothing to plot")?.domains as f64;
    let last = sizes.last().context("there is nothing to plot")?.domains as f64;
    let broken = |error: &dyn std::fmt::Display| anyhow!("could not plot into {}: {error}", path.display());
    let line = |value: fn(&Size) -> f64| -> Vec<(f64, f64)> {
        sizes.iter().map(|size| (size.domains as f64, value(size))).collect()
    };
    let series = [
        (
            "messages per record and domain",
            BLUE,
            line(|size| size.messages_per_domain),
        ),
        ("hops of a record, p99", RED, line(|size| size.hops_p99 as f64)),
        ("hops of a lookup, p99", GREEN, line(|size| size.lookup_hops_p99 as f64)),
    ];
    let values = series
        .iter()
        .flat_map(|(_, _, line)| line.iter().map(|(_, value)| *value));
    let highest = values.fold(1.0, f64::max);
    let area = SVGBackend::new(path, (900, 560)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| broken(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "What a record and a lookup cost in a swarm of so many domains (simulated)",
            ("sans-serif", 20),
        )
        .margin(16)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d((first..last * 1.1).log_scale(), 0.0..highest * 1.4)
        .map_err(|error| broken(&error))?;
    chart
        .configure_mesh()
        .x_desc("domains")
        .y_desc("messages, hops")
        .draw()
        .map_err(|error| broken(&error))?;
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
