//! `hanse bench federation`: every scenario, again and again, in one league of four domains.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use hanse_orchestrator::model::{Scenario, Step};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::process;
use super::quantiles::Quantiles;
use crate::output::{self, Format};
use crate::up::Progress;
use crate::up::folder::{Folder, Plan};
use crate::up::league::League;
use crate::up::report::Report;
use crate::up::{programs, scenario};

/// How long the idle league is watched.
const IDLE: Duration = Duration::from_secs(10);

/// Options of `hanse bench federation`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Runs of each scenario.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Domains, each with a validator.
    #[arg(long, default_value_t = 4)]
    domains: usize,
    /// Write every step of every run into this file, with the columns step and timestamp (s).
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Document {
    runs: usize,
    domains: usize,
    ledger_overhead_ms: Quantiles,
    total_ms: BTreeMap<Scenario, Quantiles>,
    steps_ms: BTreeMap<Scenario, BTreeMap<Step, Quantiles>>,
    ready_ms: u64,
    rss_mb_max: f64,
    idle_cpu_percent: f64,
    frames_lost_max: u64,
    longest_gap_ms_max: u64,
}

const RUNS: [scenario::Run; 3] = [
    scenario::Run {
        scenario: Scenario::Whole,
        replicas: 1,
        moved: 1,
    },
    scenario::Run {
        scenario: Scenario::Component,
        replicas: 1,
        moved: 1,
    },
    scenario::Run {
        scenario: Scenario::Scale,
        replicas: 3,
        moved: 2,
    },
];

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if arguments.runs == 0 {
        bail!("--runs 0 measures nothing");
    }
    let progress = Progress::new(arguments.output);
    let example = programs::example(|text| progress.say(text)).await?;
    let temporary = tempfile::tempdir().context("there is no folder for temporary files")?;
    let plan = Plan {
        admission: crate::config::Admission::ByHand,
        domains: arguments.domains,
        first_api_port: None,
        ledger_url: None,
        catalogue: &example.catalogue,
        images: &example.images,
    };
    let folder = Folder::create(&temporary.path().join("league"), &plan).await?;
    let league = League::start(&folder, |name| progress.say(&format!("{name} is ready"))).await?;
    let measured = tokio::select! {
        measured = measure(&league, &arguments, &progress) => measured,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped")),
    };
    league.stop().await;
    progress.clear();
    let (document, reports) = measured?;
    if let Some(path) = &arguments.csv {
        std::fs::write(path, csv(&reports)).with_context(|| format!("could not write {}", path.display()))?;
    }
    output::print(arguments.output, &document, text)
}

async fn measure(
    league: &League,
    arguments: &Arguments,
    progress: &Progress,
) -> anyhow::Result<(Document, Vec<Report>)> {
    progress.say("measuring the idle league");
    let idle_cpu_percent = idle_cpu_percent(league).await?;
    let mut reports = Vec::new();
    let mut resident = 0;
    for run in RUNS {
        for number in 1..=arguments.runs {
            progress.say(&format!("{} {number} of {}", run.scenario, arguments.runs));
            let report = scenario::run(league, run, |_| {}).await?;
            let failures = report.failures(run.replicas, run.moved);
            if !failures.is_empty() {
                tracing::warn!(scenario = %run.scenario, number, ?failures, "a run did not hold");
            }
            for domain in &league.domains {
                resident = resident.max(process::resident(domain.pid().context("the agent runs")?)?);
            }
            scenario::undo(league, &report).await?;
            reports.push(report);
        }
    }
    let overheads: Vec<u64> = reports.iter().map(|report| report.ledger.overhead_ms).collect();
    let mut total_ms = BTreeMap::new();
    let mut steps_ms = BTreeMap::new();
    for run in RUNS {
        let of: Vec<&Report> = reports
            .iter()
            .filter(|report| report.agreement.scenario == run.scenario)
            .collect();
        let times = |step: Step| -> Vec<u64> { of.iter().filter_map(|report| report.at(step)).collect() };
        total_ms.extend(Quantiles::of(&times(Step::ConfirmDeploymentReceived)).map(|total| (run.scenario, total)));
        let steps = Step::ALL
            .into_iter()
            .filter_map(|step| Some((step, Quantiles::of(&times(step))?)));
        steps_ms.insert(run.scenario, steps.collect());
    }
    let document = Document {
        runs: arguments.runs,
        domains: league.domains.len(),
        ledger_overhead_ms: Quantiles::of(&overheads).context("there were runs")?,
        total_ms,
        steps_ms,
        ready_ms: u64::try_from(league.ready_after.as_millis())?,
        rss_mb_max: rounded(resident as f64 / 1e6),
        idle_cpu_percent: rounded(idle_cpu_percent),
        frames_lost_max: reports
            .iter()
            .map(|report| report.service.frames_lost)
            .max()
            .unwrap_or(0),
        longest_gap_ms_max: reports
            .iter()
            .map(|report| report.service.longest_gap_ms)
            .max()
            .unwrap_or(0),
    };
    Ok((document, reports))
}

/// Of one core, all agents together.
async fn idle_cpu_percent(league: &League) -> anyhow::Result<f64> {
    let used = || -> anyhow::Result<Duration> {
        let times = league
            .domains
            .iter()
            .map(|domain| process::cpu_time(domain.pid().context("the agent runs")?));
        times.sum::<anyhow::Result<Duration>>()
    };
    // The start itself is not idle.
    sleep(Duration::from_secs(2)).await;
    let (before, started) = (used()?, Instant::now());
    sleep(IDLE).await;
    Ok(100.0 * (used()? - before).as_secs_f64() / started.elapsed().as_secs_f64())
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn csv(reports: &[Report]) -> String {
    let mut table = String::from("step,timestamp\n");
    for report in reports {
        for step in &report.agreement.steps {
            // Writing into a String can't fail.
            let _ = writeln!(table, "{},{:.3}", step.step.name(), step.at_ms as f64 / 1000.0);
        }
    }
    table
}

fn text(document: &Document) -> String {
    let mut rows = vec![
        ["STEP (ms after the request)", "WHOLE", "COMPONENT", "SCALE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let cell = |quantiles: Option<&Quantiles>| quantiles.map_or("–".into(), |it| format!("{} / {}", it.p50, it.p99));
    for step in Step::ALL {
        let mut row = vec![step.name().to_owned()];
        row.extend(
            RUNS.iter()
                .map(|run| cell(document.steps_ms.get(&run.scenario).and_then(|steps| steps.get(&step)))),
        );
        rows.push(row);
    }
    let mut totals = vec!["announce → deployment known".to_owned()];
    totals.extend(RUNS.iter().map(|run| cell(document.total_ms.get(&run.scenario))));
    rows.push(totals);
    format!(
        "{} runs of each scenario, {} domains; median / 99th percentile\n\n{}\nledger overhead {} / {} ms · ready after {} ms · memory of an agent ≤ {} MB · idle CPU of all {} % of a core\nframes lost ≤ {} · longest gap ≤ {} ms",
        document.runs,
        document.domains,
        output::table(&rows),
        document.ledger_overhead_ms.p50,
        document.ledger_overhead_ms.p99,
        document.ready_ms,
        document.rss_mb_max,
        document.idle_cpu_percent,
        document.frames_lost_max,
        document.longest_gap_ms_max,
    )
}
