//! Curves over a logarithmic axis, as a picture.

use std::ops::Range;
use std::path::Path;

use anyhow::anyhow;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

/// Each with its name and colour.
pub type Curve = (&'static str, RGBColor, Vec<(f64, f64)>);

/// What stands around the curves.
pub struct Labels {
    pub caption: &'static str,
    pub across: &'static str,
    pub up: &'static str,
}

/// Writes an SVG; the axis across is logarithmic.
pub fn write<Up>(path: &Path, labels: &Labels, across: Range<f64>, up: Up, curves: &[Curve]) -> anyhow::Result<()>
where
    Up: AsRangedCoord<Value = f64>,
    Up::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let broken = |error: &dyn std::fmt::Display| anyhow!("could not plot into {}: {error}", path.display());
    let area = SVGBackend::new(path, (900, 560)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| broken(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .caption(labels.caption, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d(across.log_scale(), up)
        .map_err(|error| broken(&error))?;
    chart
        .configure_mesh()
        .x_desc(labels.across)
        .y_desc(labels.up)
        .draw()
        .map_err(|error| broken(&error))?;
    for (name, colour, line) in curves {
        chart
            .draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)))
            .map_err(|error| broken(&error))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        chart
            .draw_series(line.iter().map(|point| Circle::new(*point, 3, colour.filled())))
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
