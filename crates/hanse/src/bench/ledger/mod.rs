//! `hanse bench ledger`: the embedded ledger, four validators in four processes, and anvil beside it.

mod anvil;
mod disk;
mod faults;
mod idle;
mod latency;
mod load;
mod million;
mod network;
pub mod node;
mod offline;
mod plot;
mod report;
mod rpc;
mod sustained;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::process;
use super::quantiles::rounded;
use crate::output::{self, Format};
use crate::up::Progress;
use faults::offer;
use network::{Consortium, LAN};
use report::{Curve, Document};

/// Options of `hanse bench ledger`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Measure these parts only.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How long load is offered wherever latency is measured; half as long for each point of the plot.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How long the sustained load is offered.
    #[arg(long, default_value_t = 60)]
    sustained_seconds: u64,
    /// Transactions per second wherever latency is measured.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Transactions per second that are prepared for the sustained load, which takes as many as it can.
    #[arg(long, default_value_t = 2_000)]
    fastest: usize,
    /// Sizes of the consortium for the curve of validators.
    #[arg(long, value_delimiter = ',', default_values_t = [4, 7, 10, 16])]
    validators: Vec<usize>,
    /// Agreements in the large store.
    #[arg(long, default_value_t = 1_000_000)]
    agreements: u64,
    /// How many blocks the returning node is behind.
    #[arg(long, default_value_t = 10_000)]
    behind: u64,
    /// Heartbeats to watch in the idle consortium.
    #[arg(long, default_value_t = 360)]
    heartbeats: u64,
    /// Offered loads of the plot, transactions per second, ascending.
    #[arg(long, value_delimiter = ',', default_values_t = [10.0, 50.0, 100.0, 200.0, 400.0, 600.0, 800.0, 1000.0, 1300.0])]
    loads: Vec<f64>,
    /// Write the plot of latency against offered load (SVG) into this file.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Write the latency of each transaction of the parts finality, one-dead and anvil into this file, with the columns
    /// part and milliseconds.
    #[arg(long)]
    csv: Option<PathBuf>,
    /// The anvil program.
    #[arg(long)]
    anvil: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Sent → receipt on all nodes.
    Finality,
    /// Announcements per second.
    Sustained,
    /// Finality with one of four validators dead.
    OneDead,
    /// Finality with more and more validators.
    Validators,
    /// A store of very many agreements.
    Million,
    /// A node that was away catches up.
    Rejoin,
    /// Growth of an idle node's files.
    Idle,
    /// Finality on anvil.
    Anvil,
    /// Latency against offered load; needs --plot.
    Plot,
}

impl Arguments {
    fn check(&self) -> anyhow::Result<()> {
        if self.seconds == 0 || self.sustained_seconds == 0 {
            bail!("--seconds and --sustained-seconds must be more than 0");
        }
        if self.rate <= 0.0 || self.fastest == 0 || self.behind == 0 || self.heartbeats == 0 {
            bail!("--rate, --fastest, --behind and --heartbeats must be more than 0");
        }
        if self.agreements == 0 {
            bail!("--agreements 0 is no store to measure");
        }
        if self.validators.contains(&0) {
            bail!("--validators: a consortium has at least one");
        }
        if self.loads.is_empty() || self.loads[0] <= 0.0 || self.loads.windows(2).any(|pair| pair[0] >= pair[1]) {
            bail!("--loads must be more than 0 and ascend");
        }
        if self.only.contains(&Part::Plot) && self.plot.is_none() {
            bail!("--only plot needs --plot FILE");
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
    let (document, samples) = measured?;
    if let Some(path) = &arguments.csv {
        let mut table = String::from("part,milliseconds\n");
        for (part, millis) in &samples {
            table.extend(millis.iter().map(|millis| format!("{part},{millis}\n")));
        }
        std::fs::write(path, table).with_context(|| format!("could not write {}", path.display()))?;
    }
    output::print(arguments.output, &document, Document::text)
}

type Samples = Vec<(&'static str, Vec<u64>)>;

async fn measure(arguments: &Arguments, progress: &Progress) -> anyhow::Result<(Document, Samples)> {
    let mut document = Document::default();
    let mut samples = Samples::new();
    let (rate, seconds) = (arguments.rate, arguments.seconds);
    let say = |text: &str| progress.say(text);

    if arguments.wants(Part::Finality) || arguments.wants(Part::Sustained) {
        let consortium = Consortium::create(4, LAN)?;
        let network = consortium.start().await?;
        if arguments.wants(Part::Finality) {
            say("finality");
            let measured = latency::measure(offer(&consortium, &network, rate, seconds)).await?;
            document.finality_ms = Some(measured.quantiles()?);
            document.count_lost(measured.lost as u64);
            samples.push(("finality", measured.millis));
        }
        if arguments.wants(Part::Sustained) {
            say("sustained load");
            let sustained =
                sustained::measure(&consortium, &network, arguments.sustained_seconds, arguments.fastest).await?;
            document.sustained_tps = Some(rounded(sustained.tps));
            document.count_lost(sustained.lost);
        }
        for node in &network.nodes {
            document.saw_memory(process::resident(node.pid()?)?);
        }
        network.stop().await?;
    }
    if arguments.wants(Part::OneDead) {
        say("one of four validators dead");
        let consortium = Consortium::create(4, LAN)?;
        let network = consortium.start().await?;
        let measured = faults::one_dead(&consortium, network, rate, seconds).await?;
        document.one_dead_ms = Some(measured.quantiles()?);
        document.count_lost(measured.lost as u64);
        samples.push(("one-dead", measured.millis));
    }
    if arguments.wants(Part::Validators) {
        for &n in &arguments.validators {
            say(&format!("{n} validators"));
            let consortium = Consortium::create(n, LAN)?;
            let network = consortium.start().await?;
            let measured = latency::measure(offer(&consortium, &network, rate, seconds)).await?;
            network.stop().await?;
            document.count_lost(measured.lost as u64);
            let quantiles = measured.quantiles()?;
            document.validators.push(Curve {
                n,
                p50_ms: quantiles.p50,
                p99_ms: quantiles.p99,
            });
        }
    }
    if arguments.wants(Part::Idle) {
        say("an idle consortium");
        document.idle_bytes_per_hour = Some(idle::bytes_per_hour(arguments.heartbeats).await?);
    }
    if arguments.wants(Part::Anvil) {
        say("anvil");
        let program = anvil::program(arguments.anvil.clone());
        let measured = anvil::measure(program, rate, seconds).await?;
        document.anvil_finality_ms = Some(measured.quantiles()?);
        samples.push(("anvil", measured.millis));
    }
    if arguments.wants(Part::Rejoin) {
        document.rejoin_ms = Some(faults::rejoin(arguments.behind, say).await?);
    }
    if let (true, Some(path)) = (arguments.wants(Part::Plot), &arguments.plot) {
        document.loads = loads(arguments, progress).await?;
        plot::write(path, &document.loads)?;
    }
    if arguments.wants(Part::Million) {
        let comparison = million::compare(arguments.agreements, say).await?;
        document.million_ratio = Some(rounded(comparison.ratio()));
        document.million = Some(comparison);
    }
    Ok((document, samples))
}

/// One consortium for each load, so that what the last one left behind does not weigh on the next.
async fn loads(arguments: &Arguments, progress: &Progress) -> anyhow::Result<Vec<plot::Point>> {
    let mut points = Vec::new();
    for &offered in &arguments.loads {
        progress.say(&format!("{offered} transactions a second"));
        let consortium = Consortium::create(4, LAN)?;
        let network = consortium.start().await?;
        let seconds = arguments.seconds.div_ceil(2);
        let measured = latency::measure(offer(&consortium, &network, offered, seconds)).await?;
        network.stop().await?;
        let quantiles = measured.quantiles()?;
        points.push(plot::Point {
            offered,
            p50_ms: quantiles.p50,
            p99_ms: quantiles.p99,
            unfinished: measured.lost,
        });
    }
    Ok(points)
}
