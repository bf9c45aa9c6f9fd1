//! What `hanse bench discovery` prints.

use serde::Serialize;

use super::simulated::Size;
use crate::bench::quantiles::Quantiles;
use crate::output;

/// All figures of one run; parts that were not asked for are null or empty.
#[derive(Debug, Default, Serialize)]
pub struct Document {
    /// Identity applied → Peer visible on all others, 4 domains with everything that `hanse up` starts.
    pub visible_ms: Option<Quantiles>,
    /// How many agents the figures with 50 are of.
    pub agents: Option<usize>,
    /// The same with 50 agents.
    pub visible_50_ms: Option<Quantiles>,
    /// Identity changed → seen on all others.
    pub update_50_ms: Option<Quantiles>,
    /// Identity deleted → Peer gone on all others.
    pub withdrawal_50_ms: Option<Quantiles>,
    /// Killed → Offline on all others; the longest.
    pub offline_ms: Option<u64>,
    /// Killed → Peer gone on all others; the longest.
    pub removed_ms: Option<u64>,
    /// 10 MB from three holders, one of whom lies: the median.
    pub blob_mbit_s: Option<f64>,
    /// Memory of an agent of those with all peers: the median.
    pub agent_mb: Option<f64>,
    /// How much more memory an agent holds with all others as peers than with none.
    pub rss_mb_swarm: Option<f64>,
    /// Of the simulation.
    pub seed: Option<u64>,
    pub simulated: Vec<Size>,
}

impl Document {
    /// The table for people.
    pub fn text(&self) -> String {
        let mut rows = vec![["FIGURE", "MEASURED", "REACH"].map(str::to_owned).to_vec()];
        let mut row = |figure: &str, measured: Option<String>, reach: &str| {
            if let Some(measured) = measured {
                rows.push(vec![figure.to_owned(), measured, reach.to_owned()]);
            }
        };
        let both = |quantiles: Option<Quantiles>| quantiles.map(|it| format!("{} / {} ms", it.p50, it.p99));
        let ms = |value: Option<u64>| value.map(|it| format!("{it} ms"));
        row(
            "Identity applied → visible on all others, 4 domains, p50 / p99",
            both(self.visible_ms),
            "300 / 1000 ms",
        );
        let agents = self.agents.unwrap_or_default();
        row(
            &format!("the same with {agents} agents"),
            both(self.visible_50_ms),
            "– / 3000 ms",
        );
        row("update seen by all", both(self.update_50_ms), "– / 3000 ms");
        row("withdrawal seen by all", both(self.withdrawal_50_ms), "– / 3000 ms");
        row("killed → Offline on all others", ms(self.offline_ms), "10000 ms");
        row("killed → removed on all others", ms(self.removed_ms), "60 s by default");
        row(
            "10 MB from three holders, one lying",
            self.blob_mbit_s.map(|it| format!("{it} Mbit/s")),
            "200 Mbit/s",
        );
        row(
            "memory of the swarm part",
            self.rss_mb_swarm.map(|it| format!("{it} MB")),
            "25 MB",
        );
        for size in &self.simulated {
            let measured = format!(
                "{} messages a domain, hops {} / {}, with all in {} ms; lookup {} / {} hops, {} asked",
                size.messages_per_domain,
                size.hops_p50,
                size.hops_p99,
                size.with_all_ms,
                size.lookup_hops_p50,
                size.lookup_hops_p99,
                size.lookup_asked_p99
            );
            row(
                &format!("{} simulated domains", size.domains),
                Some(measured),
                "logarithmic",
            );
        }
        output::table(&rows)
    }
}
