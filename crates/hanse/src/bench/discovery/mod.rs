//! `hanse bench discovery`: how quickly domains see each other, what a large swarm costs, and blobs.

mod agents;
mod blob;
mod four;
mod many;
mod plot;
mod report;
mod rounds;
mod sight;
mod simulated;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use crate::output::{self, Format};
use crate::up::Progress;
use report::Document;

/// Options of `hanse bench discovery`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Measure these parts only.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How often a domain publishes, changes and withdraws its Identity wherever that is measured.
    #[arg(long, default_value_t = 50)]
    rounds: usize,
    /// How many agents there are where many are.
    #[arg(long, default_value_t = 50)]
    agents: usize,
    /// Sizes of the simulated swarm, ascending.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 300, 1_000, 3_000, 10_000])]
    domains: Vec<usize>,
    /// Seed of the simulation; of this moment when absent. It is among the figures.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the plot of messages and hops against the size of the swarm (SVG) into this file.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Four domains with everything that `hanse up` starts.
    Four,
    /// Many agents without a ledger.
    Many,
    /// Thousands of domains in simulated time.
    Simulated,
    /// A blob from three holders, one of whom lies.
    Blob,
}

impl Arguments {
    fn check(&self) -> anyhow::Result<()> {
        if self.domains.is_empty() || self.domains[0] < 2 || self.domains.windows(2).any(|pair| pair[0] >= pair[1]) {
            bail!("--domains must be at least 2 and ascend");
        }
        if self.rounds == 0 {
            bail!("--rounds 0 measures nothing");
        }
        if !(2..=agents::MOST).contains(&self.agents) {
            bail!("--agents: between 2 and {} fit on one machine", agents::MOST);
        }
        if self.plot.is_some() && !self.wants(Part::Simulated) {
            bail!("--plot shows the part simulated; add it to --only");
        }
        Ok(())
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    arguments.check()?;
    let progress = Progress::new(arguments.output);
    let measured = tokio::select! {
        measured = measure(&arguments, &progress) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped")),
    };
    progress.clear();
    output::print(arguments.output, &measured?, Document::text)
}

async fn measure(arguments: &Arguments, progress: &Progress) -> anyhow::Result<Document> {
    let mut document = Document::default();
    let say = |text: &str| progress.say(text);
    if arguments.wants(Part::Four) {
        document.visible_ms = Some(four::visible(arguments.rounds, &say).await?);
    }
    if arguments.wants(Part::Many) {
        many::measure(&mut document, arguments.agents, arguments.rounds, &say).await?;
    }
    if arguments.wants(Part::Blob) {
        progress.say("a blob from three holders");
        document.blob_mbit_s = Some(blob::mbit_per_second().await?);
    }
    if arguments.wants(Part::Simulated) {
        let seed = arguments.seed.unwrap_or_else(simulated::any_seed);
        document.seed = Some(seed);
        for &domains in &arguments.domains {
            progress.say(&format!("{domains} simulated domains"));
            document.simulated.push(simulated::measure(domains, seed).await?);
        }
        if let Some(path) = &arguments.plot {
            plot::write(path, &document.simulated)?;
        }
    }
    Ok(document)
}
