//! What `hanse bench ledger` prints.

use serde::Serialize;

use super::million::Comparison;
use super::plot::Point;
use crate::bench::quantiles::{Quantiles, rounded};
use crate::output;

/// Finality with some number of validators.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Curve {
    pub n: usize,
    pub p50_ms: u64,
    pub p99_ms: u64,
}

/// All figures of one run; parts that were not asked for are null or empty.
#[derive(Debug, Default, Serialize)]
pub struct Document {
    /// Sent → receipt on all four nodes.
    pub finality_ms: Option<Quantiles>,
    pub sustained_tps: Option<f64>,
    /// Transactions that were acknowledged but did not become final, in all parts.
    pub lost: Option<u64>,
    pub one_dead_ms: Option<Quantiles>,
    pub validators: Vec<Curve>,
    /// Large store against small store: the worst of getLogs, eth_call and block time.
    pub million_ratio: Option<f64>,
    pub million: Option<Comparison>,
    pub rejoin_ms: Option<u64>,
    pub idle_bytes_per_hour: Option<u64>,
    pub anvil_finality_ms: Option<Quantiles>,
    /// Resident memory of the largest of the four nodes after finality and sustained load.
    pub rss_mb_max: Option<f64>,
    pub loads: Vec<Point>,
}

impl Document {
    pub fn count_lost(&mut self, lost: u64) {
        *self.lost.get_or_insert(0) += lost;
    }

    pub fn saw_memory(&mut self, resident: u64) {
        let megabytes = rounded(resident as f64 / 1e6);
        self.rss_mb_max = Some(self.rss_mb_max.unwrap_or(0.0).max(megabytes));
    }

    /// The table for people.
    pub fn text(&self) -> String {
        let mut rows = vec![["FIGURE", "MEASURED", "REACH"].map(str::to_owned).to_vec()];
        let mut row = |figure: &str, measured: Option<String>, reach: &str| {
            if let Some(measured) = measured {
                rows.push(vec![figure.to_owned(), measured, reach.to_owned()]);
            }
        };
        let both = |quantiles: Option<Quantiles>| quantiles.map(|it| format!("{} / {} ms", it.p50, it.p99));
        row(
            "sent → final on all nodes, p50 / p99",
            both(self.finality_ms),
            "60 / 200 ms",
        );
        row("the same on anvil", both(self.anvil_finality_ms), "–");
        row(
            "announcements per second sustained",
            self.sustained_tps.map(|tps| tps.to_string()),
            "1000",
        );
        row("lost", self.lost.map(|lost| lost.to_string()), "0");
        row("one of four dead, p50 / p99", both(self.one_dead_ms), "80 / 800 ms");
        for curve in &self.validators {
            let measured = format!("{} / {} ms", curve.p50_ms, curve.p99_ms);
            row(&format!("{} validators, p50 / p99", curve.n), Some(measured), "linear");
        }
        if let Some(Comparison { few, many }) = &self.million {
            let pair = |few: String, many: String| Some(format!("{few} → {many}"));
            let sizes = format!("{} → {} agreements: ", few.agreements, many.agreements);
            row(
                &format!("{sizes}getLogs of one id"),
                pair(few.get_logs_us.to_string(), format!("{} µs", many.get_logs_us)),
                "2×",
            );
            row(
                "  eth_call",
                pair(few.eth_call_us.to_string(), format!("{} µs", many.eth_call_us)),
                "2×",
            );
            row(
                "  sent → final",
                pair(few.block_ms.to_string(), format!("{} ms", many.block_ms)),
                "2×",
            );
        }
        row(
            "restart to in sync",
            self.rejoin_ms.map(|ms| format!("{ms} ms")),
            "10000 ms",
        );
        row(
            "idle growth per node and hour",
            self.idle_bytes_per_hour.map(|bytes| format!("{bytes} bytes")),
            "2000000 bytes",
        );
        row("memory of a node", self.rss_mb_max.map(|mb| format!("{mb} MB")), "–");
        for point in &self.loads {
            let measured = format!(
                "{} / {} ms, {} unfinished",
                point.p50_ms, point.p99_ms, point.unfinished
            );
            row(
                &format!("{} tx/s offered, p50 / p99", point.offered),
                Some(measured),
                "–",
            );
        }
        output::table(&rows)
    }
}
