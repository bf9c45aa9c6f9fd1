//! Figures that are read when they are asked for, in the text form of OpenMetrics.
//!
//! What is counted or measured while it happens is a counter or a histogram of `prometheus-client`, kept by the crate that
//! counts. What can be read at any time, such as a height or the length of a queue, is not kept a second time: a [`Reading`]
//! reads it for each scrape, so it can't be out of date, and the labels of who has gone go with him.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
pub use prometheus_client::registry::Registry;

/// Media type of [`text`], as the OpenMetrics specification 1.0 names it.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names and values that tell the samples of one metric apart.
pub type Labels<const N: usize> = [(&'static str, String); N];

/// Reads figures for one scrape.
pub trait Reading: fmt::Debug + Send + Sync + 'static {
    /// Writes what it reads; must not block for long.
    fn read(&self, page: &mut Page<'_>) -> fmt::Result;
}

/// Takes the figures of one scrape.
pub struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        // As the registry does with those that it holds.
        self.0.encode_descriptor(name, &format!("{help}."), None, kind)
    }

    /// A value that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.describe(name, help, gauge.metric_type())?)
    }

    /// A gauge that may have no value now.
    pub fn gauge_if_known(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let kind = ConstGauge::new(0.0).metric_type();
        let encoder = self.describe(name, help, kind)?;
        value.map_or(Ok(()), |value| ConstGauge::new(value).encode(encoder))
    }

    /// A gauge for each of these label values.
    pub fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, f64)>,
    ) -> fmt::Result {
        let kind = ConstGauge::new(0.0).metric_type();
        let mut family = self.describe(name, help, kind)?;
        for (labels, value) in values {
            ConstGauge::new(value).encode(family.encode_family(&labels.map(escaped))?)?;
        }
        Ok(())
    }

    /// A count that somebody else keeps. `name` is without the `_total` that the text form adds.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.describe(name, help, counter.metric_type())?)
    }

    /// A counter for each of these label values.
    pub fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, u64)>,
    ) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = self.describe(name, help, kind)?;
        for (labels, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&labels.map(escaped))?)?;
        }
        Ok(())
    }
}

/// A label whose value may be anything: prometheus-client 0.23 writes values as they are.
pub fn escaped((name, value): (&'static str, String)) -> (&'static str, String) {
    (
        name,
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"),
    )
}

#[derive(Debug)]
struct Adapter<R>(R);

impl<R: Reading> Collector for Adapter<R> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.read(&mut Page(encoder))
    }
}

/// Has `reading` asked at each scrape of `registry`.
pub fn register(registry: &mut Registry, reading: impl Reading) {
    registry.register_collector(Box::new(Adapter(reading)));
}

/// A histogram of durations in seconds: from `shortest` on, each bucket reaching twice as far as the one before it.
pub fn durations(shortest: f64, buckets: u16) -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
        shortest, 2.0, buckets,
    ))
}

/// Everything in `registry` in the text form of OpenMetrics 1.0.
///
/// # Errors
/// When a [`Reading`] fails.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[derive(Debug)]
    struct Height(Arc<AtomicU64>);

    impl Reading for Height {
        fn read(&self, page: &mut Page<'_>) -> fmt::Result {
            let height = self.0.load(Relaxed);
            page.gauge("height", "Height", height as f64)?;
            page.counters("seen", "Seen", [([("by", "x\"\\\ny".to_owned())], height)])
        }
    }

    #[test]
    fn each_scrape_reads_anew() {
        let height = Arc::new(AtomicU64::new(1));
        let mut registry = Registry::default();
        register(&mut registry, Height(height.clone()));
        assert!(text(&registry).unwrap().contains("\nheight 1.0\n"));
        height.store(7, Relaxed);
        let text = text(&registry).unwrap();
        assert!(text.contains("\nheight 7.0\n"), "{text}");
        assert!(text.contains("seen_total{by=\"x\\\"\\\\\\ny\"} 7\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
